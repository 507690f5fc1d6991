"""Keep what the past intervals of all tickers of a calendar teach the next ones.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crowds",
        sa.Column("calendar", sa.Text(), nullable=False, comment="calendar code"),
        sa.Column("session", sa.Date(), nullable=False, comment="last session learned from"),
        sa.Column("method", sa.Text(), nullable=False, comment="whose quantiles are stretched"),
        sa.Column(
            "is_demo",
            sa.Boolean(),
            nullable=False,
            comment="whether of the demonstration's tickers, or of all others",
        ),
        sa.Column(
            "instruments",
            sa.Integer(),
            nullable=False,
            comment="tickers that had a say in the session",
        ),
        sa.Column("sessions", sa.Integer(), nullable=False, comment="how many it has learned from"),
        sa.Column(
            "logs",
            sa.ARRAY(sa.Double()),
            nullable=False,
            comment="logarithms of the factors, by level but the median, then by learner",
        ),
        sa.Column(
            "losses",
            sa.ARRAY(sa.Double()),
            nullable=False,
            comment="by learner, how well it has done",
        ),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of logs and losses"),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was stored",
        ),
        sa.PrimaryKeyConstraint(
            "calendar", "session", "method", "is_demo", name=op.f("crowds_pkey")
        ),
        sa.ForeignKeyConstraint(
            ["method"],
            ["stockbatch.methods.name"],
            name=op.f("crowds_method_fkey"),
            ondelete="RESTRICT",
        ),
        sa.CheckConstraint("sessions > 0", name=op.f("crowds_sessions_check")),
        sa.CheckConstraint("instruments > 0", name=op.f("crowds_instruments_check")),
        schema="stockbatch",
        comment="One row per calendar, session and calibrated method: what its tickers'"
        " intervals teach.",
    )
    op.execute("GRANT SELECT, INSERT ON stockbatch.crowds TO stockbatch_writer")
    # A prediction from bars that are sent is calibrated as a run would have it.
    op.execute("GRANT SELECT ON stockbatch.crowds TO stockbatch_api")


def downgrade() -> None:
    op.drop_table("crowds", schema="stockbatch")
