"""Train or reuse every ticker's model and forecast its next session."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType

from structlog.contextvars import bound_contextvars

from jobs.app import App
from jobs.daily.outcomes import no_forecast, outcomes, without_forecast
from jobs.isolation import MOST, is_of_a_ticker, isolate, told
from jobs.models.base import loading, train_base
from jobs.models.crowd import learn_from_scores
from jobs.models.pooled import fit_pooled
from jobs.models.tickers import LAST_TRY, Around, given, load, parameters, save, train
from stockbatch.engine.material import sessions_needed
from stockbatch.exceptions import DeadlinePassed
from stockbatch.market.sessions import TradingCalendar
from stockbatch.methods import registry
from stockbatch.methods.base import PAST
from stockbatch.methods.forecasts import (
    Targets,
    calibrated,
    forecasts,
    implausible,
    state,
    with_models,
)
from stockbatch.records import Action, Instrument, Market, Outcome, Reason, Run, Sessions
from stockbatch.store import bars, market, methods, runs
from stockbatch.store import forecasts as forecast_store

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
) -> None:
    """Forecast the session after the run's and record an outcome for every instrument.

    `problems` says, by instrument id, why a ticker has no bar, and `failures` what has failed with
    it before. Chunks of tickers are committed one by one, each with its models, forecasts and
    outcomes. Training ends when forecasts that can still be live are due: then the models in use
    make them. A ticker that its chunk fails with has no forecast, and stops no other.
    """
    target = calendar.next(run.session)
    deadline = calendar.deadline(target)
    margin = timedelta(minutes=app.settings.deadline_margin_minutes)
    # What is late anyhow may as well be trained: nobody waits for it.
    train_until = deadline - margin if app.clock() < deadline else None
    sessions = calendar.window(run.session, sessions_needed(app.settings))
    known = _market(app, run, calendar, sessions)
    left_out: dict[int, Exception] = {}
    with app.progress() as progress:
        task = progress.add_task("forecasts", total=len(instruments))
        # Demonstration tickers have a base of their own, so that neither learns from the other.
        for demo in (False, True):
            mine = [instrument for instrument in instruments if instrument.demo == demo]
            if not mine:
                continue
            work = _Work(
                around=_around(
                    app,
                    run,
                    calendar,
                    sessions,
                    known,
                    demo=demo,
                    force=retrain,
                    train_until=train_until,
                ),
                targets={run.session: (target, deadline)},
                problems=problems,
                failures=failures,
                retrain=retrain,
            )
            for start in range(0, len(mine), app.settings.chunk_tickers):
                app.checkpoint()
                tickers = mine[start : start + app.settings.chunk_tickers]
                left_out |= isolate(
                    f"{run.calendar} {run.session}", partial(_make, app, run, work), [tickers]
                )
                progress.advance(task, len(tickers))
    # What every ticker fails with is nobody's row: the run has failed, and is tried again.
    if len(left_out) == len(instruments) > 1 and run.tries < LAST_TRY:
        raise next(iter(left_out.values()))
    _give_up(app, run, instruments, left_out)


def _market(app: App, run: Run, calendar: TradingCalendar, sessions: Sessions) -> Market:
    """Return what all tickers did, summed up first; methods new to the database are named there."""
    with app.transaction() as db:
        runs.lock(db, run)
        methods.add_missing(db, registry.described())
        market.update(db, calendar, sessions)
        return market.load(db, run.calendar, sessions)


def _around(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    sessions: Sessions,
    known: Market,
    *,
    demo: bool,
    force: bool,
    train_until: datetime | None,
) -> Around:
    """Return what the chunks work with, fitted to all tickers together where that is due."""
    materials = loading(app, run, sessions, known)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the chunks of a run have in common."""

    around: Around
    targets: Targets
    problems: Mapping[int, Outcome]
    failures: Mapping[int, str]
    retrain: bool
    spoilt: list[str] = field(default_factory=list)
    """Why tickers could not be trained, each alone, since the last chunk that could."""


def _make(app: App, run: Run, work: _Work, tickers: Sequence[Instrument]) -> None:
    """Make a chunk; a ticker that fails alone is forecast with the model in use.

    Once that was so of MOST in a row, nobody's rows are to blame, and no more is trained.
    """
    if len(work.spoilt) >= MOST:
        _make_chunk(app, run, work, tickers, work.spoilt[-1])
        return
    try:
        _make_chunk(app, run, work, tickers, None)
    except Exception as error:
        if len(tickers) > 1 or not is_of_a_ticker(error):
            raise
        name = tickers[0].ticker
        with bound_contextvars(ticker=name):
            log.warning("%s %s: %s: %s", run.calendar, run.session, name, told(error))
        _make_chunk(app, run, work, tickers, told(error))
        work.spoilt.append(told(error))
    else:
        work.spoilt.clear()


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


def _make_chunk(
    app: App, run: Run, work: _Work, tickers: Sequence[Instrument], failure: str | None
) -> None:
    """Load, compute and save one chunk; after a `failure`, without training."""
    started = time.perf_counter()
    around = work.around
    instead = Reason.FAILED if failure else None
    app.on_event("forecasts: load")
    chunk = load(app, run, around, tickers, around.sessions[-PAST:])

    app.on_event("forecasts: compute")
    material = chunk.material
    trained = train(app, around, chunk, force=work.retrain, instead=instead)
    raw = state(
        given(app, around, trained, material, chunk.past), parameters(around, chunk, trained)
    )
    stated = calibrated(raw, material, {name: [one] for name, one in around.crowds.items()})
    made = list(forecasts(material, stated, work.targets))
    # Of one ticker nobody can say it: a chunk is trained as one stack.
    seconds = (time.perf_counter() - started) / len(tickers)
    lacking = without_forecast(trained, stated, len(tickers))
    ended = outcomes(
        material, trained, made, work.problems, work.failures, lacking, seconds, failure
    )
    left_out = implausible(material, stated)
    found = {
        ticker.id: (*of_bars, *of_forecasts, *no_forecast(reasons))
        for ticker, of_bars, of_forecasts, reasons in zip(
            tickers, material.findings, left_out, lacking, strict=True
        )
    }

    def keep() -> None:
        app.on_event("forecasts: save")
        with app.transaction() as db:
            runs.lock(db, run)
            model_ids = save(db, run, around, tickers, chunk, trained)
            forecast_store.add(db, with_models(made, model_ids), run, issued_at=app.clock())
            bars.add_findings(db, found, run_id=run.id)
            runs.add_outcomes(db, run, tickers, ended)
            app.on_event("forecasts: commit")

    try:
        keep()
    except DeadlinePassed as error:
        log.warning("%s %s: %s; saved again, as late", run.calendar, run.session, error)
        keep()
