"""Create the group roles and grant each what it needs, no more.

Roles belong to the whole server and may serve other databases: they are created where missing and
never dropped.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CREATE_ROLES = """
DO $$
DECLARE
    role_name text;
    taking text := 'MEMBER';
BEGIN
    IF current_setting('server_version_num')::int >= 160000 THEN
        taking := 'SET';  -- from 16 on, whoever creates a role may grant it but not take it
    END IF;
    FOREACH role_name IN ARRAY
        ARRAY['stockbatch_writer', 'stockbatch_reader', 'stockbatch_api']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- made for another database in this instant
            END;
        END IF;
        IF NOT pg_has_role(current_user, role_name, taking) THEN
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;  -- somebody else's role: jobs with this login keep its own rights
            END;
        END IF;
    END LOOP;
END
$$
"""
REVISABLE = (
    "instruments",
    "sessions",
    "bars",
    "corporate_actions",
    "market_inputs",
    "data_issues",
    "runs",
    "metrics",
)
APPEND_ONLY = ("bar_revisions", "promotions", "training_curves", "scores")
FORECAST_COLUMNS = (
    "instrument_id, origin_session, target_session, horizon, method, kind, fingerprint,"
    " origin_close, close, log_return, q025, q05, q10, q25, q50, q75, q90, q95, q975,"
    " probability_of_rise, raw_q025, raw_q05, raw_q10, raw_q25, raw_q50, raw_q75, raw_q90, raw_q95,"
    " raw_q975, volatility, shrinkage, dissimilarity, trusted, model_id, run_id, issued_at, deadline_at"
)


def upgrade() -> None:
    op.execute(CREATE_ROLES)
    op.execute("GRANT USAGE ON SCHEMA stockbatch, bi TO stockbatch_writer")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA stockbatch, bi TO stockbatch_writer")
    for table in REVISABLE:
        op.execute(f"GRANT INSERT, UPDATE, DELETE ON stockbatch.{table} TO stockbatch_writer")
    for table in APPEND_ONLY:
        op.execute(f"GRANT INSERT ON stockbatch.{table} TO stockbatch_writer")
    # recorded_at is not in the list: the database's clock alone sets it
    op.execute(f"GRANT INSERT ({FORECAST_COLUMNS}) ON stockbatch.forecasts TO stockbatch_writer")
    op.execute("GRANT INSERT, UPDATE (is_final) ON stockbatch.outcomes TO stockbatch_writer")
    op.execute("GRANT INSERT, UPDATE (weights) ON stockbatch.models TO stockbatch_writer")
    op.execute("GRANT USAGE ON SCHEMA bi TO stockbatch_reader, stockbatch_api")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA bi TO stockbatch_reader, stockbatch_api")
    op.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA bi GRANT SELECT ON TABLES TO stockbatch_reader")


def downgrade() -> None:
    op.execute(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA bi REVOKE SELECT ON TABLES FROM stockbatch_reader"
    )
    op.execute(
        "REVOKE ALL ON ALL TABLES IN SCHEMA stockbatch, bi"
        " FROM stockbatch_writer, stockbatch_reader, stockbatch_api"
    )
    op.execute(
        "REVOKE ALL ON SCHEMA stockbatch, bi"
        " FROM stockbatch_writer, stockbatch_reader, stockbatch_api"
    )
