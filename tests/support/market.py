"""A small market: made-up bars of a few tickers on real XNYS sessions, as a CSV provider reads.

The same seed makes the same bars, so that two markets differ only in what a test changed.
"""

import csv
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import exchange_calendars
import numpy as np
import pandas as pd
from sqlalchemy import Engine, text

from jobs.app import App
from jobs.daily.run import Summary, run_session
from stockbatch.config import ModelSettings, Settings
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Action, Reason
from stockbatch.store import instruments
from tests.support.plain import PlainTrainer as PlainTrainer

CODE = "XNYS"
ORIGIN = date(2024, 6, 3)
"""The session most tests begin with."""
BEFORE, AFTER = 150, 30
"""Sessions of bars before and after it."""
TICKERS = ("AAA", "BBB", "CCC")
NOW = datetime(2024, 12, 2, tzinfo=UTC)
COLUMNS = ("open", "high", "low", "close", "volume", "dividend_amount", "split_coefficient")

MODEL = ModelSettings(
    units=3,
    lookback=5,
    scored_steps=20,
    epochs=3,
    patience=2,
    history_sessions=100,
    stopping_sessions=15,
    comparison_sessions=10,
    minimum_history=60,
    base_epochs=3,
    base_batch=16,
)
RETRAIN_AFTER = 5


@cache
def calendar() -> TradingCalendar:
    return sessions.load(CODE, NOW.date())


@contextmanager
def announced_until(day: date) -> Iterator[None]:
    """Let nobody have announced a holiday of the exchange after a session."""
    kind = type(exchange_calendars.get_calendar(CODE))
    with ExitStack() as stack:
        for cached in (sessions.load, sessions._build):
            stack.callback(cached.cache_clear)
            cached.cache_clear()
        bound = classmethod(lambda cls: pd.Timestamp(day))
        stack.enter_context(patch.object(kind, "bound_max", bound))
        yield


def session(offset: int = 0) -> date:
    """Return the session `offset` sessions after ORIGIN."""
    return calendar().next(ORIGIN, offset) if offset > 0 else calendar().previous(ORIGIN, -offset)


class Market:
    """Bars as traded, with splits and dividends, of which a test may change any."""

    def __init__(self, file: Path, tickers: Iterable[str] = TICKERS) -> None:
        self.file = file
        self.bars: dict[str, dict[date, dict[str, float]]] = {}
        for ticker in tickers:
            self.list(ticker)

    @property
    def specification(self) -> str:
        return f"csv:{self.file}"

    def list(self, ticker: str, sessions: int = BEFORE) -> None:
        """Add a ticker that has been traded for so many sessions before ORIGIN."""
        rng = np.random.default_rng(zlib.crc32(ticker.encode()))
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, BEFORE + 1 + AFTER)))
        days = calendar().window(session(AFTER), len(close)).tolist()
        opened = close * np.exp(rng.normal(0, 0.005, len(close)))
        high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.005, len(close))))
        low = np.minimum(opened, close) / np.exp(np.abs(rng.normal(0, 0.005, len(close))))
        volume = rng.integers(100, 10_000, len(close))
        rows = zip(opened, high, low, close, volume, strict=True)
        self.bars[ticker] = {
            day: dict(zip(COLUMNS, (*map(float, row), 0.0, 1.0), strict=True))
            for day, row in list(zip(days, rows, strict=True))[BEFORE - sessions :]
        }
        self.write()

    def multiply(self, ticker: str, factor: float, day: date, last: date | None = None) -> None:
        """Multiply the prices from `day` until `last`, by default of that day alone."""
        for of_day, bar in self.bars[ticker].items():
            if day <= of_day <= (last or day):
                for price in COLUMNS[:4]:
                    bar[price] *= factor
        self.write()

    def split(self, ticker: str, ratio: float, day: date) -> None:
        """Let `ratio` new shares stand for an old one from `day` on."""
        self.bars[ticker][day]["split_coefficient"] = ratio
        self.multiply(ticker, 1 / ratio, day, date.max)

    def dividend(self, ticker: str, amount: float, day: date) -> None:
        """Pay `amount` per share on `day`: prices fall by it, the total return stays."""
        close = self.bars[ticker][day]["close"]
        self.bars[ticker][day]["dividend_amount"] = amount
        self.multiply(ticker, 1 - amount / close, day, date.max)

    def drop(self, ticker: str, *days: date) -> None:
        """Take bars away."""
        for day in days:
            del self.bars[ticker][day]
        self.write()

    def write(self) -> None:
        with self.file.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("symbol", "timestamp", *COLUMNS))
            for ticker, bars in self.bars.items():
                for day, bar in bars.items():
                    writer.writerow((ticker, day, *map(repr, bar.values())))


def watch(app: App, market: Market, tickers: Iterable[str] | None = None) -> None:
    """Put tickers of the market, by default all, on the watchlist."""
    source = app.provider(market.specification)
    listings = [source.listing(t) for t in tickers] if tickers else source.listings()
    with app.transaction() as db:
        instruments.add(db, listings, provider=source.specification)


def small(settings: Settings, **changes: Any) -> Settings:
    """Return the settings with a network that trains in a fraction of a second."""
    defaults = {"model": MODEL, "retrain_after_sessions": RETRAIN_AFTER, "chunk_tickers": 9}
    return settings.model_copy(update=defaults | changes)


def in_chunks(app: App, tickers: int = 2) -> App:
    """Let an App train and commit so few tickers at a time; by default all go together."""
    app.settings = app.settings.model_copy(update={"chunk_tickers": tickers})
    return app


def run(app: App, day: date = ORIGIN, **options: Any) -> Summary:
    return run_session(app, CODE, day, **options)


def outcomes(engine: Engine, day: date = ORIGIN) -> dict[str, tuple[Action, Reason]]:
    """Return action and reason of the final outcomes of a session by ticker."""
    rows = fetch(
        engine,
        "SELECT ticker, action, reason FROM stockbatch.outcomes JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE is_final AND session = :day",
        day=day,
    )
    return {row["ticker"]: (Action(row["action"]), Reason(row["reason"])) for row in rows}


METRICS = """
SELECT coalesce(ticker, 'ALL') AS ticker, calendar, method, kind, window_sessions, metric,
    session AS through_session, n, value, baseline, skill_pct / 100 AS skill
FROM bi.accuracy
"""
"""A row per metric: of tickers those of now, of a calendar (ALL) one per session."""


def fetch(engine: Engine, query: str, **parameters: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query), parameters).mappings()]


Tables = dict[str, list[dict[str, Any]]]


def dump(engine: Engine, *aside: str) -> Tables:
    """Return every row of every table of the schema, sorted, but for columns put `aside`."""
    return {
        name: sorted(({c: row[c] for c in row if c not in aside} for row in rows), key=repr)
        for name, rows in _tables(engine).items()
    }


def _tables(engine: Engine) -> Tables:
    names = fetch(
        engine, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'stockbatch'"
    )
    queries = {
        name: f"SELECT * FROM stockbatch.{name}"
        for name in (row["table_name"] for row in names)
        if name not in ("alembic_version", "leases")
    }
    # Thousands, of which each is told by its calendar alone: a text of them all is compared faster.
    queries["sessions"] = """
        SELECT calendar, string_agg(s::text, ' ' ORDER BY session) AS sessions
        FROM stockbatch.sessions AS s GROUP BY calendar"""
    # Of a forecast that waits there may be several notes, as of one of which the bar has come.
    queries["unscored"] = "SELECT DISTINCT forecast_id FROM stockbatch.unscored"
    with engine.connect() as connection:
        found = {name: connection.exec_driver_sql(query) for name, query in queries.items()}
        return {name: [dict(row) for row in rows.mappings()] for name, rows in found.items()}


Facts = dict[str, dict[tuple[Any, ...], tuple[float, ...]]]


def facts(engine: Engine, *without: str) -> Facts:
    """Return what two equal histories share: numbers by all the rest, ids and instants aside.

    Tables `without` which they are equal are left out, and so is when chores were done. So are the
    sums kept for the next night: those who add them up differ in the last bit. And what is kept of
    the ledger, which is as of when it was last asked for.
    """
    left_out = {"chores", "sums", "stated", *without}
    tables = {name: rows for name, rows in _tables(engine).items() if name not in left_out}
    tickers = {row["id"]: row["ticker"] for row in tables["instruments"]}
    named = ("instrument_id", "last_session", "configuration", "fingerprint")
    models = {row["id"]: tuple(row[name] for name in named) for row in tables["models"]}
    named = ("instrument_id", "target_session", "method", "kind", "fingerprint")
    forecasts = {row["id"]: tuple(row[name] for name in named) for row in tables["forecasts"]}
    named = ("kind", "name", "calendar")
    subjects = {
        row["id"]: (*(row[name] for name in named), tickers.get(row["instrument_id"]))
        for row in tables["risk_subjects"]
    }
    named = ("subject_id", "target_session", "kind", "fingerprint")
    risk = {row["id"]: tuple(row[name] for name in named) for row in tables["risk_forecasts"]}
    meanings: dict[str, dict[Any, Any]] = {
        "instrument_id": tickers,
        "model_id": models,
        "parent_id": models,
        "forecast_id": forecasts,
        "subject_id": subjects,
        "risk_forecast_id": risk,
    }
    aside = {"id", "run_id", "owner", "seconds", "tries"}
    result: Facts = {}
    for name, rows in tables.items():
        result[name] = {}
        for row in rows:
            kept = {
                column: meanings[column].get(value) if column in meanings else value
                for column, value in row.items()
                if column not in aside and not isinstance(value, datetime)
            }
            key = tuple(
                (c, str(v)) for c, v in kept.items() if c == "level" or not isinstance(v, float)
            )
            assert key not in result[name]
            result[name][key] = tuple(v for v in kept.values() if isinstance(v, float))
    return result


def end_leases(engine: Engine) -> None:
    """Let every lease be over, as half a minute does after its holder was killed."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM stockbatch.leases"))


def assert_same(found: Facts, expected: Facts) -> None:
    """Compare keys, kinds and reasons exactly, numbers to 1e-6."""
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        in_one_only = rows.keys() ^ found[name].keys()
        assert not in_one_only, f"{name}: {in_one_only}"
        # One comparison for all rows: one for each takes longer than the job that made them.
        numbers = (np.array([n for key in rows for n in one[key]]) for one in (found[name], rows))
        near = np.isclose(*numbers, rtol=1e-6, atol=1e-9, equal_nan=True)
        each = (key for key, row in rows.items() for _ in row)
        far = {key for key, is_near in zip(each, near, strict=True) if not is_near}
        assert not far, f"{name}: " + "; ".join(f"{k}: {found[name][k]} != {rows[k]}" for k in far)
