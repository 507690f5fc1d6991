"""Keep who was asked when for events of which ticker, and let the daemon do it as a chore.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

COLUMNS = (
    sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument asked about"),
    sa.Column("source", sa.Text(), nullable=False, comment="who was asked"),
    sa.Column(
        "asked_at", sa.DateTime(timezone=True), nullable=False, comment="when it was last asked"
    ),
    sa.Column("answered_at", sa.DateTime(timezone=True), comment="when it last answered"),
    sa.Column(
        "history_at",
        sa.DateTime(timezone=True),
        comment="when its answer last had the events of the past",
    ),
    sa.Column(
        "waits",
        sa.Boolean(),
        nullable=False,
        comment="refused for now, or out of reach: asked again before its turn",
    ),
    sa.Column("problem", sa.Text(), comment="what was wrong last; NULL: nothing"),
)


def upgrade() -> None:
    op.create_table(
        "event_refreshes",
        *COLUMNS,
        sa.PrimaryKeyConstraint("instrument_id", "source", name=op.f("event_refreshes_pkey")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("event_refreshes_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        schema="stockbatch",
        comment="One row per instrument and source of events: when it was last asked, and what"
        " came of it.",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON stockbatch.event_refreshes TO stockbatch_writer")
    _allow("base_refit, event_refresh or maintenance", "base_refit", "maintenance", "event_refresh")


def downgrade() -> None:
    op.execute("DELETE FROM stockbatch.chores WHERE chore = 'event_refresh'")
    _allow("base_refit or maintenance", "base_refit", "maintenance")
    op.drop_table("event_refreshes", schema="stockbatch")


def _allow(comment: str, *chores: str) -> None:
    """Let these be chores, and no others."""
    name = op.f("chores_chore_check")
    op.drop_constraint(name, "chores", schema="stockbatch", type_="check")
    listed = ", ".join(f"'{chore}'" for chore in chores)
    op.create_check_constraint(name, "chores", f"chore IN ({listed})", schema="stockbatch")
    op.execute(f"COMMENT ON COLUMN stockbatch.chores.chore IS '{comment}'")
