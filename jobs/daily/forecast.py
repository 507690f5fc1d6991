"""Train or reuse every ticker's model and forecast its next session."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import OperationalError
from structlog.contextvars import bound_contextvars

from jobs.app import App
from jobs.daily.outcomes import outcomes
from jobs.models.base import train_base
from jobs.models.pooled import fit_pooled
from jobs.models.tickers import ISOLATING_TRY, Around, given, load, parameters, save, train
from stockbatch.engine import learning
from stockbatch.engine.material import sessions_needed
from stockbatch.exceptions import DatabaseError, StockbatchError
from stockbatch.market.sessions import TradingCalendar
from stockbatch.methods import registry
from stockbatch.methods.base import PAST
from stockbatch.methods.forecasts import Targets, forecasts, implausible, state, with_models
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
    retrain: bool = False,
) -> None:
    """Forecast the session after the run's and record an outcome for every instrument.

    `problems` says, by instrument id, why a ticker has no bar. Chunks of tickers are committed one
    by one, each with its models, forecasts and outcomes. Training ends when forecasts that can
    still be live are due: then the models in use make them.
    """
    target = calendar.next(run.session)
    deadline = calendar.deadline(target)
    margin = timedelta(minutes=app.settings.deadline_margin_minutes)
    # What is late anyhow may as well be trained: nobody waits for it.
    train_until = deadline - margin if app.clock() < deadline else None
    sessions = calendar.window(run.session, sessions_needed(app.settings))
    known = _market(app, run, calendar, sessions)
    with app.progress() as progress:
        task = progress.add_task("forecasts", total=len(instruments))
        # Demonstration tickers have a base of their own, so that neither learns from the other.
        for demo in (False, True):
            mine = [instrument for instrument in instruments if instrument.demo == demo]
            if not mine:
                continue
            work = _Work(
                around=_around(
                    app, run, sessions, known, demo=demo, force=retrain, train_until=train_until
                ),
                targets={run.session: (target, deadline)},
                problems=problems,
                retrain=retrain,
            )
            for start in range(0, len(mine), app.settings.chunk_tickers):
                app.checkpoint()
                tickers = mine[start : start + app.settings.chunk_tickers]
                _make_or_isolate(app, run, work, tickers)
                progress.advance(task, len(tickers))


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
    sessions: Sessions,
    known: Market,
    *,
    demo: bool,
    force: bool,
    train_until: datetime | None,
) -> Around:
    """Return what the chunks work with, fitted to all tickers together where that is due."""
    base = train_base(app, run, sessions, known, demo=demo, force=force, train_until=train_until)
    return Around(
        sessions=sessions,
        market=known,
        base=base,
        demo=demo,
        pooled=fit_pooled(app, run, sessions, known, demo=demo, train_until=train_until),
        train_until=train_until,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the chunks of a run have in common."""

    around: Around
    targets: Targets
    problems: Mapping[int, Outcome]
    retrain: bool


def _make_or_isolate(
    app: App, run: Run, work: _Work, tickers: Sequence[Instrument], failure: str | None = None
) -> None:
    """Make a chunk; where that fails again and again, find the ticker to blame, and do without.

    A ticker that fails alone is forecast with the model in use; if that fails too, it has none.
    """
    try:
        _make_chunk(app, run, work, tickers, failure)
    except (DatabaseError, OperationalError):
        raise
    except Exception as error:
        # What fails once may succeed the next time, and then for all of the chunk.
        if run.tries < ISOLATING_TRY:
            raise
        reason = str(error) if isinstance(error, StockbatchError) else repr(error)
        names = tickers[0].ticker if len(tickers) == 1 else f"{len(tickers)} tickers"
        with bound_contextvars(**({"ticker": names} if len(tickers) == 1 else {})):
            log.warning("%s %s: %s: %s", run.calendar, run.session, names, reason)
        if len(tickers) > 1:
            # By halves: one bad ticker of 64 is found in six steps, and the others keep their
            # forecasts.
            middle = len(tickers) // 2
            for half in (tickers[:middle], tickers[middle:]):
                _make_or_isolate(app, run, work, half)
        elif failure is None:
            _make_or_isolate(app, run, work, tickers, reason)
        else:
            _give_up(app, run, tickers[0], reason)


def _give_up(app: App, run: Run, instrument: Instrument, reason: str) -> None:
    outcome = Outcome(
        instrument_id=instrument.id, action=Action.NONE, reason=Reason.FAILED, message=reason
    )
    with app.transaction() as db:
        runs.lock(db, run)
        runs.add_outcomes(db, run, [instrument], [outcome])


def _make_chunk(
    app: App, run: Run, work: _Work, tickers: Sequence[Instrument], failure: str | None
) -> None:
    """Load, compute and save one chunk; after a `failure`, without training."""
    started = time.perf_counter()
    around = work.around
    instead = Reason.FAILED if failure or _is_stale(app, around) else None
    app.on_event("forecasts: load")
    chunk = load(app, around, tickers, around.sessions[-PAST:])

    app.on_event("forecasts: compute")
    material = chunk.material
    trained = train(app, around, chunk, force=work.retrain, instead=instead)
    stated = state(
        given(app, around, trained, material, chunk.past), parameters(around, chunk, trained)
    )
    made = list(forecasts(material, stated, work.targets))
    # Of one ticker nobody can say it: a chunk is trained as one stack.
    seconds = (time.perf_counter() - started) / len(tickers)
    ended = outcomes(material, trained, made, work.problems, seconds, failure)
    left_out = implausible(material, stated)
    found = {
        ticker.id: of_bars + of_forecasts
        for ticker, of_bars, of_forecasts in zip(tickers, material.findings, left_out, strict=True)
    }

    app.on_event("forecasts: save")
    with app.transaction() as db:
        runs.lock(db, run)
        model_ids = save(db, run, around, tickers, chunk, trained)
        forecast_store.add(db, with_models(made, model_ids), run, issued_at=app.clock())
        bars.add_findings(db, found, run_id=run.id)
        runs.add_outcomes(db, run, tickers, ended)
        app.on_event("forecasts: commit")


def _is_stale(app: App, around: Around) -> bool:
    """Tell whether the base is one of other settings, because it could not be trained again."""
    base = around.base
    return base is not None and base.configuration != learning.configuration(app.settings)
