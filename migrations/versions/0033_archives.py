"""Note what of the baselines' forecasts stands in files, and let none of such sessions be made again.

Revision ID: 0033
Revises: 0032
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"

# What is in a file and made once more would be there twice, and scored by other bars than the first.
REFUSE = """
CREATE FUNCTION stockbatch.refuse_archived() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    refused record;
BEGIN
    SELECT i.ticker, f.method, f.target_session, a.through_session INTO refused
    FROM (
        SELECT calendar, methods, max(through_session) AS through_session
        FROM stockbatch.archives GROUP BY calendar, methods
    ) AS a
    JOIN added AS f ON f.target_session <= a.through_session AND f.method = ANY (a.methods)
    JOIN stockbatch.instruments AS i
        ON i.id = f.instrument_id AND i.calendar = a.calendar AND NOT i.demo
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a forecast by % of % for %: those up to % are in an archive',
            refused.method, refused.ticker, refused.target_session, refused.through_session
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stockbatch.refuse_archived() IS
    'Refuses forecasts of sessions and methods whose forecasts are in an archive.';
CREATE TRIGGER refuse_archived AFTER INSERT ON stockbatch.forecasts
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.refuse_archived();
"""
# A session that only archived forecasts name was forecast all the same.
KEEP_SESSION = """
CREATE OR REPLACE FUNCTION stockbatch.keep_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM stockbatch.forecasts AS f
        JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
        WHERE f.target_session = OLD.session AND i.calendar = OLD.calendar
    ) OR EXISTS (
        SELECT FROM stockbatch.archives AS a
        WHERE a.calendar = OLD.calendar
            AND OLD.session BETWEEN a.first_session AND a.through_session
    ) THEN
        RAISE EXCEPTION 'session % of % has been forecast: its instants are final',
            OLD.session, OLD.calendar USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN coalesce(NEW, OLD);
END
$$;
"""
KEEP_SESSION_BEFORE = """
CREATE OR REPLACE FUNCTION stockbatch.keep_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM stockbatch.forecasts AS f
        JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
        WHERE f.target_session = OLD.session AND i.calendar = OLD.calendar
    ) THEN
        RAISE EXCEPTION 'session % of % has been forecast: its instants are final',
            OLD.session, OLD.calendar USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN coalesce(NEW, OLD);
END
$$;
"""
GRAIN = (
    "One row per ticker, target session and method: its forecast (live before late before backtest)"
    " and, once the session is over, how it did."
)
AND_ARCHIVES = " Those of baselines from long ago may stand in files instead, as bi.archives says."


def upgrade() -> None:
    op.create_table(
        "archives",
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column("month", sa.Date(), nullable=False, comment="first day of the month"),
        sa.Column(
            "part",
            sa.Integer(),
            nullable=False,
            comment="number of its files: from 2 on what waited for bars",
        ),
        sa.Column("first_session", sa.Date(), nullable=False, comment="first target session of it"),
        sa.Column(
            "through_session",
            sa.Date(),
            nullable=False,
            comment="last target session of it: up to there no forecast by `methods` is taken",
        ),
        sa.Column(
            "methods", ARRAY(sa.Text()), nullable=False, comment="methods whose forecasts it takes"
        ),
        sa.Column("forecasts", sa.BigInteger(), nullable=False, comment="forecasts in its file"),
        sa.Column("scores", sa.BigInteger(), nullable=False, comment="scores in their file"),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="size of the two files"),
        sa.Column("folder", sa.Text(), nullable=False, comment="where the files were written"),
        sa.Column(
            "archived_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when the rows were removed from the database",
        ),
        sa.PrimaryKeyConstraint("calendar", "month", "part", name=op.f("archives_pkey")),
        sa.CheckConstraint(
            "part > 0 AND forecasts > 0 AND scores >= 0 AND bytes > 0",
            name=op.f("archives_counts_check"),
        ),
        sa.CheckConstraint(
            "month <= first_session AND first_session <= through_session",
            name=op.f("archives_sessions_check"),
        ),
        schema="stockbatch",
        comment="One row per pair of files that hold forecasts by baselines, and their scores, of a"
        " calendar's month, which only the owner of the tables writes.",
    )
    op.execute("GRANT SELECT ON stockbatch.archives TO stockbatch_writer")
    op.execute(REFUSE)
    op.execute(KEEP_SESSION)
    op.execute(f"COMMENT ON VIEW bi.forecast_history IS '{GRAIN}{AND_ARCHIVES}'")
    op.execute((FOLDER / "archives_v1.sql").read_text(encoding="utf-8"))
    op.execute(f"GRANT SELECT ON bi.archives TO {READERS}")


def downgrade() -> None:
    op.execute("DROP VIEW bi.archives")
    op.execute(f"COMMENT ON VIEW bi.forecast_history IS '{GRAIN}'")
    op.execute("DROP TRIGGER refuse_archived ON stockbatch.forecasts")
    op.execute("DROP FUNCTION stockbatch.refuse_archived()")
    op.execute(KEEP_SESSION_BEFORE)
    op.drop_table("archives", schema="stockbatch")
