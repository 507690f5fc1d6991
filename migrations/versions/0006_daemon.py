"""What the daemon keeps: tries of a run, sessions it skipped, exchanges it leaves alone.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

REASONS = (
    "no_model",
    "expired",
    "configuration_changed",
    "history_restated",
    "forced",
    "base_changed",
    "universe_changed",
    "drift",
    "fresh",
    "short_history",
    "diverged",
    "no_bar",
    "bar_refused",
    "fetch_failed",
    "held",
)
NEW_REASONS = ("deadline", "failed", "skipped")
STATUSES = ("running", "finished", "failed")
NEW_STATUSES = ("stopped", "skipped")


def upgrade() -> None:
    _restrict("runs", "status", (*STATUSES, *NEW_STATUSES))
    _restrict_reasons((*REASONS, *NEW_REASONS))
    op.alter_column(
        "runs",
        "status",
        comment="running, finished, failed, stopped (is resumed) or skipped (too old)",
        existing_comment="running, finished or failed",
        schema="stockbatch",
    )
    op.add_column(
        "runs",
        sa.Column(
            "tries",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="how often it was begun; a stop that was asked for counts none",
        ),
        schema="stockbatch",
    )
    op.add_column(
        "runs",
        sa.Column(
            "tried_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="last start",
        ),
        schema="stockbatch",
    )
    op.execute("UPDATE stockbatch.runs SET tried_at = started_at")
    op.create_table(
        "pauses",
        sa.Column("calendar", sa.Text(), nullable=False, comment="calendar code, or ALL"),
        sa.Column(
            "paused_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="since when",
        ),
        sa.PrimaryKeyConstraint("calendar", name=op.f("pauses_pkey")),
        schema="stockbatch",
        comment="One row per exchange calendar that the daemon leaves alone; ALL stands for every one.",
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON stockbatch.pauses TO stockbatch_writer")


def downgrade() -> None:
    op.drop_table("pauses", schema="stockbatch")
    op.drop_column("runs", "tried_at", schema="stockbatch")
    op.drop_column("runs", "tries", schema="stockbatch")
    op.alter_column(
        "runs",
        "status",
        comment="running, finished or failed",
        existing_comment=None,
        schema="stockbatch",
    )
    op.execute("DELETE FROM stockbatch.outcomes WHERE reason IN ('deadline', 'failed', 'skipped')")
    op.execute(
        "UPDATE stockbatch.runs SET status = 'failed' WHERE status IN ('stopped', 'skipped')"
    )
    _restrict_reasons(REASONS)
    _restrict("runs", "status", STATUSES)


def _restrict_reasons(reasons: tuple[str, ...]) -> None:
    _restrict("models", "reason", reasons)
    _restrict("outcomes", "reason", reasons)
    _restrict("promotions", "reason", (*reasons, "manual", "rollback"))


def _restrict(table: str, column: str, values: tuple[str, ...]) -> None:
    name = f"{table}_{column}_check"
    listed = ", ".join(f"'{value}'" for value in values)
    op.drop_constraint(op.f(name), table, schema="stockbatch", type_="check")
    op.create_check_constraint(op.f(name), table, f"{column} IN ({listed})", schema="stockbatch")
