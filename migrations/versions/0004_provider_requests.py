"""Count the requests made to providers that allow only so many in a day.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_requests",
        sa.Column("provider", sa.Text(), nullable=False, comment="name of the provider"),
        sa.Column("day", sa.Date(), nullable=False, comment="day of the provider's own clock"),
        sa.Column("requests", sa.Integer(), nullable=False, comment="requests made on that day"),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when the last request was counted",
        ),
        sa.CheckConstraint("requests > 0", name=op.f("provider_requests_requests_check")),
        sa.PrimaryKeyConstraint("provider", "day", name=op.f("provider_requests_pkey")),
        schema="stockbatch",
        comment="One row per provider and day of its quota; it survives restarts of the program.",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON stockbatch.provider_requests TO stockbatch_writer")


def downgrade() -> None:
    op.drop_table("provider_requests", schema="stockbatch")
