"""Keep when the daemon's chores were last done, so that none is lost with a wake-up.

Revision ID: 0018
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chores",
        sa.Column("chore", sa.Text(), nullable=False, comment="base_refit or maintenance"),
        sa.Column("calendar", sa.Text(), nullable=False, comment="calendar code, or ALL"),
        sa.Column(
            "done_at", sa.DateTime(timezone=True), nullable=False, comment="when it was last done"
        ),
        sa.PrimaryKeyConstraint("chore", "calendar", name=op.f("chores_pkey")),
        sa.CheckConstraint(
            "chore IN ('base_refit', 'maintenance')", name=op.f("chores_chore_check")
        ),
        schema="stockbatch",
        comment="One row per chore of the daemon and exchange calendar; ALL: of the database.",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON stockbatch.chores TO stockbatch_writer")


def downgrade() -> None:
    op.drop_table("chores", schema="stockbatch")
