"""A market of any size, made up: bars in files, and a year of forecasts and scores by SQL.

Returns have a market in common and a volatility that comes in clusters (a GARCH of each ticker's
own, innovations of Student's t with five degrees of freedom), so that fits take as long as on real
ones.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, text

from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Floats

CODE = "XNYS"
FIRST = date(2024, 6, 3)
"""The session of the first run."""
BARS, AFTER, OVERLAP = 1260, 4, 10
"""Sessions up to the first run, after it, and in a file that is delivered at night."""
IN_A_FILE = 500
HISTORY = 250


def calendar() -> TradingCalendar:
    """Return the sessions of the market."""
    return sessions.load(CODE, date(2026, 1, 1))


class MadeUp:
    """Bars of tickers T00001, T00002, … up to AFTER sessions after FIRST."""

    def __init__(self, folder: Path, tickers: int) -> None:
        self.history, self.nightly = folder / "history", folder / "nightly.csv"
        self.history.mkdir(parents=True)
        self._tickers = np.array([f"T{number:05}" for number in range(1, tickers + 1)])
        last = calendar().window(calendar().next(FIRST, AFTER), BARS + AFTER)
        self._sessions = last.astype("datetime64[D]")
        rng = np.random.default_rng(tickers)
        common = 0.008 * rng.standard_t(5, BARS + AFTER)
        for start in range(0, tickers, IN_A_FILE):
            size = min(IN_A_FILE, tickers - start)
            self._write(start, _prices(rng, common, size))

    def _write(self, start: int, close: Floats) -> None:
        rng = np.random.default_rng(start)
        spread = np.abs(rng.normal(0, 0.006, (2, *close.shape)))
        opened = close * np.exp(rng.normal(0, 0.004, close.shape))
        top, bottom = np.maximum(opened, close), np.minimum(opened, close)
        names = self._tickers[start : start + len(close)]
        frame = pd.DataFrame(
            {
                "ticker": np.repeat(names, close.shape[1]),
                "date": np.tile(self._sessions.astype(str), len(close)),
                "open": opened.ravel().round(4),
                "high": (top * (1 + spread[0])).ravel().round(4),
                "low": (bottom * (1 - spread[1])).ravel().round(4),
                "close": close.ravel().round(4),
                "volume": rng.integers(100_000, 5_000_000, close.size),
            }
        )
        before = frame["date"] <= f"{FIRST}"
        frame[before].to_csv(self.history / f"bars-{start:05}.csv", index=False)
        newest = frame["date"].isin(self._sessions[-OVERLAP - AFTER :].astype(str))
        frame[newest].to_csv(self.history.parent / f"newest-{start:05}.csv", index=False)

    def deliver(self, session: date) -> None:
        """Write the file of a night: the newest bars up to a session, and some before."""
        parts = [pd.read_csv(file) for file in sorted(self.nightly.parent.glob("newest-*.csv"))]
        frame = pd.concat(parts)
        days = self._sessions[self._sessions <= np.datetime64(session)][-OVERLAP:].astype(str)
        frame[frame["date"].isin(days)].to_csv(self.nightly, index=False)


def _prices(rng: np.random.Generator, common: Floats, tickers: int) -> Floats:
    """Return closes, (tickers, sessions)."""
    alpha, beta = rng.uniform(0.03, 0.12, tickers), rng.uniform(0.8, 0.87, tickers)
    usual = rng.uniform(0.008, 0.03, tickers) ** 2
    variance, returns = usual.copy(), np.empty((tickers, len(common)))
    shocks = rng.standard_t(5, returns.shape) / np.sqrt(5 / 3)
    for step in range(len(common)):
        own = np.sqrt(variance) * shocks[:, step]
        returns[:, step] = own + common[step]
        variance = (1 - alpha - beta) * usual + alpha * own**2 + beta * variance
    price: Floats = rng.uniform(20, 300, (tickers, 1)) * np.exp(np.cumsum(returns, axis=1))
    return np.maximum(price, 1.0)


# What the first sessions left, once more for each of the sessions before them.
_SHIFTS = """
CREATE TEMP TABLE shifts AS
SELECT s.session AS origin, lead(s.session) OVER (ORDER BY s.session) AS target,
    row_number() OVER (ORDER BY s.session DESC) AS back
FROM stockbatch.sessions AS s WHERE s.calendar = 'XNYS' AND s.session <= :first
"""
_RUNS = """
INSERT INTO stockbatch.runs (calendar, session, attempt, trigger, status, owner, started_at,
    finished_at, instruments, reused, code_version, engine_hash)
SELECT 'XNYS', s.origin, 1, 'schedule', 'finished', gen_random_uuid(), r.started_at,
    r.finished_at, r.instruments, r.instruments, r.code_version, r.engine_hash
FROM shifts AS s CROSS JOIN stockbatch.runs AS r
WHERE r.session = :first AND s.back BETWEEN 2 AND :history + 1
"""
_OUTCOMES = """
INSERT INTO stockbatch.outcomes
    (instrument_id, session, run_id, action, reason, try_number, is_final)
SELECT i.id, r.session, r.id, 'reused', 'fresh', 1, true
FROM stockbatch.runs AS r CROSS JOIN stockbatch.instruments AS i WHERE r.session < :first
"""
_TOLD = """
INSERT INTO stockbatch.{table} ({{columns}})
SELECT {{values}} FROM shifts AS s
JOIN stockbatch.runs AS r ON r.session = s.origin
CROSS JOIN stockbatch.{table} AS f
WHERE f.origin_session = :first AND s.back BETWEEN 2 AND :history + 1
ORDER BY s.origin, f.{of}
"""
_FORECASTS = _TOLD.format(table="forecasts", of="instrument_id")
_RISK = _TOLD.format(table="risk_forecasts", of="subject_id")
_CONSTRAINTS = """
SELECT quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = cast(:of AS regclass) AND contype IN ('u', 'f', 'c')
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index AS i
WHERE indrelid = cast(:of AS regclass)
    AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)
"""
_SCORES = """
INSERT INTO stockbatch.scores ({columns})
SELECT {values} FROM stockbatch.forecasts AS n
JOIN stockbatch.forecasts AS f
    ON (f.instrument_id, f.method) = (n.instrument_id, n.method) AND f.origin_session = :first
JOIN stockbatch.scores AS c ON c.forecast_id = f.id AND c.revision = 1
WHERE n.origin_session < :first
"""
_RISK_SCORES = """
INSERT INTO stockbatch.risk_scores ({columns})
SELECT {values} FROM stockbatch.risk_forecasts AS n
JOIN stockbatch.risk_forecasts AS f ON f.subject_id = n.subject_id AND f.origin_session = :first
JOIN stockbatch.risk_scores AS c ON c.risk_forecast_id = f.id
WHERE n.origin_session < :first
"""
_MOVED = {"origin_session": "s.origin", "target_session": "s.target", "run_id": "r.id"}
_OF_NEW = {"target_session": "n.target_session", "run_id": "n.run_id"}
_FILLED = (
    ("forecasts", _FORECASTS, _MOVED, "f"),
    ("scores", _SCORES, {**_OF_NEW, "forecast_id": "n.id"}, "c"),
    ("risk_forecasts", _RISK, _MOVED, "f"),
    ("risk_scores", _RISK_SCORES, {**_OF_NEW, "risk_forecast_id": "n.id"}, "c"),
)
"""Tables, what fills them, columns unlike those of the first session, whose these are."""


@contextmanager
def _bare(connection: Connection, table: str) -> Iterator[None]:
    """Take indexes, constraints and triggers off a table, and put them back: rows are added faster.

    Not its primary key, which others refer to.
    """
    of = {"of": f"stockbatch.{table}"}
    constraints = connection.execute(text(_CONSTRAINTS), of).all()
    indexes = connection.execute(text(_INDEXES), of).all()
    connection.execute(text(f"ALTER TABLE stockbatch.{table} DISABLE TRIGGER USER"))
    for name, _ in constraints:
        connection.execute(text(f"ALTER TABLE stockbatch.{table} DROP CONSTRAINT {name}"))
    for name, _ in indexes:
        connection.execute(text(f"DROP INDEX {name}"))
    yield
    connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
    for name, definition in constraints:
        add = f"ALTER TABLE stockbatch.{table} ADD CONSTRAINT {name} {definition}"
        connection.exec_driver_sql(add)
    for _, definition in indexes:
        connection.exec_driver_sql(definition)
    connection.execute(text(f"ALTER TABLE stockbatch.{table} ENABLE TRIGGER USER"))


def add_history(engine: Engine) -> int:
    """Fill HISTORY sessions before FIRST, as the owner; return how many forecasts there are."""

    def columns(
        connection: Connection, table: str, but_for: dict[str, str], name: str
    ) -> dict[str, str]:
        query = "SELECT attname FROM pg_attribute WHERE attrelid = cast(:of AS regclass)"
        query += " AND attnum > 0 AND NOT attisdropped AND attname <> 'id'"
        found = connection.scalars(text(query), {"of": f"stockbatch.{table}"})
        return {column: but_for.get(column, f"{name}.{column}") for column in found}

    with engine.begin() as connection:
        about = {"first": FIRST, "history": HISTORY}
        queries = [_SHIFTS, _RUNS, _OUTCOMES]
        for table, query, but_for, name in _FILLED:
            own = columns(connection, table, but_for, name)
            queries.append(query.format(columns=", ".join(own), values=", ".join(own.values())))
        filled = [table for table, *_ in _FILLED]
        with ExitStack() as stack:
            for table in (*filled, "outcomes"):
                stack.enter_context(_bare(connection, table))
            for query in queries:
                known = {name: value for name, value in about.items() if f":{name}" in query}
                connection.execute(text(query), known)
                # Who joins millions of rows must know that they are: else each looks through all.
                connection.execute(text(f"ANALYZE {', '.join(f'stockbatch.{t}' for t in filled)}"))
        # None of it was noted: what was summed up before is not carried on.
        for table in ("sums", "ticker_metrics"):
            connection.execute(text(f"DELETE FROM stockbatch.{table}"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        return int(connection.scalar(text("SELECT count(*) FROM stockbatch.forecasts")) or 0)
