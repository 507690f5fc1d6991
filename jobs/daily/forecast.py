"""Train or reuse every ticker's model and forecast its next session."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from sqlalchemy.exc import OperationalError
from structlog.contextvars import bound_contextvars

from jobs.app import App
from jobs.models import tickers as train_tickers
from jobs.models.base import train_base
from jobs.models.tickers import ISOLATING_TRY, Around, Models, Trained
from stockbatch.engine import learning
from stockbatch.engine.material import Material, sessions_needed
from stockbatch.exceptions import DatabaseError, StockbatchError
from stockbatch.market.sessions import TradingCalendar
from stockbatch.methods import forecasting
from stockbatch.records import (
    Action,
    Forecast,
    Instrument,
    Method,
    ModelKind,
    Outcome,
    Reason,
    Run,
    TrainedModel,
)
from stockbatch.store import bars, forecasts, market, runs

log = logging.getLogger(__name__)

NO_BAR = "the provider has no bar of this session"
UNTRAINED = {
    Reason.DEADLINE: "training was due but not done in time",
    Reason.FAILED: "the base model could not be trained",
}
"""What is said of tickers that should have been trained, by reason."""


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
    sessions = calendar.window(run.session, sessions_needed(app.settings))
    with app.transaction() as db:
        runs.lock(db, run)
        market.update(db, run.calendar, sessions)
        known = market.load(db, run.calendar, sessions)
    target = calendar.next(run.session)
    deadline = calendar.deadline(target)
    targets = {run.session: (target, deadline)}
    margin = timedelta(minutes=app.settings.deadline_margin_minutes)
    train_until = deadline - margin if app.clock() < deadline else None
    with app.progress() as progress:
        task = progress.add_task("forecasts", total=len(instruments))
        for demo in (False, True):
            mine = [instrument for instrument in instruments if instrument.demo == demo]
            if not mine:
                continue
            base = train_base(
                app, run, sessions, known, demo=demo, force=retrain, train_until=train_until
            )
            around = Around(
                sessions=sessions, market=known, base=base, demo=demo, train_until=train_until
            )
            work = _Work(around=around, targets=targets, problems=problems, retrain=retrain)
            for start in range(0, len(mine), app.settings.chunk_tickers):
                app.checkpoint()
                tickers = mine[start : start + app.settings.chunk_tickers]
                _make_or_isolate(app, run, work, tickers)
                progress.advance(task, len(tickers))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the chunks of a run have in common."""

    around: Around
    targets: forecasting.Targets
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
        if run.tries < ISOLATING_TRY:
            raise
        reason = str(error) if isinstance(error, StockbatchError) else repr(error)
        names = tickers[0].ticker if len(tickers) == 1 else f"{len(tickers)} tickers"
        with bound_contextvars(**({"ticker": names} if len(tickers) == 1 else {})):
            log.warning("%s %s: %s: %s", run.calendar, run.session, names, reason)
        if len(tickers) > 1:
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
    chunk = train_tickers.load(app, around, tickers)
    with app.transaction() as db:
        past = forecasts.past_quantiles(db, tickers, around.sessions[-forecasting.PAST :])

    app.on_event("forecasts: compute")
    material = chunk.material
    trained = train_tickers.train(app, around, chunk, force=work.retrain, instead=instead)
    others = forecasting.baseline_quantiles(
        material, train_tickers.garch_parameters(chunk, trained)
    )

    app.on_event("forecasts: save")
    with app.transaction() as db:
        runs.lock(db, run)
        used = train_tickers.save(db, run, around, tickers, chunk, trained)
        lstm = None
        if around.base is not None:
            model = app.settings.model
            lstm = forecasting.lstm_quantiles(material, used, around.base, past, model)
        made = forecasting.forecasts(material, used, lstm, others, work.targets)
        forecasts.add(db, made, run, issued_at=app.clock())
        found = zip((instrument.id for instrument in tickers), material.findings, strict=True)
        bars.add_findings(db, dict(found), run_id=run.id)
        seconds = (time.perf_counter() - started) / len(tickers)
        outcomes = _outcomes(material, trained, used, made, work.problems, seconds, failure)
        runs.add_outcomes(db, run, tickers, outcomes)
        app.on_event("forecasts: commit")


def _is_stale(app: App, around: Around) -> bool:
    """Tell whether the base is one of other settings, because it could not be trained again."""
    base = around.base
    return base is not None and base.configuration != learning.configuration(app.settings)


def _outcomes(
    material: Material,
    trained: Trained,
    used: Models,
    made: Sequence[Forecast],
    problems: Mapping[int, Outcome],
    seconds: float,
    failure: str | None,
) -> list[Outcome]:
    """Return one outcome per instrument."""
    by_lstm = {f.instrument_id for f in made if f.method is Method.LSTM}
    outcomes = []
    for row, instrument in enumerate(material.instruments):
        if row not in trained.reasons:
            missing = Outcome(
                instrument_id=instrument.id,
                action=Action.NONE,
                reason=Reason.NO_BAR,
                message=NO_BAR,
            )
            outcomes.append(problems.get(instrument.id, missing))
            continue
        action, reason, message = _what_was_done(material, trained, used.get(row), row)
        if reason is Reason.FAILED and failure:
            message = failure
        outcomes.append(
            Outcome(
                instrument_id=instrument.id,
                action=action if instrument.id in by_lstm else Action.NAIVE,
                reason=reason,
                message=message,
                seconds=seconds,
            )
        )
    return outcomes


def _what_was_done(
    material: Material, trained: Trained, used: TrainedModel | None, row: int
) -> tuple[Action, Reason, str]:
    """Return action, reason and message of a ticker that an LSTM could forecast."""
    reason = trained.reasons[row]
    its_own = used is not None and used.kind is ModelKind.TICKER
    instead = Action.REUSED if its_own else Action.BASE
    if row in trained.new:
        return Action.TRAINED, reason, _what_came_of(trained.new[row])
    if reason is Reason.SHORT_HISTORY:
        if not np.isfinite(material.features.scale[row, -1]):
            return instead, reason, "too few returns of the last year to know its volatility"
        known = int(material.features.present[row].sum())
        return instead, reason, f"{known} bars are too few for a model of its own"
    if reason in UNTRAINED:
        return instead, reason, UNTRAINED[reason]
    if reason in learning.TRAIN:
        return instead, Reason.DIVERGED, f"training ({reason}) found no finite loss"
    return Action.REUSED, reason, ""


def _what_came_of(model: TrainedModel) -> str:
    """Say why training stopped where it did, and why the model is used or not."""
    ran, best = len(model.validation_loss), model.best_epoch
    since = f"none better since epoch {best}" if best else "none better than the base"
    stopped = f"stopped after epoch {ran} of at most {model.parameters['epochs']}, {since}"
    if best == ran:
        stopped = f"all {ran} epochs run, the last was best"
    verdict = model.verdict.replace("_", " ")
    if model.comparison is None:
        return f"{stopped}; too few sessions to compare it with the base: {verdict}"
    gain = 100 * model.comparison.gain / model.comparison.base_loss
    error = 100 * model.comparison.gain_error / model.comparison.base_loss
    word = "better" if gain >= 0 else "worse"
    return f"{stopped}; {abs(gain):.2f} ± {error:.2f} % {word} than the base: {verdict}"
