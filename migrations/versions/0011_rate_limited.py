"""Let an outcome say that a provider was asked too often, whatever its words were.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
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
)
LATER_REASONS = ("held", "deadline", "failed", "skipped")


def upgrade() -> None:
    _restrict_reasons((*REASONS, "rate_limited", *LATER_REASONS))


def downgrade() -> None:
    op.execute(
        "UPDATE stockbatch.outcomes SET reason = 'fetch_failed' WHERE reason = 'rate_limited'"
    )
    _restrict_reasons((*REASONS, *LATER_REASONS))


def _restrict_reasons(reasons: tuple[str, ...]) -> None:
    _restrict("models", reasons)
    _restrict("outcomes", reasons)
    _restrict("promotions", (*reasons, "manual", "rollback"))


def _restrict(table: str, reasons: tuple[str, ...]) -> None:
    name = op.f(f"{table}_reason_check")
    listed = ", ".join(f"'{reason}'" for reason in reasons)
    op.drop_constraint(name, table, schema="stockbatch", type_="check")
    op.create_check_constraint(name, table, f"reason IN ({listed})", schema="stockbatch")
