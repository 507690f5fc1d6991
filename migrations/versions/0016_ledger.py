"""Judge `live` when it is committed, by the session's own deadline; let nothing else be rewritten.

A false skip, of a session that is not over or from a time that is yet to come, is seen as one.

Revision ID: 0016
Revises: 0015
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import context, op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"

# As the calendars of the program tell it: where an exchange never pauses, by the median since it
# may close for a day all the same, two hours after the close before.
DEADLINES = """
UPDATE stockbatch.sessions AS s SET deadline_at = CASE
    WHEN c.pause > interval '0' THEN s.open_at
    ELSE coalesce(o.closed_at, s.open_at) + interval '2 hours'
END
FROM (
    SELECT calendar, session,
        lag(close_at) OVER (PARTITION BY calendar ORDER BY session) AS closed_at
    FROM stockbatch.sessions
) AS o
JOIN (
    SELECT calendar, percentile_cont(0.5) WITHIN GROUP (ORDER BY pause) AS pause
    FROM (
        SELECT calendar,
            open_at - lag(close_at) OVER (PARTITION BY calendar ORDER BY session) AS pause
        FROM stockbatch.sessions
    ) AS pauses
    GROUP BY calendar
) AS c USING (calendar)
WHERE (o.calendar, o.session) = (s.calendar, s.session)
"""
# A deadline may be days early, after a holiday of an exchange that never pauses; never late.
INSTANTS = """
ALTER TABLE stockbatch.sessions ADD CONSTRAINT sessions_instants_check CHECK (
    open_at < close_at
    AND open_at AT TIME ZONE 'UTC' BETWEEN session - 2 AND session + 2
    AND close_at AT TIME ZONE 'UTC' BETWEEN session - 2 AND session + 2
    AND deadline_at AT TIME ZONE 'UTC' BETWEEN session - 14 AND session + 2
)
"""
KEEP_SESSION = """
CREATE FUNCTION stockbatch.keep_session() RETURNS trigger LANGUAGE plpgsql AS $$
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
COMMENT ON FUNCTION stockbatch.keep_session() IS
    'Keeps a session that a forecast names as it was when that was made.';
CREATE TRIGGER keep_session BEFORE DELETE ON stockbatch.sessions
    FOR EACH ROW EXECUTE FUNCTION stockbatch.keep_session();
CREATE TRIGGER keep_instants BEFORE UPDATE ON stockbatch.sessions
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION stockbatch.keep_session();
"""
JUDGE_KIND = """
CREATE OR REPLACE FUNCTION stockbatch.judge_kind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.recorded_at := clock_timestamp();
    NEW.deadline_at := (
        SELECT s.deadline_at FROM stockbatch.instruments AS i
        JOIN stockbatch.sessions AS s
            ON s.calendar = i.calendar AND s.session = NEW.target_session
        WHERE i.id = NEW.instrument_id
    );
    IF NEW.deadline_at IS NULL THEN
        RAISE EXCEPTION 'session % of instrument % is not known: no deadline can be told',
            NEW.target_session, NEW.instrument_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF NEW.kind <> 'backtest' THEN
        NEW.kind := CASE
            WHEN NEW.issued_at < NEW.deadline_at AND NEW.recorded_at < NEW.deadline_at THEN 'live'
            ELSE 'late'
        END;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stockbatch.judge_kind() IS
    'Stamps a forecast with the database clock and its session''s deadline, and tells live from late.';
CREATE FUNCTION stockbatch.judge_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF clock_timestamp() >= NEW.deadline_at THEN
        RAISE EXCEPTION 'the deadline % has passed before the commit', NEW.deadline_at
            USING ERRCODE = 'SB001';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stockbatch.judge_commit() IS
    'Refuses the commit of a live forecast once its deadline has passed (SQLSTATE SB001).';
CREATE CONSTRAINT TRIGGER judge_commit AFTER INSERT ON stockbatch.forecasts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.kind = 'live')
    EXECUTE FUNCTION stockbatch.judge_commit();
"""

# Whoever could execute it could hang it on a table of his own, and demote what he likes.
NUMBER_OUTCOME = """
CREATE FUNCTION stockbatch.number_outcome() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE stockbatch.outcomes SET is_final = false
    WHERE instrument_id = NEW.instrument_id AND session = NEW.session AND is_final;
    NEW.is_final := true;
    NEW.try_number := 1 + coalesce((
        SELECT max(try_number) FROM stockbatch.outcomes
        WHERE instrument_id = NEW.instrument_id AND session = NEW.session
    ), 0);
    RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION stockbatch.number_outcome() FROM PUBLIC;
COMMENT ON FUNCTION stockbatch.number_outcome() IS
    'Numbers the tries for a ticker and session: the newest one is final, by this alone.';
CREATE TRIGGER number_outcome BEFORE INSERT ON stockbatch.outcomes
    FOR EACH ROW EXECUTE FUNCTION stockbatch.number_outcome();
"""
KEEP_REVISION = """
CREATE FUNCTION stockbatch.refuse_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'revision % of a bar does not follow on the one before', NEW.revision
        USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION stockbatch.refuse_revision() IS
    'Refuses a bar whose revision is not 1 or the next one.';
CREATE TRIGGER first_revision BEFORE INSERT ON stockbatch.bars
    FOR EACH ROW WHEN (NEW.revision <> 1) EXECUTE FUNCTION stockbatch.refuse_revision();
CREATE TRIGGER next_revision BEFORE UPDATE ON stockbatch.bars
    FOR EACH ROW WHEN (NEW.revision NOT IN (OLD.revision, OLD.revision + 1))
    EXECUTE FUNCTION stockbatch.refuse_revision();
CREATE FUNCTION stockbatch.judge_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM stockbatch.forecasts AS f
        JOIN stockbatch.bars AS b
            ON b.instrument_id = f.instrument_id AND b.session = f.target_session
        WHERE f.id = NEW.forecast_id AND b.revision = NEW.revision
    ) THEN
        RAISE EXCEPTION 'revision % of a score is not that of the bar', NEW.revision
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stockbatch.judge_revision() IS
    'Refuses a score of a revision that its bar does not have.';
CREATE TRIGGER judge_revision BEFORE INSERT ON stockbatch.scores
    FOR EACH ROW WHEN (NEW.revision NOT IN (0, 1))
    EXECUTE FUNCTION stockbatch.judge_revision();
"""

STAMPED = {
    "api_tokens": "created_at",
    "bar_revisions": "replaced_at",
    "decisions": "decided_at",
    "methods": "added_at",
    "models": "trained_at",
    "outcomes": "recorded_at",
    "promotions": "recorded_at",
    "renames": "renamed_at",
    "scores": "scored_at",
}
"""Instants at which rows were added that nobody changes afterwards."""
STAMP = """
CREATE FUNCTION stockbatch.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[0], clock_timestamp()));
END
$$;
COMMENT ON FUNCTION stockbatch.stamp() IS
    'Replaces an instant that is not of this transaction by that of the database clock.';
"""
# The default is within these bounds, so that only what somebody made up costs a call.
STAMP_ONE = """
CREATE TRIGGER stamp BEFORE INSERT ON stockbatch.{table}
    FOR EACH ROW WHEN (NEW.{column} IS NULL OR NEW.{column} NOT BETWEEN now() AND clock_timestamp())
    EXECUTE FUNCTION stockbatch.stamp('{column}')
"""

FALSE_SKIPS = """
CREATE VIEW stockbatch.false_skips AS
SELECT r.calendar, r.session
FROM stockbatch.runs AS r
WHERE r.status = 'skipped' AND (
    r.tried_at > clock_timestamp()
    OR NOT EXISTS (
        SELECT FROM stockbatch.sessions AS later
        WHERE later.calendar = r.calendar AND later.session > r.session AND later.close_at <= now()
    )
);
COMMENT ON VIEW stockbatch.false_skips IS
    'One row per run of a session that a clock set ahead called too old: not over, or yet to come.';
COMMENT ON COLUMN stockbatch.false_skips.calendar IS 'exchange calendar code';
COMMENT ON COLUMN stockbatch.false_skips.session IS 'session that is due all the same';
"""

CONDITIONS = (
    *("missed_deadline", "failed_run", "low_data_coverage", "interval_coverage"),
    *("negative_skill", "provider_quota", "test"),
)
NEW_CONDITIONS = ("clocks_apart", "late_commit")
FORGET = """
DELETE FROM stockbatch.alert_messages AS m USING stockbatch.alerts AS a
WHERE a.id = m.alert_id AND a.condition IN ('clocks_apart', 'late_commit');
DELETE FROM stockbatch.alerts WHERE condition IN ('clocks_apart', 'late_commit')
"""

MODEL_KEY = (
    *("method", "kind", "instrument_id", "calendar", "demo", "last_session"),
    *("configuration", "fingerprint", "parent_id"),
)
WEIGHTS = "weights IS NULL OR weights_sha256 = encode(sha256(weights), 'hex')"


def upgrade() -> None:
    op.add_column(
        "sessions",
        sa.Column(
            "deadline_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="instant before which a forecast of it is live",
        ),
        schema="stockbatch",
    )
    op.execute(DEADLINES)
    op.alter_column("sessions", "deadline_at", nullable=False, schema="stockbatch")
    op.execute(INSTANTS)
    for statements in (KEEP_SESSION, JUDGE_KIND, NUMBER_OUTCOME, KEEP_REVISION, STAMP):
        op.execute(statements)
    for table, column in STAMPED.items():
        op.execute(STAMP_ONE.format(table=table, column=column))
    op.execute("REVOKE INSERT (deadline_at) ON stockbatch.forecasts FROM stockbatch_writer")
    op.execute("REVOKE UPDATE (is_final) ON stockbatch.outcomes FROM stockbatch_writer")
    op.execute("REVOKE UPDATE (weights_sha256) ON stockbatch.models FROM stockbatch_writer")
    op.create_check_constraint(op.f("models_weights_check"), "models", WEIGHTS, schema="stockbatch")
    _replace_key(*MODEL_KEY, "weights_sha256")
    op.execute(FALSE_SKIPS)
    op.execute("GRANT SELECT ON stockbatch.false_skips TO stockbatch_writer")
    _show("outcomes", 2)
    _show("run_history", 2)
    _show("data_freshness", 3)
    _list_conditions(*CONDITIONS, *NEW_CONDITIONS)


def downgrade() -> None:
    op.execute(FORGET)
    _list_conditions(*CONDITIONS)
    for view, version in (("outcomes", 1), ("run_history", 1), ("data_freshness", 2)):
        op.execute(f"DROP VIEW bi.{view}")
        _show(view, version)
    op.execute("DROP VIEW stockbatch.false_skips")
    _replace_key(*MODEL_KEY)
    op.drop_constraint(op.f("models_weights_check"), "models", schema="stockbatch", type_="check")
    op.execute("GRANT INSERT (deadline_at) ON stockbatch.forecasts TO stockbatch_writer")
    op.execute("GRANT UPDATE (weights_sha256) ON stockbatch.models TO stockbatch_writer")
    op.execute("GRANT UPDATE (is_final) ON stockbatch.outcomes TO stockbatch_writer")
    for table in STAMPED:
        op.execute(f"DROP TRIGGER stamp ON stockbatch.{table}")
    for table, trigger in (
        ("scores", "judge_revision"),
        ("bars", "next_revision"),
        ("bars", "first_revision"),
        ("outcomes", "number_outcome"),
        ("forecasts", "judge_commit"),
        ("sessions", "keep_instants"),
        ("sessions", "keep_session"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON stockbatch.{table}")
    for function in (
        *("stamp", "judge_revision", "refuse_revision"),
        *("number_outcome", "judge_commit", "keep_session"),
    ):
        op.execute(f"DROP FUNCTION stockbatch.{function}()")
    _restore_judge()
    op.execute("ALTER TABLE stockbatch.sessions DROP CONSTRAINT sessions_instants_check")
    op.drop_column("sessions", "deadline_at", schema="stockbatch")


def _restore_judge() -> None:
    """Make the function that told live from late as it was, for the trigger that stays."""
    before = context.script.get_revision("0001").module.JUDGE_KIND
    function, _, _ = before.partition("CREATE TRIGGER")
    op.execute(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


def _replace_key(*columns: str) -> None:
    op.drop_constraint(op.f("models_key"), "models", schema="stockbatch", type_="unique")
    op.create_unique_constraint(
        op.f("models_key"),
        "models",
        columns,
        schema="stockbatch",
        postgresql_nulls_not_distinct=True,
    )


def _list_conditions(*conditions: str) -> None:
    listed = ", ".join(f"'{condition}'" for condition in conditions)
    name = op.f("alerts_condition_check")
    op.drop_constraint(name, "alerts", schema="stockbatch", type_="check")
    op.create_check_constraint(name, "alerts", f"condition IN ({listed})", schema="stockbatch")
    shown = ", ".join(condition for condition in conditions if condition != "test")
    op.execute(f"COMMENT ON COLUMN bi.alerts.condition IS '{shown}, or test'")


def _show(view: str, version: int) -> None:
    op.execute((FOLDER / f"{view}_v{version}.sql").read_text(encoding="utf-8"))
    op.execute(f"GRANT SELECT ON bi.{view} TO {READERS}")
