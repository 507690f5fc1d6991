"""Compare the methods with HAR, GARCH and the LSTM, too.

Revision ID: 0025
Revises: 0024
"""

from pathlib import Path

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"


def upgrade() -> None:
    _create(2)


def downgrade() -> None:
    op.execute("DROP VIEW bi.leaderboard")
    _create(1)
    op.execute(f"GRANT SELECT ON bi.leaderboard TO {READERS}")


def _create(version: int) -> None:
    op.execute((FOLDER / f"leaderboard_v{version}.sql").read_text(encoding="utf-8"))
