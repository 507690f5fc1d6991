"""Train or reuse every ticker's model and forecast its next session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from jobs.app import App
from jobs.daily.chunk import Work, make
from jobs.daily.chunk_orders import share_out
from jobs.isolation import isolate, told
from jobs.models.base import loading, train_base
from jobs.models.crowd import learn_from_scores
from jobs.models.pooled import fit_pooled
from jobs.models.tickers import LAST_TRY, Around, is_overdue, take_in_stated
from stockbatch.engine.material import sessions_needed
from stockbatch.market.sessions import TradingCalendar
from stockbatch.methods import registry
from stockbatch.records import Action, Instrument, Market, Outcome, Reason, Run, Sessions
from stockbatch.store import market, methods, runs

if TYPE_CHECKING:
    from jobs.workers.pool import Workers

log = logging.getLogger(__name__)


def make_forecasts(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    instruments: Sequence[Instrument],
    problems: Mapping[int, Outcome],
    *,
    failures: Mapping[int, str] = MappingProxyType({}),
    retrain: bool = False,
    shared: Workers | None = None,
) -> None:
    """Forecast the session after the run's and record an outcome for every instrument.

    `problems` says, by instrument id, why a ticker has no bar, and `failures` what has failed with
    it before. Chunks of tickers are committed one by one, each with its models, forecasts and
    outcomes. Training ends when forecasts that can still be live are due: then the models in use
    make them. A ticker that its chunk fails with has no forecast, and stops no other. Where there
    are workers, they make the chunks.
    """
    target = calendar.next(run.session)
    deadline = calendar.deadline(target)
    margin = timedelta(minutes=app.settings.deadline_margin_minutes)
    # What is late anyhow may as well be trained: nobody waits for it.
    train_until = deadline - margin if app.clock() < deadline else None
    sessions = calendar.window(run.session, sessions_needed(app.settings))
    known = _market(app, run, calendar, sessions)
    with app.transaction() as db:
        since = runs.newest_outcome(db)
    left_out: dict[int, Exception] = {}
    with app.progress() as progress:
        task = progress.add_task("forecasts", total=len(instruments))
        # Demonstration tickers have a base of their own, so that neither learns from the other.
        for demo in (False, True):
            mine = [instrument for instrument in instruments if instrument.demo == demo]
            if not mine:
                continue
            work = Work(
                around=_around(
                    app,
                    run,
                    calendar,
                    sessions,
                    known,
                    shared,
                    demo=demo,
                    force=retrain,
                    train_until=train_until,
                ),
                targets={run.session: (target, deadline)},
                problems=problems,
                failures=failures,
                retrain=retrain,
                since=since,
            )
            left_out |= _all(
                app, run, work, mine, shared, lambda done: progress.advance(task, done)
            )
    # What every ticker fails with is nobody's row: the run has failed, and is tried again.
    if len(left_out) == len(instruments) > 1 and run.tries < LAST_TRY:
        raise next(iter(left_out.values()))
    _give_up(app, run, instruments, left_out)


def _all(
    app: App,
    run: Run,
    work: Work,
    instruments: Sequence[Instrument],
    shared: Workers | None,
    made: Callable[[int], None],
) -> dict[int, Exception]:
    """Make all chunks, by workers where there are some; return by id who was left out."""
    size = app.settings.chunk_tickers
    starts = range(0, len(instruments), size)
    chunks = [instruments[start : start + size] for start in starts]
    left_out: dict[int, Exception] = {}
    if shared:
        until = work.around.train_until
        # What workers should have done by now has to be done without them, and there is time.
        spare = timedelta(minutes=app.settings.deadline_margin_minutes) / 2
        overdue = partial(is_overdue, app, until and until + spare)
        left_out, chunks = share_out(app, run, shared, work, chunks, overdue=overdue, made=made)
    for tickers in chunks:
        app.checkpoint()
        left_out |= isolate(
            f"{run.calendar} {run.session}", partial(make, app, run, work), [tickers]
        )
        made(len(tickers))
        with app.transaction() as db:
            runs.lock(db, run)  # a heartbeat
    return left_out


def _market(app: App, run: Run, calendar: TradingCalendar, sessions: Sessions) -> Market:
    """Return what all tickers did, summed up first; methods new to the database are named there."""
    with app.transaction() as db:
        sums = market.summed_up(db, calendar, sessions)  # nobody has to wait meanwhile
    with app.transaction() as db:
        runs.lock(db, run)
        methods.add_missing(db, registry.described())
        market.save(db, calendar, sums)
        take_in_stated(app, db, run.calendar)
        return market.load(db, run.calendar, sessions)


def _around(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    sessions: Sessions,
    known: Market,
    shared: Workers | None,
    *,
    demo: bool,
    force: bool,
    train_until: datetime | None,
) -> Around:
    """Return what the chunks work with, fitted to all tickers together where that is due."""
    materials = loading(app, run, sessions, known, shared)
    base = train_base(
        app, run, sessions, materials, demo=demo, force=force, train_until=train_until
    )
    return Around(
        sessions=sessions,
        market=known,
        base=base,
        demo=demo,
        pooled=fit_pooled(app, run, sessions, materials, demo=demo, train_until=train_until),
        crowds=learn_from_scores(app, run, calendar, demo=demo),
        train_until=train_until,
    )


def _give_up(
    app: App, run: Run, instruments: Sequence[Instrument], left_out: Mapping[int, Exception]
) -> None:
    failed = [
        Outcome(instrument_id=id_, action=Action.NONE, reason=Reason.FAILED, message=told(error))
        for id_, error in left_out.items()
    ]
    if failed:
        with app.transaction() as db:
            runs.lock(db, run)
            runs.add_outcomes(db, run, instruments, failed)
