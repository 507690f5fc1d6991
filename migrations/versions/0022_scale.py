"""Keep the sign of what a market did, beside its size: falls are followed by larger moves.

Revision ID: 0022
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "market_inputs",
        sa.Column(
            "median_return",
            sa.Double(),
            nullable=True,
            comment="median log return of all tickers; NULL: too few have one",
        ),
        schema="stockbatch",
    )
    op.create_check_constraint(
        op.f("market_inputs_median_return_check"),
        "market_inputs",
        "median_return > '-Infinity' AND median_return < 'Infinity'",
        schema="stockbatch",
    )
    # Computed anew, from bars, by the next run that reads them.
    op.execute("UPDATE stockbatch.market_inputs SET digest = NULL")


def downgrade() -> None:
    op.drop_column("market_inputs", "median_return", schema="stockbatch")
