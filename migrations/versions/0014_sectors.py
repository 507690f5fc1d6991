"""Keep the sector and the industry of an instrument, and show them.

Revision ID: 0014
Revises: 0013
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).parents[1] / "views"
COMMENTS = {
    "sector": "sector, in the words of the list it is from",
    "industry": "industry, likewise",
}


def upgrade() -> None:
    for name, comment in COMMENTS.items():
        op.add_column(
            "instruments", sa.Column(name, sa.Text(), comment=comment), schema="stockbatch"
        )
    _make_view("v2")


def downgrade() -> None:
    _make_view("v1")
    for name in COMMENTS:
        op.drop_column("instruments", name, schema="stockbatch")


def _make_view(version: str) -> None:
    op.execute("DROP VIEW bi.instruments")
    op.execute((VIEWS / f"instruments_{version}.sql").read_text(encoding="utf-8"))
    op.execute(
        "GRANT SELECT ON bi.instruments TO stockbatch_writer, stockbatch_reader, stockbatch_api"
    )
