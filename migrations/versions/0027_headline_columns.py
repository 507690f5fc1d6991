"""Say how far a close is expected to go, how unusual that is, and why; keep the moving averages.

Forecasts of before state none of it: there it is NULL.

Revision ID: 0027
Revises: 0026
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"
NUMBERS = {
    "probability_of_fall": "forecast probability of a negative return",
    "probability_of_move_2": "forecast probability of a change of more than 2 %, up or down",
    "probability_of_move_5": "forecast probability of a change of more than 5 %, up or down",
    "usual_move": "half of the 80 % interval of the ticker's own last returns, a share of the price",
}
NEVER = "NULL: points only, or not stated by the version that made it"
IN_RANGE = (
    "probability_of_fall BETWEEN 0 AND 1 AND probability_of_move_2 BETWEEN 0 AND 1"
    " AND probability_of_move_5 BETWEEN 0 AND 1 AND usual_move >= 0 AND usual_move < 'Infinity'"
)
REASONS = (
    *("own_moves", "level", "market_moves", "direction", "turnover", "reports"),
    *("lstm", "calibration", "last_year"),
)

# The average of a session is on the basis of its own price: what restates prices later restates it
# likewise, so that it is worked out anew only where something within its reach has changed.
RENEW_AVERAGES = """
CREATE FUNCTION stockbatch.renew_averages(ids int[], firsts date[], lasts date[]) RETURNS void
LANGUAGE sql AS $$
    WITH reach AS (
        SELECT
            span.id, span.first,
            -- So many bars before count in the longest average of the first one, and so many after
            -- the last one count it in theirs.
            coalesce((
                SELECT session FROM stockbatch.bars
                WHERE instrument_id = span.id AND session < span.first AND state <> 'quarantined'
                ORDER BY session DESC OFFSET 198 LIMIT 1
            ), '-infinity') AS since,
            coalesce((
                SELECT session FROM stockbatch.bars
                WHERE instrument_id = span.id AND session > span.last AND state <> 'quarantined'
                ORDER BY session OFFSET 198 LIMIT 1
            ), 'infinity') AS until
        FROM unnest(ids, firsts, lasts) AS span (id, first, last)
    ), restated AS (
        SELECT reach.id, reach.first, b.session, basis.ratio, b.close / basis.ratio AS close
        FROM reach
        JOIN stockbatch.split_ratios AS split ON split.instrument_id = reach.id
        JOIN stockbatch.bars AS b
            ON b.instrument_id = reach.id AND b.session BETWEEN reach.since AND reach.until
            AND b.state <> 'quarantined'
        CROSS JOIN LATERAL (
            SELECT coalesce(split.ratios[width_bucket(b.session, split.sessions) + 1], 1) AS ratio
        ) AS basis
    ), so_far AS (
        -- A sum that runs on costs a bar one step, whatever the length of the average.
        SELECT
            id, first, session, ratio,
            row_number() OVER in_order AS number,
            sum(close) OVER in_order AS total
        FROM restated
        WINDOW in_order AS (PARTITION BY id ORDER BY session)
    ), averaged AS (
        SELECT
            id, first, session,
            -- An average of fewer sessions than it is named after is none.
            CASE WHEN number >= 20 THEN ratio * (total - lag(total, 20, 0) OVER in_order) / 20 END
                AS of_20,
            CASE WHEN number >= 50 THEN ratio * (total - lag(total, 50, 0) OVER in_order) / 50 END
                AS of_50,
            CASE WHEN number >= 200 THEN ratio * (total - lag(total, 200, 0) OVER in_order) / 200 END
                AS of_200
        FROM so_far
        WINDOW in_order AS (PARTITION BY id ORDER BY session)
    )
    INSERT INTO stockbatch.averages (instrument_id, session, of_20, of_50, of_200)
    SELECT id, session, of_20, of_50, of_200 FROM averaged WHERE session >= first
    ON CONFLICT (instrument_id, session) DO UPDATE
        SET of_20 = excluded.of_20, of_50 = excluded.of_50, of_200 = excluded.of_200;
$$;
COMMENT ON FUNCTION stockbatch.renew_averages IS
    'Works out the averages of instruments that rest on what has changed from a first to a last session.';
"""
KEEP_AVERAGES = """
CREATE FUNCTION stockbatch.keep_averages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM stockbatch.renew_averages(array_agg(instrument_id), array_agg(first), array_agg(last))
    FROM (
        SELECT instrument_id, min(session) AS first, max(session) AS last
        FROM changed GROUP BY instrument_id
    ) AS spans
    HAVING count(*) > 0;
    -- Of a bar that is no longer one to rely on, or not there, there is no average either.
    DELETE FROM stockbatch.averages AS a USING changed AS c
    WHERE (a.instrument_id, a.session) = (c.instrument_id, c.session)
        AND NOT EXISTS (
            SELECT FROM stockbatch.bars AS b
            WHERE (b.instrument_id, b.session) = (c.instrument_id, c.session)
                AND b.state <> 'quarantined'
        );
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stockbatch.keep_averages() IS
    'Keeps the averages true to the bars, whoever changes them.';
CREATE FUNCTION stockbatch.restate_averages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Dividends, which are most of all actions, restate no price.
    PERFORM stockbatch.renew_averages(array_agg(instrument_id), array_agg(first), array_agg(last))
    FROM (
        SELECT instrument_id, min(session) AS first, max(session) AS last
        FROM changed WHERE kind <> 'dividend' GROUP BY instrument_id
    ) AS spans
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stockbatch.restate_averages() IS
    'Keeps the averages true to what restates prices, whoever changes it.';
CREATE TRIGGER keep_averages_of_new AFTER INSERT ON stockbatch.bars
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.keep_averages();
CREATE TRIGGER keep_averages_of_changed AFTER UPDATE ON stockbatch.bars
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.keep_averages();
CREATE TRIGGER keep_averages_of_gone AFTER DELETE ON stockbatch.bars
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.keep_averages();
CREATE TRIGGER restate_averages_of_new AFTER INSERT ON stockbatch.corporate_actions
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.restate_averages();
CREATE TRIGGER restate_averages_of_changed AFTER UPDATE ON stockbatch.corporate_actions
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.restate_averages();
CREATE TRIGGER restate_averages_of_gone AFTER DELETE ON stockbatch.corporate_actions
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION stockbatch.restate_averages();
"""
OF_ALL = """
SELECT stockbatch.renew_averages(
    array_agg(id), array_agg(date '-infinity'), array_agg(date 'infinity')
) FROM stockbatch.instruments
"""
TRIGGERS = {"bars": "keep_averages", "corporate_actions": "restate_averages"}
"""Functions by table; a trigger of each for what is new, changed and gone."""

REPLACED = {
    "accuracy": 4,
    "forecast_history": 4,
    "next_session_forecast": 6,
    "price_and_forecast": 7,
}
"""Views with their new versions, those that others are made of first."""


def upgrade() -> None:
    for name, comment in NUMBERS.items():
        column = sa.Column(name, sa.Double(), nullable=True, comment=f"{comment}; {NEVER}")
        op.add_column("forecasts", column, schema="stockbatch")
    op.add_column(
        "forecasts",
        sa.Column(
            "reasons",
            JSONB(),
            nullable=True,
            comment="logarithms by reason, whose sum is that of the expected move over the usual"
            " one; NULL: not stated",
        ),
        schema="stockbatch",
    )
    op.create_check_constraint(
        op.f("forecasts_moves_check"), "forecasts", IN_RANGE, schema="stockbatch"
    )
    words = ", ".join(f"'{reason}'" for reason in REASONS)
    op.create_check_constraint(
        op.f("forecasts_reasons_check"),
        "forecasts",
        f"jsonb_typeof(reasons) = 'object' AND reasons - ARRAY[{words}] = '{{}}'",
        schema="stockbatch",
    )
    columns = ", ".join((*NUMBERS, "reasons"))
    op.execute(f"GRANT INSERT ({columns}) ON stockbatch.forecasts TO stockbatch_writer")
    _keep_averages()
    _create("forecast_reasons", 1)
    op.execute(f"GRANT SELECT ON bi.forecast_reasons TO {READERS}")
    for view, version in REPLACED.items():
        _create(view, version)


def _keep_averages() -> None:
    op.create_table(
        "averages",
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column("session", sa.Date(), nullable=False, comment="last session averaged"),
        *(
            sa.Column(
                f"of_{count}",
                sa.Double(),
                nullable=True,
                comment=f"mean of the last {count} closes, restated to the basis of the session's"
                " own; NULL: there are fewer",
            )
            for count in (20, 50, 200)
        ),
        sa.PrimaryKeyConstraint("instrument_id", "session", name=op.f("averages_pkey")),
        schema="stockbatch",
        comment="One row per accepted bar: its moving averages, kept by triggers of bars and"
        " corporate_actions.",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON stockbatch.averages TO stockbatch_writer")
    op.execute("GRANT SELECT ON stockbatch.split_ratios TO stockbatch_writer")
    for statements in (RENEW_AVERAGES, KEEP_AVERAGES, OF_ALL):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP VIEW bi.interval_coverage")  # made of bi.accuracy
    for view in reversed(REPLACED):
        op.execute(f"DROP VIEW bi.{view}")
    op.execute("DROP VIEW bi.forecast_reasons")
    for table, function in TRIGGERS.items():
        for change in ("new", "changed", "gone"):
            op.execute(f"DROP TRIGGER {function}_of_{change} ON stockbatch.{table}")
        op.execute(f"DROP FUNCTION stockbatch.{function}()")
    op.execute("DROP FUNCTION stockbatch.renew_averages(int[], date[], date[])")
    op.drop_table("averages", schema="stockbatch")
    op.execute("REVOKE SELECT ON stockbatch.split_ratios FROM stockbatch_writer")
    # The rights to a column, and the rules it is in, go with it.
    for column in (*NUMBERS, "reasons"):
        op.drop_column("forecasts", column, schema="stockbatch")
    for view, version in REPLACED.items():
        _restore(view, version - 1)
    _restore("interval_coverage", 3)


def _create(view: str, version: int) -> None:
    op.execute((FOLDER / f"{view}_v{version}.sql").read_text(encoding="utf-8"))


def _restore(view: str, version: int) -> None:
    """Make a view of an earlier version, which has fewer columns, with all that was said of them.

    Each version says what the columns are that came with it.
    """
    _create(view, version)
    for each in range(1, version + 1):
        text = (FOLDER / f"{view}_v{each}.sql").read_text(encoding="utf-8")
        for comment in re.findall(r"^COMMENT ON .*?;$", text, re.MULTILINE | re.DOTALL):
            op.execute(comment)
    op.execute(f"GRANT SELECT ON bi.{view} TO {READERS}")
