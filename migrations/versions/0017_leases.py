"""Let one process at a time work by a row of a table that readers cannot touch.

Nobody but the jobs makes temporary tables any more, where the login may say so.

Revision ID: 0017
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ONLY_JOBS = """
DO $$
BEGIN
    IF (SELECT pg_has_role(current_user, datdba, 'USAGE') FROM pg_database
            WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO stockbatch_writer', current_database());
    END IF;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False, comment="daemon, or run and the calendar"),
        sa.Column("token", sa.Uuid(), nullable=False, comment="of the holder"),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="by the database's clock; every few seconds the holder moves it on",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("leases_pkey")),
        sa.UniqueConstraint("token", name=op.f("leases_token_key")),
        schema="stockbatch",
        comment="One row per thing that one process at a time may do, while one does it.",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON stockbatch.leases TO stockbatch_writer")
    op.execute(ONLY_JOBS)


def downgrade() -> None:
    op.drop_table("leases", schema="stockbatch")
