"""Show splits to whoever draws prices, and say of the methods what they are.

Revision ID: 0031
Revises: 0030
"""

from pathlib import Path

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

VIEW = Path(__file__).parents[1] / "views" / "splits_v1.sql"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"
FORMER, NOW = "lstm, or the baseline that made the {}", "method that made the {}"
"""From a time of one model and its baselines."""
METHODS = {
    "accuracy": "forecasts",
    "forecast_history": "forecast",
    "interval_coverage": "forecasts",
    "leaderboard": "forecasts",
    "next_session_forecast": "forecast",
}
NO_MODEL = {
    "model_id": (
        "model that made it; NULL: a baseline",
        "LSTM that made it or went into it; NULL: none did",
    ),
    "is_trusted": (
        "false: the inputs are unlike those the model was trained on; NULL: a baseline",
        "false: the inputs are unlike those its LSTM was trained on; NULL: none went into it",
    ),
}


def upgrade() -> None:
    op.execute(VIEW.read_text(encoding="utf-8"))
    op.execute(f"GRANT SELECT ON bi.splits TO {READERS}")
    _comment(NOW, 1)


def downgrade() -> None:
    _comment(FORMER, 0)
    op.execute("DROP VIEW bi.splits")


def _comment(method: str, version: int) -> None:
    for view, made in METHODS.items():
        op.execute(f"COMMENT ON COLUMN bi.{view}.method IS '{method.format(made)}'")
    for view in ("forecast_history", "next_session_forecast"):
        for column, said in NO_MODEL.items():
            op.execute(f"COMMENT ON COLUMN bi.{view}.{column} IS '{said[version]}'")
