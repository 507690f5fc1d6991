"""Keep of an instrument how its file was understood, and what its prices are adjusted for.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nobody knows any more how the files of those added before were understood: null.
    op.add_column(
        "instruments",
        sa.Column(
            "price_basis",
            sa.Text(),
            nullable=True,
            comment="what its prices were adjusted for when it was added; null: the provider's own",
        ),
        schema="stockbatch",
    )
    op.add_column(
        "instruments",
        sa.Column(
            "understood",
            sa.Text(),
            nullable=True,
            comment="how its file was read when it was added",
        ),
        schema="stockbatch",
    )
    op.create_check_constraint(
        op.f("instruments_price_basis_check"),
        "instruments",
        "price_basis IN ('as_traded', 'split_adjusted', 'total_return')",
        schema="stockbatch",
    )


def downgrade() -> None:
    name = op.f("instruments_price_basis_check")
    op.drop_constraint(name, "instruments", schema="stockbatch", type_="check")
    op.drop_column("instruments", "understood", schema="stockbatch")
    op.drop_column("instruments", "price_basis", schema="stockbatch")
