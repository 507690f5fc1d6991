"""Let the intervals of all tickers of a calendar teach the next ones, before any chunk is made.

What they teach is learned once for a session, from all active tickers whatever subset is at work,
and stored: every chunk, retry and replay of the session reads the same.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np
from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.methods import crowd, registry
from stockbatch.methods.base import PAST
from stockbatch.records import QUANTILES, Crowd, Floats, Instrument, Run, Sessions
from stockbatch.store import crowds, forecasts, runs
from stockbatch.store import instruments as instrument_store

ENOUGH = 0.5
"""Share of a session's forecasts whose return must be known for the session to teach anything."""


def learn_from_scores(
    app: App, run: Run, calendar: TradingCalendar, *, demo: bool
) -> dict[str, Crowd | None]:
    """Return by method what is known after the run's session, learned from what was scored."""
    names = registry.calibrated(app.settings.model.network)
    return {name: _after(app, run, calendar, name, demo=demo) for name in names}


def known_after(
    db: Session, run: Run, calendar: TradingCalendar, network: str, *, demo: bool
) -> dict[str, Crowd | None]:
    """Return by method what `learn_from_scores` has learned, for another process of the run."""
    names = registry.calibrated(network)
    return {name: _learned(db, calendar, name, run.session, demo=demo)[-1] for name in names}


def _after(
    app: App, run: Run, calendar: TradingCalendar, method: str, *, demo: bool
) -> Crowd | None:
    with app.transaction() as db:
        *before, last = _learned(db, calendar, method, run.session, demo=demo)
    # The session itself has taught something.
    if before and last is not None and last is not before[-1]:
        with app.transaction() as db:
            runs.lock(db, run)
            crowds.add(db, calendar.code, method, {run.session: last}, demo=demo)
    return last


def _learned(
    db: Session, calendar: TradingCalendar, method: str, session: date, *, demo: bool
) -> list[Crowd | None]:
    """Return what is stored, and what is known after each session since then up to `session`."""
    since, known = _newest(db, calendar, method, session, demo=demo)
    if since > session:
        return [known]
    tickers = _active(db, calendar, demo=demo)
    lesson = _scored(db, tickers, method, calendar.between(since, session))
    return [known, *crowd.learn_by_session(known, *lesson)]


def learn_on_the_way(
    app: App,
    calendar: TradingCalendar,
    tickers: Sequence[Instrument],
    origins: Sessions,
    stated: Mapping[str, Floats],
    actual: Floats,
    *,
    demo: bool,
) -> dict[str, list[Crowd | None]]:
    """Return by method what is known after each of the sessions that a backtest forecasts from.

    `stated` are the uncalibrated quantiles from these origins, (tickers, origins, 11), by method,
    `actual` the returns of the same sessions, (tickers, origins). Too few tickers are no crowd:
    then only what is stored is known.
    """
    return {
        name: _on_the_way(app, calendar, name, tickers, origins, stated[name], actual, demo=demo)
        for name in registry.calibrated(app.settings.model.network)
    }


def _on_the_way(
    app: App,
    calendar: TradingCalendar,
    method: str,
    tickers: Sequence[Instrument],
    origins: Sessions,
    stated: Floats,
    actual: Floats,
    *,
    demo: bool,
) -> list[Crowd | None]:
    days = [as_date(origin) for origin in origins]
    yesterday = days[0] - timedelta(days=1)
    with app.transaction() as db:
        stored = crowds.between(db, calendar.code, method, days[0], days[-1], demo=demo)
        few = len(tickers) < ENOUGH * len(_active(db, calendar, demo=demo))
        if few or all(day in stored for day in days):
            return [stored.get(day) for day in days]
        since, known = _newest(db, calendar, method, yesterday, demo=demo)
        lesson = _scored(db, tickers, method, calendar.between(since, yesterday))
        # What was forecast for the first origin was so by the block before.
        before = forecasts.past_quantiles(db, tickers, origins[:1], method)
    *_, known = known, *crowd.learn_by_session(known, *lesson)
    quantiles = np.concatenate([before, stated[:, :-1]], axis=1)
    actual = _taught(quantiles, actual)
    after: list[Crowd | None] = []
    for column, day in enumerate(days):
        known = stored.get(day) or crowd.learn(known, quantiles[:, column], actual[:, column])
        after.append(known)
    new = {day: one for day, one in zip(days, after, strict=True) if one and day not in stored}
    with app.transaction() as db:
        crowds.add(db, calendar.code, method, new, demo=demo)
    return after


def _active(db: Session, calendar: TradingCalendar, *, demo: bool) -> list[Instrument]:
    return [one for one in instrument_store.active(db, calendar.code) if one.demo == demo]


def _newest(
    db: Session, calendar: TradingCalendar, method: str, last: date, *, demo: bool
) -> tuple[date, Crowd | None]:
    """Return the day from which on there is something to learn, and what is known before.

    What is older than PAST sessions is forgotten.
    """
    first = as_date(calendar.before(last + timedelta(days=1), PAST)[0])
    found = crowds.newest(db, calendar.code, method, first, last, demo=demo)
    if found is None:
        return first, None
    session, known = found
    return session + timedelta(days=1), known


def _scored(
    db: Session, tickers: Sequence[Instrument], method: str, sessions: Sessions
) -> tuple[Floats, Floats]:
    """Return what a method stated for sessions, (tickers, sessions, 11), and the returns scored."""
    if not len(sessions):
        return np.empty((len(tickers), 0, len(QUANTILES))), np.empty((len(tickers), 0))
    quantiles = forecasts.past_quantiles(db, tickers, sessions, method)
    actual = crowds.actual_returns(db, tickers, sessions, method)
    return quantiles, _taught(quantiles, actual)


def _taught(quantiles: Floats, actual: Floats) -> Floats:
    """Return `actual` where something was stated, without sessions of which too little is known."""
    made = np.isfinite(quantiles[..., 0])
    known = made & np.isfinite(actual)
    enough = known.sum(axis=0) >= ENOUGH * made.sum(axis=0)
    return np.where(known & enough, actual, np.nan)
