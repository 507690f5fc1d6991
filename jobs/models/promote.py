"""Put a model that somebody chose into use, or the one before back into use."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch.engine import learning
from stockbatch.market import sessions
from stockbatch.records import Instrument
from stockbatch.store import instruments as instrument_store
from stockbatch.store import promotions, runs


def promote(app: App, ticker: str, model_id: int, first: date | None = None) -> date:
    """Let a model serve the origins from `first` on, by default from the next run on; return it.

    The runs use it until one of them trains and promotes another. Raises UnknownInstrument,
    UnknownModel, UnsuitableModel, NotASession, RunInProgress.
    """
    with _alone_with(app, ticker) as (db, instrument):
        if first is None:
            first = _next_origin(app, db, instrument.calendar)
        sessions.load(instrument.calendar, app.clock().date()).require(first)
        promotions.promote(db, instrument, model_id, first, _now(app))
    return first


def roll_back(app: App, ticker: str) -> tuple[int, date]:
    """Let the model in use before serve from the next run on; return its id and first origin.

    Raises UnknownInstrument, NothingToRollBack, UnsuitableModel, RunInProgress.
    """
    with _alone_with(app, ticker) as (db, instrument):
        first = _next_origin(app, db, instrument.calendar)
        return promotions.roll_back(db, instrument, first, _now(app))


def _now(app: App) -> promotions.InUse:
    settings = app.settings
    return promotions.InUse(settings.model.network, learning.configuration(settings))


@contextmanager
def _alone_with(app: App, ticker: str) -> Iterator[tuple[Session, Instrument]]:
    """Open a transaction during which no run of the ticker's calendar is going on."""
    with app.transaction() as db:
        (instrument,) = instrument_store.find(db, [ticker])
    # A run that is going on has chosen its models already.
    with app.exclusive(instrument.calendar), app.transaction() as db:
        yield db, instrument


def _next_origin(app: App, db: Session, code: str) -> date:
    """Return the session after the last run's, or the last one closed where nothing ever ran."""
    calendar = sessions.load(code, app.clock().date())
    last = runs.last_session(db, code)
    return calendar.last_closed(app.clock()) if last is None else calendar.next(last)
