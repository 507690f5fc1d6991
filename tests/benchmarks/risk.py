"""How long a night takes to tell the risk of many tickers, on a database of made-up rows.

    python -m tests.benchmarks.risk 10000

fills five years of bars, a thousand sessions of widths and a year of what was told of risk for so
many tickers in SQL, and prints the seconds of scoring, summing up and telling of one more session.
"""

import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Engine, text

from jobs.app import App
from jobs.daily import risk, risk_scores
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.market import sessions
from stockbatch.records import Trigger
from stockbatch.store import runs, stated
from stockbatch.store.calendar import extend

BARS, WIDTHS, TOLD = 1260, 1000, 250
"""Sessions of each."""
LAST = date(2024, 6, 3)
NUMBERED = "CREATE TEMPORARY VIEW numbered AS SELECT session, row_number() OVER (ORDER BY session"
NUMBERED += f" DESC) AS number FROM stockbatch.sessions WHERE session <= '{LAST}'"

FILL = (
    """
    INSERT INTO stockbatch.instruments
        (ticker, symbol, provider, calendar, currency, asset_class, sector)
    SELECT to_char(n, 'FM"T"00000'), n, 'csv:bars.csv', 'XNYS', 'USD', 'equity', 'S' || n % 11
    FROM generate_series(1, :tickers) AS n
    """,
    "INSERT INTO stockbatch.sources (specification) VALUES ('csv:bars.csv')",
    """
    INSERT INTO stockbatch.bars
        (instrument_id, session, open, high, low, close, price_basis, state, source_id)
    SELECT i.id, s.session, p.close, p.close, p.close, p.close, 'as_traded', 'final', source.id
    FROM numbered AS s CROSS JOIN stockbatch.instruments AS i
    CROSS JOIN stockbatch.sources AS source
    CROSS JOIN LATERAL (SELECT 100 * exp(0.05 * sin(i.id * s.number)) AS close) AS p
    WHERE s.number <= :bars ORDER BY s.session, i.id
    """,
    """
    INSERT INTO stockbatch.methods (name, title, sentence)
    SELECT name, name, '' FROM unnest(ARRAY['combined', 'naive', 'ewma']) AS name
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO stockbatch.forecasts (instrument_id, origin_session, target_session, method, kind,
        fingerprint, origin_close, close, log_return, horizon, issued_at, q01, q025, q05, q10, q25,
        q50, q75, q90, q95, q975, q99)
    SELECT i.id, o.session, t.session, m, 'live', 'x', 100, 100, 0, 1, now(),
        -0.08, -0.06, -0.05, -0.04, -0.02, 0, 0.02, 0.04, 0.05, 0.06, 0.08
    FROM stockbatch.instruments AS i CROSS JOIN unnest(ARRAY['combined', 'naive']) AS m
    CROSS JOIN (VALUES (2, CAST(:last AS date)), (1, CAST(:target AS date))) AS t (number, session)
    JOIN numbered AS o ON o.number = t.number
    """,
    """
    INSERT INTO stockbatch.scores
        (forecast_id, revision, status, actual_close, actual_log_return, error, absolute_error,
        squared_error, percentage_error, log_return_error)
    SELECT id, 1, 'scored', 101, 0.01, 1, 1, 1, 1, 0.01
    FROM stockbatch.forecasts WHERE target_session = :last
    """,
    """
    INSERT INTO stockbatch.stated
    SELECT 'XNYS', 'combined', 'half_width', s.session, (i.id - 1) / :part, array_agg(i.id),
        array_agg(ARRAY[0.04::float8]), 0
    FROM numbered AS s CROSS JOIN stockbatch.instruments AS i
    WHERE s.number BETWEEN 2 AND :widths GROUP BY s.session, (i.id - 1) / :part
    """,
    """
    INSERT INTO stockbatch.risk_subjects (kind, calendar, instrument_id)
    SELECT 'ticker', calendar, id FROM stockbatch.instruments
    """,
    """
    INSERT INTO stockbatch.risk_forecasts (subject_id, origin_session, target_session, kind,
        fingerprint, method, simulations, quantiles, shortfalls, unscaled_quantiles, issued_at)
    SELECT u.id, s.session - 4, s.session, 'live', md5(u.id::text) || md5(s.session::text),
        'combined', 1000, q, '{-0.09,-0.07,-0.06}', q, now()
    FROM numbered AS s CROSS JOIN stockbatch.risk_subjects AS u
    CROSS JOIN (SELECT '{-0.08,-0.06,-0.05,-0.04,-0.02,0,0.02,0.04,0.05,0.06,0.08}'::float8[] AS q)
    WHERE s.number <= :told ORDER BY s.session, u.id
    """,
    """
    INSERT INTO stockbatch.risk_scores (risk_forecast_id, subject_id, target_session, kind, status,
        actual_return, pinball, unscaled_pinball, inside_80, inside_95, breach_01, breach_025,
        breach_05, ratio_01, ratio_025, ratio_05)
    SELECT id, subject_id, target_session, kind, 'scored', 0.01, 0.01, 0.01, true, true,
        false, false, (id % 20) = 0, 0, 0, (id % 20 = 0)::int
    FROM stockbatch.risk_forecasts WHERE target_session < :last
    """,
)


def main() -> None:
    tickers = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="sb") as folder:
        settings = Settings(home=Path(folder))
        database.migrate(settings)
        try:
            owner = database.engine(settings, role="owner")
            began = time.perf_counter()
            _fill(owner, tickers)
            print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
            _measure(settings)
            _sizes(owner)
        finally:
            embedded_server.stop(Path(folder))


def _fill(owner: Engine, tickers: int) -> None:
    calendar = sessions.load("XNYS", LAST)
    given = {"tickers": tickers, "bars": BARS, "widths": WIDTHS, "told": TOLD, "last": LAST}
    given["part"] = stated.PART[stated.Measure.HALF_WIDTH]
    given["target"] = calendar.next(LAST)
    with owner.begin() as connection:
        from sqlalchemy.orm import Session

        extend(Session(connection), calendar, date(2019, 1, 2), calendar.next(LAST, 20))
        connection.execute(text(NUMBERED))
        for statement in FILL:
            connection.execute(text(statement), given)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _measure(settings: Settings) -> None:
    engine = database.engine(settings, role="writer")
    app = App(
        settings=settings,
        engine=engine,
        trainer=cast(Any, None),
        clock=lambda: datetime(2024, 6, 4, tzinfo=UTC),
    )
    calendar = sessions.load("XNYS", LAST)
    with app.transaction() as db:
        run = runs.open_run(
            db,
            "XNYS",
            LAST,
            trigger=Trigger.MANUAL,
            reprocess=False,
            code_version="1",
            engine_hash="x",
        )
    for step in (risk_scores.score_risk, risk_scores.sum_up_risk, risk.tell_risk):
        began = time.perf_counter()
        done = step(app, run, calendar)
        print(f"{step.__name__}: {time.perf_counter() - began:.1f} s ({done})", flush=True)
    engine.dispose()


def _sizes(owner: Engine) -> None:
    with owner.connect() as connection:
        for table in ("risk_forecasts", "risk_scores", "stated"):
            size = f"SELECT pg_total_relation_size('stockbatch.{table}') / 2^20"
            print(f"{table}: {connection.scalar(text(size)):.0f} MiB")


if __name__ == "__main__":
    main()
