"""One chunk of tickers: loaded, trained or reused, forecast and saved together."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from structlog.contextvars import bound_contextvars

from jobs.app import App
from jobs.daily.outcomes import no_forecast, outcomes, without_forecast
from jobs.isolation import MOST, is_of_a_ticker, told
from jobs.models.tickers import (
    Around,
    Chunk,
    Trained,
    given,
    load,
    parameters,
    save,
    train,
)
from stockbatch.exceptions import DeadlinePassed
from stockbatch.methods.base import PAST
from stockbatch.methods.forecasts import (
    Targets,
    calibrated,
    forecasts,
    implausible,
    state,
    with_models,
)
from stockbatch.records import Finding, Forecast, Instrument, Outcome, Reason, Run
from stockbatch.store import bars, runs
from stockbatch.store import forecasts as forecast_store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the chunks of a run have in common."""

    around: Around
    targets: Targets
    problems: Mapping[int, Outcome]
    failures: Mapping[int, str]
    retrain: bool
    since: int
    """Tickers with a newer outcome than this one are done: by a copy of the same work."""
    spoilt: list[str] = field(default_factory=list)
    """Why tickers could not be trained, each alone, since the last chunk that could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A chunk as loaded, and what is to be saved of it."""

    chunk: Chunk
    trained: Trained
    forecasts: Sequence[Forecast]
    outcomes: Sequence[Outcome]
    findings: Mapping[int, Sequence[Finding]]


def make(app: App, run: Run, work: Work, tickers: Sequence[Instrument]) -> None:
    """Make a chunk; a ticker that fails alone is forecast with the model in use.

    Once that was so of MOST in a row, nobody's rows are to blame, and no more is trained.
    """
    if len(work.spoilt) >= MOST:
        _make(app, run, work, tickers, work.spoilt[-1])
        return
    try:
        _make(app, run, work, tickers, None)
    except Exception as error:
        if len(tickers) > 1 or not is_of_a_ticker(error):
            raise
        name = tickers[0].ticker
        with bound_contextvars(ticker=name):
            log.warning("%s %s: %s: %s", run.calendar, run.session, name, told(error))
        _make(app, run, work, tickers, told(error))
        work.spoilt.append(told(error))
    else:
        work.spoilt.clear()


def _make(
    app: App, run: Run, work: Work, tickers: Sequence[Instrument], failure: str | None
) -> None:
    """Load, compute and save one chunk; after a `failure`, without training."""
    made = _compute(app, run, work, tickers, failure)
    try:
        done = _save(app, run, work, tickers, made)
    except DeadlinePassed as error:
        log.warning("%s %s: %s; saved again, as late", run.calendar, run.session, error)
        done = _save(app, run, work, tickers, made)
    rest = [instrument for instrument in tickers if instrument.id not in done]
    if done and rest:
        _make(app, run, work, rest, failure)


def _compute(
    app: App, run: Run, work: Work, tickers: Sequence[Instrument], failure: str | None
) -> _Made:
    started = time.perf_counter()
    around = work.around
    app.on_event("forecasts: load")
    chunk = load(app, run, around, tickers, around.sessions[-PAST:])

    app.on_event("forecasts: compute")
    material = chunk.material
    instead = Reason.FAILED if failure else None
    trained = train(app, around, chunk, force=work.retrain, instead=instead)
    raw = state(
        given(app, around, trained, material, chunk.past), parameters(around, chunk, trained)
    )
    stated = calibrated(raw, material, {name: [one] for name, one in around.crowds.items()})
    made = list(forecasts(material, stated, work.targets))
    # Of one ticker nobody can say it: a chunk is trained as one stack.
    seconds = (time.perf_counter() - started) / len(tickers)
    lacking = without_forecast(trained, stated, len(tickers))
    each = zip(tickers, material.findings, implausible(material, stated), lacking, strict=True)
    return _Made(
        chunk=chunk,
        trained=trained,
        forecasts=made,
        outcomes=outcomes(
            material, trained, made, work.problems, work.failures, lacking, seconds, failure
        ),
        findings={
            ticker.id: (*of_bars, *of_forecasts, *no_forecast(reasons))
            for ticker, of_bars, of_forecasts, reasons in each
        },
    )


def _save(app: App, run: Run, work: Work, tickers: Sequence[Instrument], made: _Made) -> set[int]:
    """Commit a chunk and return nothing; or save nothing, and return which tickers are done."""
    app.on_event("forecasts: save")
    with app.transaction() as db:
        runs.share(db, run, tickers)
        if done := runs.done_since(db, run, tickers, work.since):
            return done
        model_ids = save(db, run, work.around, tickers, made.chunk, made.trained)
        forecast_store.add(db, with_models(made.forecasts, model_ids), run, issued_at=app.clock())
        bars.add_findings(db, made.findings, run_id=run.id)
        runs.add_outcomes(db, run, tickers, made.outcomes)
        app.on_event("forecasts: commit")
    return set()
