"""Complete the contract of schema `bi`, and let its views answer quickly.

Revision ID: 0008
Revises: 0007
"""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
REPLACED = ("forecast_history", "next_session_forecast", "price_and_forecast", "accuracy")
NEW = (
    "interval_coverage",
    "outcomes",
    "data_issues",
    "data_freshness",
    "instruments",
    "sessions",
)


def _create(view: str, version: int) -> None:
    op.execute((FOLDER / f"{view}_v{version}.sql").read_text(encoding="utf-8"))


def upgrade() -> None:
    op.create_index(
        "bars_close_idx",
        "bars",
        ["instrument_id", "session"],
        schema="stockbatch",
        postgresql_include=["close"],
        postgresql_where="state <> 'quarantined'",
    )
    op.create_index(
        "metrics_all_session_idx",
        "metrics",
        ["through_session"],
        schema="stockbatch",
        postgresql_where="instrument_id IS NULL",
    )
    _create("split_ratios", 1)
    for view in REPLACED:
        _create(view, 2)
    for view in NEW:
        _create(view, 1)
        op.execute(
            f"GRANT SELECT ON bi.{view} TO stockbatch_writer, stockbatch_reader, stockbatch_api"
        )


def downgrade() -> None:
    for view in reversed((*REPLACED, *NEW)):
        op.execute(f"DROP VIEW bi.{view}")
    for view in REPLACED:
        _create(view, 1)
        op.execute(
            f"GRANT SELECT ON bi.{view} TO stockbatch_writer, stockbatch_reader, stockbatch_api"
        )
    op.execute("DROP VIEW stockbatch.split_ratios")
    op.execute("DROP FUNCTION stockbatch.restated_by_split")
    op.drop_index("metrics_all_session_idx", "metrics", schema="stockbatch")
    op.drop_index("bars_close_idx", "bars", schema="stockbatch")
