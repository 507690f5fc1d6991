"""Add API tokens; let the REST service's role read what a prediction needs, and no more.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MODELS_IN_USE = """
CREATE VIEW stockbatch.models_in_use AS
SELECT m.* FROM stockbatch.models AS m
WHERE m.weights IS NOT NULL AND (
    m.kind = 'base' OR EXISTS (SELECT FROM stockbatch.promotions AS p WHERE p.model_id = m.id)
);
COMMENT ON VIEW stockbatch.models_in_use IS
    'One row per model that is or was in use, bases included, as long as it has its weights.';
DO $$
DECLARE
    described record;
BEGIN
    FOR described IN
        SELECT attname, col_description(attrelid, attnum) AS comment FROM pg_attribute
        WHERE attrelid = 'stockbatch.models'::regclass AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('COMMENT ON COLUMN stockbatch.models_in_use.%I IS %L',
            described.attname, described.comment);
    END LOOP;
END
$$
"""
READ_WHOLE = ("alembic_version", "api_tokens", "market_inputs", "models_in_use", "promotions")
READ_COLUMNS = {
    "instruments": "id, ticker, name, calendar, currency, active, demo",
    "forecasts": (
        "id, instrument_id, target_session, horizon, method, kind, recorded_at, raw_q025, raw_q05,"
        " raw_q10, raw_q25, raw_q50, raw_q75, raw_q90, raw_q95, raw_q975"
    ),
}


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="surrogate key",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="who it was given to"),
        sa.Column(
            "sha256", sa.Text(), nullable=False, comment="SHA-256 of the token, which nobody keeps"
        ),
        sa.Column("requests_per_minute", sa.Integer(), nullable=False, comment="answered at most"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was made",
        ),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it ends; NULL: never",
        ),
        sa.Column(
            "revoked_at", sa.DateTime(timezone=True), nullable=True, comment="when it was revoked"
        ),
        sa.CheckConstraint(
            "requests_per_minute > 0", name=op.f("api_tokens_requests_per_minute_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("api_tokens_pkey")),
        sa.UniqueConstraint("sha256", name=op.f("api_tokens_sha256_key")),
        schema="stockbatch",
        comment="One row per bearer token of the REST service ever made.",
    )
    op.create_index(
        "api_tokens_valid_name_key",
        "api_tokens",
        ["name"],
        unique=True,
        schema="stockbatch",
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.execute(MODELS_IN_USE)
    op.execute("GRANT SELECT ON stockbatch.models_in_use TO stockbatch_writer")
    op.execute("GRANT SELECT, INSERT ON stockbatch.api_tokens TO stockbatch_writer")
    op.execute("GRANT UPDATE (revoked_at) ON stockbatch.api_tokens TO stockbatch_writer")
    op.execute("GRANT USAGE ON SCHEMA stockbatch TO stockbatch_api")
    for table in READ_WHOLE:
        op.execute(f"GRANT SELECT ON stockbatch.{table} TO stockbatch_api")
    for table, columns in READ_COLUMNS.items():
        op.execute(f"GRANT SELECT ({columns}) ON stockbatch.{table} TO stockbatch_api")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA bi TO stockbatch_api")
    op.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA bi GRANT SELECT ON TABLES TO stockbatch_api")


def downgrade() -> None:
    op.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA bi REVOKE SELECT ON TABLES FROM stockbatch_api")
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA stockbatch FROM stockbatch_api")
    op.execute("REVOKE ALL ON SCHEMA stockbatch FROM stockbatch_api")
    op.execute("DROP VIEW stockbatch.models_in_use")
    op.drop_table("api_tokens", schema="stockbatch")
