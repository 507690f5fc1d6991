"""Fallback providers, renames, decisions on findings, and the reason `held`.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

REASONS = (
    "'no_model', 'expired', 'configuration_changed', 'history_restated', 'forced', 'base_changed',"
    " 'universe_changed', 'drift', 'fresh', 'short_history', 'diverged', 'no_bar', 'bar_refused',"
    " 'fetch_failed'"
)
REASONED = {"models": "", "outcomes": "", "promotions": ", 'manual', 'rollback'"}
"""Tables with a reason, and the reasons that only they know."""


def upgrade() -> None:
    op.create_table(
        "fallbacks",
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column(
            "position",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="1 is asked after the instrument's own",
        ),
        sa.Column("provider", sa.Text(), nullable=False, comment="provider specification"),
        sa.Column(
            "symbol", sa.Text(), nullable=False, comment="what that provider calls the instrument"
        ),
        sa.CheckConstraint("position >= 1", name=op.f("fallbacks_position_check")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("fallbacks_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("instrument_id", "position", name=op.f("fallbacks_pkey")),
        schema="stockbatch",
        comment="One row per instrument and position: a provider that is asked where those before it fail.",
    )
    op.create_table(
        "renames",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column("old_ticker", sa.Text(), nullable=False, comment="ticker it had"),
        sa.Column("old_symbol", sa.Text(), nullable=False, comment="what its provider called it"),
        sa.Column("new_ticker", sa.Text(), nullable=False, comment="ticker it got"),
        sa.Column(
            "renamed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was renamed",
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("renames_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("renames_pkey")),
        schema="stockbatch",
        comment="One row per time an instrument got another ticker; its history goes on under the new one.",
    )
    op.create_table(
        "decisions",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("issue_id", sa.BigInteger(), nullable=False, comment="finding decided on"),
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column(
            "session", sa.Date(), nullable=True, comment="trading date; NULL: the whole series"
        ),
        sa.Column("decision", sa.Text(), nullable=False, comment="accepted or rejected"),
        sa.Column("decided_by", sa.Text(), nullable=False, comment="who decided"),
        sa.Column(
            "decided_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when",
        ),
        sa.Column(
            "open", sa.Double(), nullable=True, comment="first price; NULL: there was no bar"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="highest price"),
        sa.Column("low", sa.Double(), nullable=True, comment="lowest price"),
        sa.Column("close", sa.Double(), nullable=True, comment="last price"),
        sa.CheckConstraint(
            "decision IN ('accepted', 'rejected')", name=op.f("decisions_decision_check")
        ),
        sa.CheckConstraint("(open IS NULL) = (close IS NULL)", name=op.f("decisions_bar_check")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("decisions_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["issue_id"],
            ["stockbatch.data_issues.id"],
            name=op.f("decisions_issue_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("decisions_pkey")),
        schema="stockbatch",
        comment="One row per time somebody decided on a finding; of several, the newest counts.\n\n"
        "A decision on a bar holds as long as the bar has these prices.",
    )
    op.create_index(
        op.f("decisions_instrument_id_session_idx"),
        "decisions",
        ["instrument_id", "session"],
        schema="stockbatch",
    )
    for table, own in REASONED.items():
        allow(table, f"{REASONS}, 'held'{own}")
    op.execute(
        "GRANT SELECT ON stockbatch.fallbacks, stockbatch.renames, stockbatch.decisions TO stockbatch_writer"
    )
    op.execute("GRANT INSERT, UPDATE, DELETE ON stockbatch.fallbacks TO stockbatch_writer")
    op.execute("GRANT INSERT ON stockbatch.renames, stockbatch.decisions TO stockbatch_writer")


def downgrade() -> None:
    op.execute("UPDATE stockbatch.outcomes SET reason = 'fetch_failed' WHERE reason = 'held'")
    for table, own in REASONED.items():
        allow(table, f"{REASONS}{own}")
    for table in ("decisions", "renames", "fallbacks"):
        op.drop_table(table, schema="stockbatch")


def allow(table: str, reasons: str) -> None:
    name = op.f(f"{table}_reason_check")
    op.drop_constraint(name, table, schema="stockbatch", type_="check")
    op.create_check_constraint(name, table, f"reason IN ({reasons})", schema="stockbatch")
