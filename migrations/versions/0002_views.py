"""Create the views of schema `bi`, version 1 of the contract.

Revision ID: 0002
Revises: 0001
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
VIEWS = (
    "forecast_history",
    "next_session_forecast",
    "price_and_forecast",
    "accuracy",
    "leaderboard",
    "training_history",
    "run_history",
)


def upgrade() -> None:
    for view in VIEWS:
        op.execute((FOLDER / f"{view}_v1.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW bi.{view}")
