"""Call no session ready whose bars are not there.

Revision ID: 0029
Revises: 0028
"""

from pathlib import Path

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
BEFORE = (
    "the data-ready mark, the same for all tickers of an exchange: the run of `session` is "
    "finished, all there is for it is in place"
)


def upgrade() -> None:
    _create(4)


def downgrade() -> None:
    _create(3)  # the columns are the same: the view is replaced, and keeps its rights
    op.execute(f"COMMENT ON COLUMN bi.data_freshness.is_ready IS '{BEFORE}'")


def _create(version: int) -> None:
    op.execute((FOLDER / f"data_freshness_v{version}.sql").read_text(encoding="utf-8"))
