"""The rows that tests of the store begin with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import (
    MEDIAN,
    POINT_BASELINE,
    QUANTILE_BASELINE,
    Bars,
    Forecast,
    Instrument,
    Kind,
    Listing,
    ModelKind,
    Outcome,
    PriceBasis,
    Run,
    TrainedModel,
)
from stockbatch.store import bars, instruments, runs, ticker_metrics
from stockbatch.store import metrics as metric_store
from stockbatch.store.calendar import extend
from stockbatch.store.metrics import Row
from tests.support.market import CODE, ORIGIN, calendar, session

FUTURE, PAST = datetime(2100, 1, 1, tzinfo=UTC), datetime(2024, 6, 4, 13, 30, tzinfo=UTC)
QUANTILES = (-0.06, -0.04, -0.03, -0.02, -0.01, 0.001, 0.011, 0.021, 0.031, 0.041, 0.061)


def rows(db: Session, query: str, **parameters: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in db.execute(text(query), parameters).mappings()]


def listed(db: Session, *tickers: str, demo: bool = False) -> list[Instrument]:
    """Put tickers on the watchlist of an exchange whose sessions are known, and return them."""
    extend(db, calendar(), session(-300), session(120))
    listings = [Listing(ticker=ticker, symbol=ticker, currency="USD") for ticker in tickers]
    instruments.add(db, listings, provider="csv:/bars.csv", demo=demo)
    return instruments.find(db, tickers)


@contextmanager
def in_time(db: Session, until: datetime = FUTURE) -> Iterator[None]:
    """Let sessions long over take live forecasts until an instant, as only the owner can."""
    change = "UPDATE stockbatch.sessions SET deadline_at = "
    for statement in (
        "ALTER TABLE stockbatch.sessions DROP CONSTRAINT IF EXISTS sessions_instants_check",
        "ALTER TABLE stockbatch.sessions DISABLE TRIGGER keep_instants",
        f"{change} '{until}'",
    ):
        db.execute(text(statement))
    yield
    db.execute(text(f"{change} open_at"))


def revised_at_will(db: Session) -> None:
    """Let scores be of revisions that no bar has, as only the owner can."""
    db.execute(text("ALTER TABLE stockbatch.scores DISABLE TRIGGER judge_revision"))


def opened(db: Session, day: date = ORIGIN, *, reprocess: bool = False) -> Run:
    return runs.open_run(
        db,
        CODE,
        day,
        trigger="manual",
        reprocess=reprocess,
        code_version="1",
        engine_hash="hash",
    )


def bars_of(days: Sequence[date], close: Any, **columns: Any) -> Bars:
    """Return bars whose prices are the close where `columns` says nothing else."""
    close = np.array(close, dtype=np.float64)
    given = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    prices = dict.fromkeys(("open", "high", "low"), close)
    columns = {"close": close, "volume": np.full(len(close), 7.0), **prices, **given}
    return Bars(sessions=np.array(days, dtype="datetime64[D]"), **columns)


def store(db: Session, instrument: Instrument, of_one: Bars, **options: Any) -> int:
    options = {"provider": "csv", "price_basis": PriceBasis.AS_TRADED} | options
    return bars.add(db, {instrument.id: of_one}, **options)


def forecast_of(instrument: Instrument, **changes: Any) -> Forecast:
    """Return a forecast of the session after ORIGIN, which closed at 100."""
    values = {
        "instrument_id": instrument.id,
        "method": QUANTILE_BASELINE,
        "origin_session": ORIGIN,
        "target_session": session(1),
        "deadline_at": PAST,
        "origin_close": 100.0,
        "close": 100.0 * float(np.exp(QUANTILES[MEDIAN])),
        "log_return": QUANTILES[MEDIAN],
        "quantiles": QUANTILES,
        "probability_of_rise": 0.6,
        "fingerprint": "a",
    }
    return Forecast(**values | changes)


def naive_of(instrument: Instrument, **changes: Any) -> Forecast:
    silent = {"quantiles": None, "probability_of_rise": None, "log_return": 0.0, "close": 100.0}
    return forecast_of(instrument, method=POINT_BASELINE, **silent | changes)


def model_of(ticker: str | None, last: date = ORIGIN, **changes: Any) -> TrainedModel:
    """Return a ticker's model, or a base model for None."""
    values = {
        "kind": ModelKind.TICKER if ticker else ModelKind.BASE,
        "ticker": ticker,
        "first_session": session(-100),
        "last_session": last,
        "fingerprint": "data",
        "configuration": "settings",
        "parameters": {"units": 3},
        "seed": 1,
        "weights": {"dense.bias": np.arange(11, dtype=np.float32)},
        "best_epoch": 2,
        "training_loss": (0.3, 0.2, 0.1),
        "validation_loss": (0.4, 0.3, 0.35),
        "initial_loss": 0.5,
        "libraries": {"numpy": "2"},
    }
    return TrainedModel(**values | changes)


def outcome_of(instrument: Instrument, action: Any, reason: Any, message: str = "") -> Outcome:
    return Outcome(instrument_id=instrument.id, action=action, reason=reason, message=message)


def measured(
    db: Session,
    instrument: Instrument | None,
    through: date,
    metrics: Mapping[str, Sequence[float | None]],
    *,
    method: str = "lstm",
    kind: Kind = Kind.LATE,
    window: int = 20,
) -> None:
    """Store metrics, (n, value, baseline, skill) by name, of a ticker or of all of its calendar."""
    if instrument is None:
        made = [Row(method, kind, window, name, *told) for name, told in metrics.items()]
        metric_store.save(db, CODE, through, made)
        return
    columns = ticker_metrics.nothing(1)
    for name, told in metrics.items():
        numbers = [np.array([np.nan if number is None else number]) for number in told]
        places = (ticker_metrics.count_of(name), name, f"{name}_baseline", f"{name}_skill")
        columns |= {
            place: number for place, number in zip(places, numbers, strict=True) if place in columns
        }
    columns["n"] = np.array([max(one[0] or 0 for one in metrics.values())], float)
    table = {(method, kind, window): columns}
    ticker_metrics.save(db, CODE, through, [instrument], table)
