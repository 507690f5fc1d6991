import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from alembic import command as alembic
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server, migration
from stockbatch.database.tables import Base
from stockbatch.exceptions import (
    DatabaseBusy,
    MigrationInProgress,
    SchemaOutOfDate,
    SchemaTooNew,
)
from stockbatch.market import sessions
from stockbatch.records import (
    LABELS,
    Action,
    ActionKind,
    AlertEvent,
    BarState,
    Chore,
    Condition,
    Decision,
    GroupKind,
    Kind,
    ManualReason,
    ModelKind,
    PriceBasis,
    Reason,
    RunStatus,
    ScoreStatus,
    Severity,
    SubjectKind,
    Timing,
    Trigger,
    Verdict,
)
from stockbatch.store import calendar as calendar_store
from stockbatch.store.stated import Measure
from tests.support.places import ROOT
from tests.support.superuser import superuser

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
       a.attgenerated, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'stockbatch'::regnamespace AND c.relkind IN ('r', 'p')
  AND c.relname <> 'alembic_version'"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE connamespace = 'stockbatch'::regnamespace
  AND conrelid <> coalesce(to_regclass('stockbatch.alembic_version'), 0::regclass)"""
INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'stockbatch' AND tablename <> 'alembic_version'"""
COMMENTS = """
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
WHERE relnamespace = 'stockbatch'::regnamespace AND relkind = 'r'
  AND relname <> 'alembic_version'"""
OBJECTS = """
SELECT relname FROM pg_class
WHERE relnamespace::regnamespace::text IN ('stockbatch', 'bi')
UNION ALL
SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text IN ('stockbatch', 'bi')
UNION ALL
SELECT typname FROM pg_type
WHERE typnamespace::regnamespace::text IN ('stockbatch', 'bi') AND typtype IN ('e', 'd')"""
GRANTS = """
SELECT table_schema, table_name, grantee, privilege_type FROM information_schema.table_privileges
WHERE table_schema IN ('stockbatch', 'bi')"""

LISTS = {
    "alert_messages_event_check": AlertEvent,
    "alerts_condition_check": Condition,
    "bars_price_basis_check": PriceBasis,
    "instruments_price_basis_check": PriceBasis,
    "bars_state_check": BarState,
    "chores_chore_check": Chore,
    "corporate_actions_kind_check": ActionKind,
    "data_issues_severity_check": Severity,
    "decisions_decision_check": Decision,
    "events_timing_check": Timing,
    "forecasts_kind_check": Kind,
    "labels_kind_check": LABELS,
    "models_kind_check": ModelKind,
    "models_reason_check": Reason,
    "models_verdict_check": Verdict,
    "outcomes_action_check": Action,
    "outcomes_reason_check": Reason,
    "promotions_reason_check": (*Reason, *ManualReason),
    "risk_forecasts_kind_check": Kind,
    "risk_metrics_kind_check": Kind,
    "risk_scores_kind_check": Kind,
    "risk_scores_status_check": ScoreStatus,
    "risk_subjects_kind_check": (*SubjectKind, *GroupKind),
    "runs_status_check": RunStatus,
    "runs_trigger_check": Trigger,
    "scores_status_check": ScoreStatus,
    "stated_measure_check": Measure,
}
"""What every list of words in a CHECK must have in it."""

FAILING = """
from alembic import op

revision, down_revision = "{revision}", "{down_revision}"


def upgrade() -> None:
    op.execute("CREATE TABLE public.made_by_{revision} ()")
    {then}
"""


@pytest.fixture
def empty(empty_settings):
    engine = database.engine(empty_settings, role="owner")
    yield engine
    engine.dispose()


@pytest.fixture
def bare(server_home, programs, tmp_path):
    """A server of an administrator without our roles; make a login and settings that use it."""
    server = embedded_server.start(server_home, programs=programs, options={"fsync": "off"})
    owner = Settings(home=tmp_path, database_url=database.for_clients(superuser(server)))
    administrator = database.engine(owner, role="owner")

    def make(*statements):
        with administrator.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        url = superuser(server).set(username="migrator", password="x")
        return Settings(home=tmp_path, database_url=database.for_clients(url))

    make(
        "DROP OWNED BY stockbatch_writer",  # its right to temporary tables
        "DROP ROLE api, writer, reader, stockbatch_writer, stockbatch_reader, stockbatch_api",
    )
    yield make
    administrator.dispose()


def rows(engine, query):
    with engine.connect() as connection:
        return sorted(map(tuple, connection.execute(text(query))), key=repr)


def test_up_down_and_up_again(empty, empty_settings):
    assert database.revision(empty) is None
    database.migrate(empty_settings)
    assert database.revision(empty) == database.head()
    first = [rows(empty, query) for query in (OBJECTS, COLUMNS, CONSTRAINTS, INDEXES, GRANTS)]

    alembic.downgrade(database.alembic_config(empty), "base")
    assert database.revision(empty) is None
    assert rows(empty, OBJECTS) == [("alembic_version",), ("alembic_version_pkc",)]

    database.migrate(empty_settings)
    again = [rows(empty, query) for query in (OBJECTS, COLUMNS, CONSTRAINTS, INDEXES, GRANTS)]
    assert again == first
    database.migrate(empty_settings)  # nothing left to do
    database.require_current(empty)


def test_alembic_sees_no_difference(engine):
    alembic.check(database.alembic_config(engine))


@pytest.mark.parametrize("query", [COLUMNS, CONSTRAINTS, INDEXES, COMMENTS])
def test_migrations_and_mapped_classes_make_the_same(engine, empty, query):
    with empty.begin() as connection:
        connection.execute(text("CREATE SCHEMA stockbatch"))
        Base.metadata.create_all(connection)
    mapped = {table.name for table in Base.metadata.tables.values()}
    made = [row for row in rows(engine, query) if row[0].removeprefix("stockbatch.") in mapped]
    assert made == rows(empty, query)
    assert {row[0].removeprefix("stockbatch.") for row in made} == mapped


def test_every_list_in_a_check_is_an_enum(engine):
    listed = {
        name: set(re.findall(r"'(\w+)'::text", definition))
        for _, name, definition in rows(engine, CONSTRAINTS)
        if "= ANY (ARRAY[" in definition
    }
    assert listed == {name: {str(value) for value in of_one} for name, of_one in LISTS.items()}


def test_everything_is_commented(engine):
    undescribed = """
        SELECT c.oid::regclass::text, a.attname FROM pg_class c
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace::regnamespace::text IN ('stockbatch', 'bi')
          AND c.relkind IN ('r', 'v') AND c.relname <> 'alembic_version'
          AND (obj_description(c.oid, 'pg_class') IS NULL
               OR col_description(c.oid, a.attnum) IS NULL)"""
    assert rows(engine, undescribed) == []


def test_a_second_migrator_does_not_wait_for_ever(empty, empty_settings, monkeypatch):
    monkeypatch.setattr(migration, "PATIENCE", "100ms")
    with empty.connect() as first, database.migration_lock(first):
        with pytest.raises(MigrationInProgress, match=r"\*\*\*@") as caught:
            database.migrate(empty_settings)
        assert empty.url.password not in str(caught.value)
    database.migrate(empty_settings)


@pytest.mark.parametrize("made", ["CREATE SCHEMA stockbatch", "CREATE SCHEMA bi"])
def test_what_another_makes_in_the_same_instant_is_waited_for(empty, empty_settings, made):
    with empty.connect() as other:
        other.execute(text(made))
        with ThreadPoolExecutor() as pool:
            migrated = pool.submit(database.migrate, empty_settings)
            waits = "SELECT FROM pg_locks WHERE NOT granted"
            while not rows(empty, waits) and not migrated.done():
                time.sleep(0.01)
            assert not migrated.done()
            other.commit()
            migrated.result()
    database.require_current(empty)


def test_migrators_at_once(empty, empty_settings):
    code = (
        "import sys\n"
        "from stockbatch import config, database\n"
        "settings = config.load()\n"
        "sys.stdin.read()\n"  # all are ready
        "database.migrate(settings)\n"
    )
    environment = {**os.environ, "STOCKBATCH_DATABASE_URL": database.for_clients(empty.url)}
    command = [sys.executable, "-c", code]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) for _ in range(3)]
    for racer in racers:
        racer.stdin.close()
    assert [racer.wait(timeout=120) for racer in racers] == [0, 0, 0]
    database.require_current(empty)


def test_first_runs_at_once_wait_for_each_other(server_home):
    code = (
        "import sys\n"
        "from jobs.app import running\n"
        "from stockbatch import config\n"
        "settings = config.load()\n"
        "sys.stdin.read()\n"  # all are ready
        "with running(settings) as app, app.transaction() as db:\n"
        "    print(db.connection().exec_driver_sql('SELECT current_user').scalar())\n"
    )
    environment = {**os.environ, "STOCKBATCH_HOME": str(server_home)}
    command = [sys.executable, "-c", code]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        for _ in range(3)
    ]
    for racer in racers:
        racer.stdin.close()
        racer.stdin = None
    assert [racer.communicate(timeout=120)[0] for racer in racers] == [b"stockbatch_writer\n"] * 3


def test_each_migration_is_a_transaction(empty, empty_settings, tmp_path, monkeypatch):
    add_migrations(tmp_path, monkeypatch, then='op.execute("SELECT 1 / 0")')
    with pytest.raises(DBAPIError, match="division by zero"):
        database.migrate(empty_settings)
    assert database.revision(empty) == "good"
    assert inspect(empty).get_table_names(schema="public") == ["made_by_good"]
    with empty.connect() as other, database.migration_lock(other):
        pass  # the lock was given back


def test_migration_does_not_wait_for_a_lock_for_ever(empty, empty_settings, tmp_path, monkeypatch):
    add_migrations(tmp_path, monkeypatch, then='op.execute("DROP TABLE public.made_by_good")')
    monkeypatch.setattr("stockbatch.database.connection.LOCK_TIMEOUT", "200ms")
    alembic.upgrade(database.alembic_config(empty), "good")
    with empty.begin() as reader:
        reader.execute(text("SELECT FROM public.made_by_good"))
        with pytest.raises(DatabaseBusy):
            database.migrate(empty_settings)
    database.migrate(empty_settings)


OLDER = """
INSERT INTO stockbatch.instruments (ticker, symbol, provider, calendar, asset_class, active,
    active_since) VALUES
    ('AAA', 'AAA', 'csv:/data/a.csv', 'XNYS', 'equity', true, '2024-01-02 12:00+00'),
    ('BBB', 'BBB', 'yfinance', 'XNYS', 'equity', false, '2024-01-02 12:00+00'),
    ('CCC', 'CCC', 'csv:/data/c.csv', 'XNYS', 'equity', false, '2024-01-02 12:00+00');
INSERT INTO stockbatch.fallbacks (instrument_id, position, provider, symbol)
SELECT i.id, f.position, f.provider, ticker FROM stockbatch.instruments AS i,
    (VALUES ('AAA', 1, 'csv:/data/b.csv'), ('BBB', 1, 'csv:/data/b.csv'),
        ('BBB', 2, 'csv:/data/c.csv')) AS f (of, position, provider) WHERE of = ticker;
INSERT INTO stockbatch.bars (instrument_id, session, open, high, low, close, price_basis, state,
    provider)
SELECT i.id, session::date, 1, 1, 1, 1, 'as_traded', 'final', b.provider
FROM stockbatch.instruments AS i, (VALUES
    ('AAA', '2024-01-02', 'csv'), ('AAA', '2024-01-03', 'alpha_vantage'),
    ('BBB', '2024-01-02', 'csv'), ('BBB', '2024-01-03', 'yfinance')
) AS b (of, session, provider) WHERE of = ticker;
INSERT INTO stockbatch.bar_revisions (instrument_id, session, revision, open, high, low, close,
    price_basis, state, provider, fetched_at)
SELECT instrument_id, session, 1, 1, 1, 1, 1, 'as_traded', 'final', provider, now()
FROM stockbatch.bars;
INSERT INTO stockbatch.corporate_actions (instrument_id, session, kind, value, provider)
SELECT instrument_id, session, 'split', 2, provider FROM stockbatch.bars;
INSERT INTO stockbatch.market_inputs (calendar, session, instruments, absolute_return)
VALUES ('XNYS', '2024-01-03', 2, 0.01)
"""
OF_BARS = "bars", "bar_revisions", "corporate_actions"


def test_older_bars_come_from_their_instruments_source_of_that_provider(empty, empty_settings):
    config = database.alembic_config(empty)
    alembic.upgrade(config, "0011")
    with empty.begin() as connection:
        connection.exec_driver_sql(OLDER)
    named = {
        table: "SELECT ticker, session::text, b.provider FROM stockbatch.instruments AS i"
        f" JOIN stockbatch.{table} AS b ON instrument_id = i.id"
        for table in OF_BARS
    }
    before = {table: rows(empty, query) for table, query in named.items()}
    database.migrate(empty_settings)
    for table in OF_BARS:
        query = (
            "SELECT ticker, session::text, specification FROM stockbatch.instruments AS i"
            f" JOIN stockbatch.{table} AS b ON instrument_id = i.id"
            " JOIN stockbatch.sources AS s ON s.id = source_id"
        )
        assert rows(empty, query) == [
            ("AAA", "2024-01-02", "csv:/data/a.csv"),
            ("AAA", "2024-01-03", "alpha_vantage"),  # who fed it then is not known any more
            ("BBB", "2024-01-02", "csv:/data/b.csv"),
            ("BBB", "2024-01-03", "yfinance"),
        ]
    assert rows(empty, "SELECT ticker, bar_provider FROM bi.data_freshness") == [
        ("AAA", "alpha_vantage")
    ]
    stays = (
        "SELECT ticker, added_at = active_since, (removed_at AT TIME ZONE 'UTC')::text"
        " FROM stockbatch.memberships JOIN stockbatch.instruments AS i ON i.id = instrument_id"
    )
    assert rows(empty, stays) == [
        ("AAA", True, None),
        ("BBB", True, "2024-01-04 00:00:00"),
        ("CCC", True, "2024-01-02 12:00:00"),
    ]
    inputs = "SELECT absolute_return, digest FROM stockbatch.market_inputs"
    assert rows(empty, inputs) == [(0.01, None)]
    alembic.downgrade(config, "0011")
    assert {table: rows(empty, query) for table, query in named.items()} == before
    assert rows(empty, "SELECT bar_provider FROM bi.data_freshness") == [("alpha_vantage",)]


@pytest.mark.parametrize("code", ["XNYS", "24/5", "CMES"])
def test_older_sessions_get_the_deadline_that_their_calendar_tells(empty, empty_settings, code):
    config = database.alembic_config(empty)
    alembic.upgrade(config, "0015")
    calendar = sessions.load(code, date(2024, 6, 3))
    first = date(2023, 12, 1)
    known = [sessions.as_date(day) for day in calendar.between(first, date(2024, 7, 5))]
    old = text("INSERT INTO stockbatch.sessions VALUES (:code, :day, :open_at, :close_at)")
    values = [
        {"code": code, "day": d, "open_at": calendar.open(d), "close_at": calendar.close(d)}
        for d in known
    ]
    with empty.begin() as connection:
        connection.execute(old, values)
    before = rows(empty, "SELECT * FROM stockbatch.sessions")
    database.migrate(empty_settings)
    found = sorted(rows(empty, "SELECT session, deadline_at FROM stockbatch.sessions"))
    # Of the very first one the close before is not known.
    assert found[1:] == [(day, calendar.deadline(day)) for day in known[1:]]
    with empty.begin() as connection:
        connection.execute(text("DELETE FROM stockbatch.sessions"))
    with Session(empty) as db, db.begin():
        calendar_store.extend(db, calendar, first, date(2024, 7, 5))
    again = sorted(rows(empty, "SELECT session, deadline_at FROM stockbatch.sessions"))
    assert again[1:] == found[1:]
    alembic.downgrade(config, "0015")
    assert rows(empty, "SELECT * FROM stockbatch.sessions") == before


SHOWN = """
SELECT c.relname, a.attname, col_description(c.oid, a.attnum), obj_description(c.oid, 'pg_class')
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'bi'::regnamespace"""


def test_a_database_without_events_gets_them(empty, empty_settings):
    config = database.alembic_config(empty)
    alembic.upgrade(config, "0019")
    with empty.begin() as connection:
        connection.exec_driver_sql(OLDER_ROWS)
    before = rows(empty, "SELECT * FROM bi.price_and_forecast")
    described = rows(empty, SHOWN)
    alembic.upgrade(config, "0020")
    assert rows(empty, "SELECT * FROM bi.price_and_forecast") == [(*row, None) for row in before]
    database.migrate(empty_settings)
    with empty.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO stockbatch.events (instrument_id, kind, date, timing, session, source,"
            " known_at, assumed, projected) SELECT id, 'earnings', '2024-01-02', 'before_open',"
            " '2024-01-02', 'import', now(), true, false FROM stockbatch.instruments"
        )
    query = "SELECT session::text, event FROM bi.price_and_forecast"
    assert rows(empty, query) == [
        ("2024-01-02", "reports before the open"),
        ("2024-01-03", None),
    ]
    alembic.downgrade(config, "0019")
    assert rows(empty, "SELECT * FROM bi.price_and_forecast") == before
    assert rows(empty, SHOWN) == described


OLDER_ROWS = """
INSERT INTO stockbatch.instruments (ticker, symbol, provider, calendar, asset_class)
VALUES ('AAA', 'AAA', 'csv:/data/a.csv', 'XNYS', 'equity');
INSERT INTO stockbatch.sources (specification) VALUES ('csv:/data/a.csv');
INSERT INTO stockbatch.bars (instrument_id, session, open, high, low, close, price_basis, state,
    source_id)
SELECT i.id, day::date, 1, 1, 1, 1, 'as_traded', 'final', s.id
FROM stockbatch.instruments AS i, stockbatch.sources AS s,
    unnest(ARRAY['2024-01-02', '2024-01-03']) AS day;
"""


MONTH = """
INSERT INTO stockbatch.instruments (ticker, symbol, provider, calendar, asset_class)
SELECT name, name, 'csv:/data/a.csv', 'XNYS', 'equity' FROM unnest(ARRAY['AAA', 'BBB']) AS name;
INSERT INTO stockbatch.sources (specification) VALUES ('csv:/data/a.csv');
CREATE TEMP TABLE days AS
SELECT session::date, lag(session::date) OVER (ORDER BY session) AS origin
FROM generate_series(date '2024-01-31', '2024-03-01', '1 day') AS session
WHERE extract(isodow FROM session) < 6;
INSERT INTO stockbatch.sessions (calendar, session, open_at, close_at, deadline_at)
SELECT 'XNYS', session, session + interval '14 h', session + interval '21 h',
    session + interval '14 h' FROM days;
INSERT INTO stockbatch.bars (instrument_id, session, open, high, low, close, price_basis, state,
    source_id)
SELECT i.id, session, 100, 100, 100, 100, 'as_traded', 'final', s.id
FROM stockbatch.instruments AS i, stockbatch.sources AS s, days WHERE session < '2024-03-01';
ALTER TABLE stockbatch.forecasts DISABLE TRIGGER USER; -- live, though long ago
"""
LIVE = """
INSERT INTO stockbatch.forecasts (instrument_id, origin_session, target_session, horizon, method,
    kind, fingerprint, origin_close, close, log_return, q025, q05, q10, q25, q50, q75, q90, q95,
    q975, probability_of_rise, issued_at, deadline_at)
SELECT i.id, origin, session, 1, method, 'live', 'a', 100, 100 + length(method), 0,
    -length(method), -.03, -.02, -.01, 0, .01, .02, .03, length(method), 0.5,
    origin + interval '22 h', session + interval '14 h'
FROM stockbatch.instruments AS i, unnest(ARRAY[{methods}]) AS method,
    (VALUES {days}) AS days (origin, session)
"""
MEASURED = """
INSERT INTO stockbatch.metrics (instrument_id, calendar, method, kind, window_sessions,
    through_session, metric, n, value, baseline, skill)
SELECT id, 'XNYS', 'lstm', 'live', 250, '2024-02-29', 'pinball', 21, 1, 2, 0.5
FROM (SELECT id FROM stockbatch.instruments UNION ALL SELECT NULL) AS i
"""


def live(connection, methods, days):
    """Record live forecasts of two tickers by some methods."""
    values = ", ".join(f"(date '{origin}', date '{session}')" for origin, session in days)
    listed = ", ".join(f"'{method}'" for method in methods)
    connection.exec_driver_sql(LIVE.format(methods=listed, days=values))


@pytest.mark.parametrize(
    ("release", "methods"),
    [
        ("0019", ["lstm", "rolling_quantile", "naive"]),
        ("0022", ["lstm", "rolling_quantile", "naive", "combined"]),
    ],
)
def test_a_month_of_live_forecasts_stays_as_it_was_shown(empty, empty_settings, release, methods):
    config = database.alembic_config(empty)
    alembic.upgrade(config, release)
    with empty.begin() as connection:
        if "combined" in methods:
            connection.exec_driver_sql(
                "INSERT INTO stockbatch.methods VALUES ('combined', 'Combined', 'as it was said')"
            )
        connection.exec_driver_sql(MONTH)
        query = text("SELECT origin, session FROM days WHERE origin IS NOT NULL ORDER BY session")
        days = connection.execute(query).all()
        live(connection, methods, days)
        connection.exec_driver_sql(MEASURED)
    shown = "SELECT {} FROM bi.price_and_forecast WHERE session < '2024-03-04'"
    (columns,) = rows(
        empty,
        "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = 'bi.price_and_forecast'::regclass AND attnum > 0",
    )
    before, described = rows(empty, shown.format(*columns)), rows(empty, SHOWN)
    assert len(before) == 2 * 23
    database.migrate(empty_settings)

    assert rows(empty, "SELECT from_session::text, method FROM bi.headlines") == [
        ("2024-03-02", "combined"),
        (None, "lstm"),
    ]
    with empty.begin() as connection:
        live(connection, {*methods, "combined"}, [("2024-03-01", "2024-03-04")])
    assert rows(empty, shown.format(*columns)) == before
    assert rows(empty, shown.format("DISTINCT method") + " AND session > '2024-01-31'") == [
        ("lstm",)
    ]
    to_come = "SELECT ticker, session::text, method, forecast_close FROM bi.price_and_forecast"
    assert rows(empty, f"{to_come} WHERE session = '2024-03-04'") == [
        ("AAA", "2024-03-04", "combined", 108.0),
        ("BBB", "2024-03-04", "combined", 108.0),
    ]
    for view in ("next_session_forecast WHERE is_headline", "price_and_forecast WHERE close > 0"):
        assert rows(empty, f"SELECT DISTINCT ticker FROM bi.{view}") == [("AAA",), ("BBB",)]
    # Of the new headline nothing is measured yet: what was shown before is what boards show.
    measured = "SELECT scope, method, n FROM bi.accuracy WHERE is_headline"
    assert rows(empty, measured) == [
        *[("calendar", "lstm", 21)],
        *2 * [("ticker", "lstm", 21)],
    ]
    alembic.downgrade(config, release)
    assert rows(empty, shown.format(*columns)) == before
    assert rows(empty, SHOWN) == described


def test_forecasts_of_before_have_no_outermost_levels(empty):
    config = database.alembic_config(empty)
    alembic.upgrade(config, "0025")
    with empty.begin() as connection:
        connection.exec_driver_sql(MONTH)
        live(connection, ["lstm"], [("2024-02-28", "2024-02-29")])
    views = "forecast_history", "next_session_forecast", "price_and_forecast"
    before = {view: rows(empty, f"SELECT * FROM bi.{view}") for view in views}
    described = rows(empty, SHOWN)
    alembic.upgrade(config, "0026")
    for view, added in zip(views, (3, 2, 2), strict=True):
        found = rows(empty, f"SELECT * FROM bi.{view}")
        assert found == [(*row, *[None] * added) for row in before[view]]
    with empty.begin() as connection:
        stated = "q01 = {}, q99 = 5, raw_q01 = -5, raw_q99 = 5"
        change = f"UPDATE stockbatch.forecasts SET {stated}"
        connection.exec_driver_sql(change.format(-5))
        for wrong in ("-3", "'-Infinity'", "'NaN'"):  # above the next level, or no number
            with pytest.raises(DBAPIError, match="outermost"), connection.begin_nested():
                connection.exec_driver_sql(change.format(wrong))
    low, high = "round(close_low_98::numeric, 2)", "round(close_high_98::numeric)"
    for view in views:
        shown = rows(
            empty, f"SELECT {low}::text, {high}::text FROM bi.{view} WHERE close_low_98 > 0"
        )
        assert shown == [("0.67", "14841")] * 2, view
    alembic.downgrade(config, "0025")
    assert {view: rows(empty, f"SELECT * FROM bi.{view}") for view in views} == before
    assert rows(empty, SHOWN) == described


def test_forecasts_of_before_have_no_usual_move_and_no_reasons(empty, empty_settings):
    config = database.alembic_config(empty)
    alembic.upgrade(config, "0026")
    with empty.begin() as connection:
        connection.exec_driver_sql(MONTH)
        live(connection, ["lstm"], [("2024-02-28", "2024-02-29")])
    views = "forecast_history", "next_session_forecast", "price_and_forecast"
    before = {view: rows(empty, f"SELECT * FROM bi.{view}") for view in views}
    described = rows(empty, SHOWN)
    database.migrate(empty_settings)
    for view, added in zip(views, (8, 9, 3), strict=True):
        assert [row[:-added] for row in rows(empty, f"SELECT * FROM bi.{view}")] == before[view]
    # What follows from the quantiles alone is known of them, too.
    (known,) = {
        row[:3]
        for row in rows(
            empty,
            "SELECT expected_move_pct > 0, usual_move_pct, why FROM bi.next_session_forecast",
        )
    }
    assert known == (True, None, None)
    assert rows(empty, "SELECT * FROM bi.forecast_reasons") == []
    # Of the bars there were, the averages are those that triggers would have kept.
    kept = rows(empty, "SELECT * FROM stockbatch.averages")
    with empty.begin() as connection:
        connection.exec_driver_sql("DELETE FROM stockbatch.averages")
        connection.exec_driver_sql("UPDATE stockbatch.bars SET volume = volume")
    assert rows(empty, "SELECT * FROM stockbatch.averages") == kept
    alembic.downgrade(config, "0026")
    assert {view: rows(empty, f"SELECT * FROM bi.{view}") for view in views} == before
    assert rows(empty, SHOWN) == described


def test_what_has_no_score_of_its_bar_is_noted(empty, empty_settings):
    config = database.alembic_config(empty)
    alembic.upgrade(config, "0031")
    with empty.begin() as connection:
        connection.exec_driver_sql(MONTH)
        live(connection, ["lstm"], [("2024-02-28", "2024-02-29"), ("2024-02-27", "2024-02-28")])
        connection.exec_driver_sql(
            "INSERT INTO stockbatch.scores (forecast_id, revision, status)"
            " SELECT id, 1, 'masked' FROM stockbatch.forecasts WHERE target_session = '2024-02-28'"
        )
    database.migrate(empty_settings)
    assert rows(
        empty,
        "SELECT DISTINCT target_session::text FROM stockbatch.forecasts"
        " JOIN stockbatch.unscored ON forecast_id = forecasts.id ORDER BY 1",
    ) == [("2024-02-29",)]
    alembic.downgrade(config, "0031")


def add_migrations(folder, monkeypatch, then):
    """Append a good migration and one that ends with `then`."""
    head = database.head()
    copy = folder / "migrations"
    shutil.copytree(
        database.migrations_folder(), copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    for revision, below, last in (("good", head, "pass"), ("last", "good", then)):
        source = FAILING.format(revision=revision, down_revision=below, then=last)
        (copy / "versions" / f"{revision}.py").write_text(source)
    monkeypatch.setattr("stockbatch.database.migration.migrations_folder", lambda: copy)


def test_schema_that_is_behind(empty):
    with pytest.raises(SchemaOutOfDate, match=r"revision none, .*'stockbatch migrate'"):
        database.require_current(empty)


def test_schema_of_a_newer_program(engine, settings):
    with engine.begin() as connection:
        connection.execute(text("UPDATE stockbatch.alembic_version SET version_num = '9999'"))
    for attempt in (lambda: database.require_current(engine), lambda: database.migrate(settings)):
        with pytest.raises(SchemaTooNew, match="9999"):
            attempt()


def test_jobs_can_tell_the_revision(writer):
    database.require_current(writer)


def test_owner_need_not_be_superuser(bare):
    settings = bare(
        "CREATE ROLE migrator LOGIN PASSWORD 'x' CREATEROLE",
        "GRANT CREATE, TEMPORARY ON DATABASE stockbatch TO migrator",
    )
    assert writes_as(settings) == "migrator"  # the role is missing
    database.migrate(settings)
    assert writes_as(settings) == "stockbatch_writer"


def test_everything_prepared_by_an_administrator(bare):
    settings = bare(
        "CREATE ROLE migrator LOGIN PASSWORD 'x'",
        "CREATE SCHEMA stockbatch AUTHORIZATION migrator",
        "CREATE SCHEMA bi AUTHORIZATION migrator",
        "GRANT TEMPORARY ON DATABASE stockbatch TO migrator",
        "CREATE ROLE stockbatch_writer ROLE migrator",
        "CREATE ROLE stockbatch_reader",
        "CREATE ROLE stockbatch_api",
    )
    database.migrate(settings)
    assert writes_as(settings) == "stockbatch_writer"


def test_roles_that_belong_to_somebody_else(bare):
    settings = bare(
        "CREATE ROLE stockbatch_writer",
        "CREATE ROLE migrator LOGIN PASSWORD 'x' CREATEROLE",
        "GRANT CREATE, TEMPORARY ON DATABASE stockbatch TO migrator",
    )
    database.migrate(settings)
    writes_as(settings)


def writes_as(settings):
    """Return the user that jobs are in the database, after they did something there."""
    writer = database.engine(settings, role="writer")
    try:
        if database.revision(writer):
            database.require_current(writer)
            assert rows(writer, "SELECT ticker FROM stockbatch.instruments") == []
        return rows(writer, "SELECT current_user")[0][0]
    finally:
        writer.dispose()


@pytest.mark.parametrize("order", [["check"], ["current"], ["upgrade", "head"]])
def test_alembic_on_the_command_line(engine, order):
    environment = {**os.environ, "STOCKBATCH_DATABASE_URL": database.for_clients(engine.url)}
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *order],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert engine.url.password not in done.stdout + done.stderr
