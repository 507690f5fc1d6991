"""How fast the `bi` views answer on a database of made-up rows, filled in SQL.

    python -m tests.benchmarks.views 500 [HOME]

fills five years of bars and 250 sessions of forecasts by six methods for so many tickers, in an
embedded database of its own, and prints the best time of each query as the reader sees it, rows
fetched; then the time of every view read whole, once, all rows taken over by the driver. With HOME
the database is kept there, and found filled by the next call.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.market import sessions
from stockbatch.store import bi
from stockbatch.store.bulk import cursor_of
from stockbatch.store.calendar import extend
from stockbatch.store.ticker_metrics import COUNTS, NUMBERS

BARS, FORECASTS = 1260, 250
"""Sessions of each."""
LAST = date(2024, 6, 3)
REPEATS = 8

FILL = (
    # the wave of prices; tickers differ by phase
    """
    INSERT INTO stockbatch.instruments
        (ticker, symbol, provider, calendar, name, currency, asset_class)
    SELECT to_char(n, 'FM"T"00000'), n, 'csv:bars.csv', 'XNYS', 'Company ' || n, 'USD', 'equity'
    FROM generate_series(1, :tickers) AS n
    """,
    """
    INSERT INTO stockbatch.sources (specification) VALUES ('csv:bars.csv')
    """,
    """
    INSERT INTO stockbatch.bars
        (instrument_id, session, open, high, low, close, volume, price_basis, state, source_id)
    SELECT i.id, s.session, p.close, p.close * 1.01, p.close * 0.99, p.close, 1e6,
        'as_traded', 'final', source.id
    FROM numbered AS s CROSS JOIN stockbatch.instruments AS i
    CROSS JOIN stockbatch.sources AS source
    CROSS JOIN LATERAL (SELECT 100 * exp(0.2 * sin(i.id + s.number / 50.0)) AS close) AS p
    ORDER BY s.session, i.id
    """,
    """
    INSERT INTO stockbatch.corporate_actions (instrument_id, session, kind, value, source_id)
    SELECT i.id, s.session, CASE WHEN s.number = 100 THEN 'split' ELSE 'dividend' END, 2, source.id
    FROM numbered AS s CROSS JOIN stockbatch.instruments AS i
    CROSS JOIN stockbatch.sources AS source
    WHERE s.number % 63 = 0 OR (s.number = 100 AND i.id % 5 = 0)
    """,
    """
    INSERT INTO stockbatch.runs (calendar, session, attempt, trigger, status, owner, started_at,
        finished_at, instruments, reused, code_version, engine_hash)
    SELECT 'XNYS', session, 1, 'schedule', 'finished', gen_random_uuid(), close_at,
        close_at + interval '1 min', :tickers, :tickers, '1', 'hash'
    FROM numbered WHERE number < :forecasts
    """,
    """
    INSERT INTO stockbatch.outcomes
        (instrument_id, session, run_id, action, reason)
    SELECT i.id, r.session, r.id, 'reused', 'fresh'
    FROM stockbatch.runs AS r CROSS JOIN stockbatch.instruments AS i
    """,
    """
    INSERT INTO stockbatch.methods (name, title, sentence) VALUES ('combined', 'Combined', '')
    ON CONFLICT DO NOTHING
    """,
    "ALTER TABLE stockbatch.forecasts DISABLE TRIGGER judge_kind",  # all are backtests
    """
    INSERT INTO stockbatch.forecasts (instrument_id, origin_session, target_session, horizon,
        method, kind, fingerprint, origin_close, close, log_return,
        q025, q05, q10, q25, q50, q75, q90, q95, q975, probability_of_rise, volatility,
        issued_at, deadline_at, probability_of_fall, probability_of_move_2,
        probability_of_move_5, usual_move, reasons)
    SELECT i.id, s.previous, s.session, 1, method, 'backtest', md5(method || i.id || s.session),
        100, 100, 0, -0.04, -0.03, -0.02, -0.01, 0, 0.01, 0.02, 0.03, 0.04, 0.5, 0.02,
        s.open_at, s.open_at, 0.5, 0.2, 0.01, 0.02 + 0.00001 * i.id,
        CASE WHEN method = 'combined' THEN jsonb_build_object(
            'own_moves', 0.1234567890123, 'level', -0.01234567890123,
            'market_moves', 0.2345678901234, 'direction', -0.03456789012345,
            'turnover', 0.01234567890123, 'reports', -0.02345678901234,
            'lstm', -0.08901234567890, 'calibration', 0.04567890123456,
            'last_year', -0.1123456789012)
        END
    FROM numbered AS s CROSS JOIN stockbatch.instruments AS i
    CROSS JOIN unnest(ARRAY['combined', 'lstm', 'naive', 'rolling_quantile', 'ewma', 'garch'])
        AS method
    WHERE s.number <= :forecasts
    ORDER BY s.session, i.id
    """,
    "ALTER TABLE stockbatch.forecasts ENABLE TRIGGER judge_kind",
    """
    INSERT INTO stockbatch.scores (forecast_id, revision, status, actual_close, actual_log_return,
        error, absolute_error, squared_error, percentage_error, log_return_error, pinball,
        direction_hit, inside_50, inside_80, inside_90, inside_95)
    SELECT id, 1, 'scored', 101, 0.01, 1, 1, 1, 1, 0.01, 0.004, true, true, true, true, true
    FROM stockbatch.forecasts WHERE target_session < (SELECT max(session) FROM numbered)
    """,
    """
    INSERT INTO stockbatch.metrics (calendar, method, kind, window_sessions, through_session,
        metric, n, value, baseline, skill)
    SELECT 'XNYS', method, 'backtest', size, session, metric, size, 0.9, 1, 0.1
    FROM stockbatch.runs
    CROSS JOIN unnest(ARRAY['combined', 'lstm', 'naive', 'rolling_quantile', 'ewma', 'garch'])
        AS method
    CROSS JOIN unnest(ARRAY[20, 60, 250]) AS size
    CROSS JOIN unnest(ARRAY['mae', 'rmse', 'bias', 'mape', 'smape', 'mase', 'mae_return',
        'rmse_return', 'bias_return', 'directional_accuracy', 'pinball', 'coverage_50',
        'coverage_80', 'coverage_90', 'coverage_95', 'width_80', 'width_95', 'winkler_80',
        'winkler_95', 'skill_vs_ewma', 'skill_vs_rolling_quantile']) AS metric
    """,
    f"""
    INSERT INTO stockbatch.ticker_metrics (instrument_id, calendar, method, kind, window_sessions,
        through_session, {", ".join((*COUNTS, *NUMBERS))})
    SELECT i.id, 'XNYS', method, 'backtest', size, (SELECT max(session) FROM stockbatch.runs),
        {", ".join("size" for _ in COUNTS)}, {", ".join("0.9" for _ in NUMBERS)}
    FROM stockbatch.instruments AS i
    CROSS JOIN unnest(ARRAY['combined', 'lstm', 'naive', 'rolling_quantile', 'ewma', 'garch'])
        AS method
    CROSS JOIN unnest(ARRAY[20, 60, 250]) AS size
    """,
    """
    INSERT INTO stockbatch.models (method, kind, calendar, demo, instrument_id, first_session,
        last_session, fingerprint, configuration, parameters, libraries, seed, weights_sha256,
        reason, tickers, best_epoch, verdict)
    SELECT 'lstm', 'ticker', 'XNYS', false, i.id, r.session - 900, r.session, 'data', 'settings',
        '{}', '{}', 1, 'hash', 'expired', 1, 20, 'promoted'
    FROM stockbatch.runs AS r CROSS JOIN stockbatch.instruments AS i WHERE r.id % 20 = 0
    """,
    """
    INSERT INTO stockbatch.training_curves (model_id, training_loss, validation_loss)
    SELECT id, array_fill(0.3, ARRAY[25]), array_fill(0.4, ARRAY[25]) FROM stockbatch.models
    """,
    """
    INSERT INTO stockbatch.data_issues
        (instrument_id, session, check_name, severity, message, observed, threshold)
    SELECT i.id, s.session, 'jump', 'warning', 'return of 30 %', 0.3, 0.25
    FROM numbered AS s CROSS JOIN stockbatch.instruments AS i WHERE s.number % 200 = 1
    """,
    "VACUUM ANALYZE",
)
NUMBERED = """
CREATE TEMP TABLE numbered AS
SELECT *, row_number() OVER (ORDER BY session DESC)::int AS number,
    lag(session) OVER (ORDER BY session) AS previous
FROM stockbatch.sessions WHERE session <= :last
ORDER BY session DESC LIMIT :bars
"""

ONE, ALL = "one ticker", "all tickers, latest session"
FACTS = ("forecast_history", "price_and_forecast", "outcomes", "data_issues")


def queries() -> Iterator[tuple[str, str]]:
    """Yield what is measured and its SQL."""
    one, latest = "ticker = 'T00005'", "session = '2024-06-03'"
    for view in FACTS:
        yield f"{view}: {ONE}", f"SELECT * FROM bi.{view} WHERE {one}"
        yield f"{view}: {ALL}", f"SELECT * FROM bi.{view} WHERE {latest}"
        range_ = f"{one} AND session > '2023-08-15' ORDER BY session"
        yield f"{view}: one ticker, 200 sessions", f"SELECT * FROM bi.{view} WHERE {range_}"
    month = "session > '2024-05-01'"
    for view in ("forecast_history", "price_and_forecast"):
        newest = f"SELECT max(updated_at) FROM bi.{view} WHERE {month}"
        yield f"{view}: last change of a month, all tickers", newest
    for view in ("next_session_forecast", "data_freshness", "training_history"):
        yield f"{view}: {ONE}", f"SELECT * FROM bi.{view} WHERE {one}"
    for view in ("next_session_forecast", "data_freshness"):
        yield f"{view}: {ALL}", f"SELECT * FROM bi.{view}"
    for view in ("accuracy", "interval_coverage"):
        yield f"{view}: {ONE}", f"SELECT * FROM bi.{view} WHERE {one}"
        key = "method = 'lstm' AND window_sessions = 250"
        key += " AND metric = 'pinball'" if view == "accuracy" else " AND interval_pct = 80"
        of_all = f"SELECT * FROM bi.{view} WHERE scope = 'ticker' AND {key}"
        yield f"{view}: all tickers, one metric", of_all
        range_ = f"scope = 'calendar' AND {key} AND session > '2023-08-15'"
        yield f"{view}: exchange, 200 sessions", f"SELECT * FROM bi.{view} WHERE {range_}"
    yield "leaderboard: latest session", f"SELECT * FROM bi.leaderboard WHERE {latest}"
    range_ = "session > '2023-08-15' AND window_sessions = 250"
    yield "leaderboard: 200 sessions", f"SELECT * FROM bi.leaderboard WHERE {range_}"
    yield "run_history: all", "SELECT * FROM bi.run_history"
    yield "sessions: all", "SELECT * FROM bi.sessions"
    yield "instruments: all", "SELECT * FROM bi.instruments"


def fill(engine: Engine, tickers: int) -> None:
    """Fill a migrated, empty database."""
    calendar = sessions.load("XNYS", LAST)
    values = {"tickers": tickers, "last": LAST, "bars": BARS, "forecasts": FORECASTS}
    with Session(engine) as db, db.begin():
        extend(db, calendar, calendar.window(LAST, BARS + 1)[0].item(), calendar.next(LAST, 20))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in (NUMBERED, *FILL):
            started = time.perf_counter()
            known = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), known)
            print(f"{time.perf_counter() - started:7.1f} s  {statement.split()[:3]}", flush=True)


def measure(engine: Engine, query: str) -> tuple[float, int]:
    """Return the best seconds of a query, rows fetched, and the number of rows."""
    took, count = [], 0
    with engine.connect() as connection:
        for _ in range(REPEATS):
            started = time.perf_counter()
            count = len(connection.execute(text(query)).all())
            took.append(time.perf_counter() - started)
    return min(took), count


def read_whole(engine: Engine) -> Iterator[tuple[str, float, int]]:
    """Yield every view with the seconds it takes to read all of it, and its rows."""
    with Session(engine) as db:
        db.execute(text("SET statement_timeout = 0"))  # as somebody who exports would
        views = dict.fromkeys(column.view for column in bi.dictionary.columns(db))
        for view in views:
            with cursor_of(db) as cursor:
                started = time.perf_counter()
                cursor.execute(f"SELECT * FROM bi.{view}".encode())
                yield view, time.perf_counter() - started, cursor.rowcount


@contextmanager
def filled(usage: str | None) -> Iterator[tuple[Settings, Engine]]:
    """Yield settings and the owner's engine of a database as the command line asks for it."""
    if not 2 <= len(sys.argv) <= 3 or not sys.argv[1].isdigit():
        print(usage, file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as own:
        home = Path(sys.argv[2] if len(sys.argv) == 3 else own)
        settings = Settings(home=home)
        try:
            embedded_server.start(home)
            database.migrate(settings)
            owner = database.engine(settings, role="owner")
            with owner.connect() as connection:
                empty = connection.scalar(text("SELECT count(*) FROM stockbatch.instruments")) == 0
            if empty:
                fill(owner, int(sys.argv[1]))
            yield settings, owner
            owner.dispose()
        finally:
            embedded_server.stop(home)


def main() -> None:
    with filled(__doc__) as (settings, _):
        reader = database.engine(settings, role="reader")
        for name, query in queries():
            seconds, count = measure(reader, query)
            print(f"{1000 * seconds:9.1f} ms  {count:7} rows  {name}", flush=True)
        for view, seconds, count in read_whole(reader):
            print(f"{seconds:9.1f} s   {count:7} rows  {view}, whole", flush=True)
        reader.dispose()


if __name__ == "__main__":
    main()
