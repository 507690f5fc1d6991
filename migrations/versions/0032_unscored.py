"""Keep the forecasts that may have something to score, so that no night looks through all of them.

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

# A forecast of which a bar comes while it is scored is noted once more, never upon the same row:
# who scores takes away the rows it has read, and what came since is there for the next.
NOTES = """
CREATE FUNCTION stockbatch.note_new_forecasts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stockbatch.unscored (forecast_id) SELECT id FROM added;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stockbatch.note_new_forecasts() IS 'Notes that forecasts are to be scored.';
CREATE FUNCTION stockbatch.note_forecasts_of_bars() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- By ranges first: of a ticker without forecasts, as on a first day, no bar is looked at.
    INSERT INTO stockbatch.unscored (forecast_id)
    SELECT f.id
    FROM (
        SELECT instrument_id, min(session) AS first, max(session) AS last
        FROM changed GROUP BY instrument_id
    ) AS span
    JOIN stockbatch.forecasts AS f
        ON f.instrument_id = span.instrument_id AND f.target_session BETWEEN span.first AND span.last
    WHERE EXISTS (
        SELECT FROM changed AS c
        WHERE c.instrument_id = f.instrument_id AND c.session = f.target_session
    );
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stockbatch.note_forecasts_of_bars() IS
    'Notes that the forecasts of a session whose bar came, or changed, are to be scored.';
CREATE TRIGGER note_new_forecasts AFTER INSERT ON stockbatch.forecasts
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.note_new_forecasts();
CREATE TRIGGER note_forecasts_of_new AFTER INSERT ON stockbatch.bars
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.note_forecasts_of_bars();
CREATE TRIGGER note_forecasts_of_changed AFTER UPDATE ON stockbatch.bars
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.note_forecasts_of_bars();
"""
# What is settled of it goes with the next run that scores.
OF_ALL = """
INSERT INTO stockbatch.unscored (forecast_id)
SELECT f.id
FROM stockbatch.forecasts AS f
LEFT JOIN stockbatch.bars AS b
    ON b.instrument_id = f.instrument_id AND b.session = f.target_session
    AND b.state <> 'quarantined'
WHERE NOT EXISTS (
    SELECT FROM stockbatch.scores AS s
    WHERE s.forecast_id = f.id AND s.revision >= coalesce(b.revision, 0)
)
"""


def upgrade() -> None:
    op.create_table(
        "unscored",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="note"),
        sa.Column("forecast_id", sa.BigInteger(), nullable=False, comment="forecast"),
        sa.PrimaryKeyConstraint("id", name=op.f("unscored_pkey")),
        sa.ForeignKeyConstraint(
            ["forecast_id"],
            ["stockbatch.forecasts.id"],
            name=op.f("unscored_forecast_id_fkey"),
            ondelete="CASCADE",
        ),
        schema="stockbatch",
        comment="One row per forecast that was made, or whose bar came or changed, since it was"
        " looked at for scoring: kept by triggers, taken away by who scores.",
    )
    op.create_index(
        op.f("unscored_forecast_id_idx"), "unscored", ["forecast_id"], schema="stockbatch"
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON stockbatch.unscored TO stockbatch_writer")
    op.execute(OF_ALL)
    op.execute(NOTES)


def downgrade() -> None:
    for change in ("new", "changed"):
        op.execute(f"DROP TRIGGER note_forecasts_of_{change} ON stockbatch.bars")
    op.execute("DROP TRIGGER note_new_forecasts ON stockbatch.forecasts")
    op.execute("DROP FUNCTION stockbatch.note_forecasts_of_bars()")
    op.execute("DROP FUNCTION stockbatch.note_new_forecasts()")
    op.drop_table("unscored", schema="stockbatch")
