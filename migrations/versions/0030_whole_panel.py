"""Read the whole of `bi.price_and_forecast` without asking each row what its instrument knows.

Revision ID: 0030
Revises: 0029
"""

from pathlib import Path

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"


def upgrade() -> None:
    _create(8)


def downgrade() -> None:
    _create(7)  # the columns are the same: the view is replaced, and keeps its rights


def _create(version: int) -> None:
    op.execute((FOLDER / f"price_and_forecast_v{version}.sql").read_text(encoding="utf-8"))
