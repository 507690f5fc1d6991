"""Train or reuse every ticker's model and forecast its next session."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jobs.app import App
from stockbatch import forecasting
from stockbatch.forecasting import Material
from stockbatch.records import (
    Action,
    Forecast,
    Instrument,
    Method,
    Outcome,
    Reason,
    Run,
    Sessions,
    TrainedModel,
)
from stockbatch.sessions import TradingCalendar
from stockbatch.store import bars, forecasts, models, runs

NO_BAR = "the provider has no bar of this session"


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
    by one, each with its models, forecasts and outcomes.
    """
    size = app.settings.chunk_tickers
    sessions = calendar.window(run.session, forecasting.sessions_needed(app.settings))
    with app.progress() as progress:
        task = progress.add_task("forecasts", total=len(instruments))
        for start in range(0, len(instruments), size):
            chunk = instruments[start : start + size]
            _make_chunk(app, run, calendar, sessions, chunk, problems, retrain=retrain)
            progress.advance(task, len(chunk))


def _make_chunk(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    sessions: Sessions,
    chunk: Sequence[Instrument],
    problems: Mapping[int, Outcome],
    *,
    retrain: bool,
) -> None:
    """Load, compute and save one chunk."""
    started = time.perf_counter()
    app.on_event("forecasts: load")
    with app.transaction() as db:
        panel = bars.load_panel(db, chunk, sessions)
        champions = models.champions(db, chunk, run.session)

    app.on_event("forecasts: compute")
    material = forecasting.prepare(chunk, panel)
    known = {row: champions[i.id] for row, i in enumerate(chunk) if i.id in champions}
    with_bar = [row for row in range(len(chunk)) if material.features.present[row, -1]]
    reasons = {
        row: forecasting.decide(material, row, known.get(row), app.settings, force=retrain)
        for row in with_bar
    }
    due = {row: reason for row, reason in reasons.items() if reason in forecasting.TRAIN}
    trained = forecasting.train(material, due, app.settings, app.trainer.fit)
    target = calendar.next(run.session)
    made = forecasting.forecast(
        material, known | trained, app.settings, target=target, deadline=calendar.deadline(target)
    )

    app.on_event("forecasts: save")
    with app.transaction() as db:
        runs.lock(db, run)
        stored = models.add(db, {chunk[row].id: model for row, model in trained.items()}, run)
        ids = {i: model.id for i, model in champions.items()} | stored
        forecasts.add(db, _with_models(made, ids), run, issued_at=app.clock())
        found = zip((instrument.id for instrument in chunk), material.findings, strict=True)
        bars.add_findings(db, dict(found), run_id=run.id)
        seconds = (time.perf_counter() - started) / len(chunk)
        outcomes = _outcomes(material, reasons, trained, made, problems, seconds)
        runs.add_outcomes(db, run, chunk, outcomes)
        app.on_event("forecasts: commit")


def _with_models(made: Sequence[Forecast], ids: Mapping[int, int | None]) -> list[Forecast]:
    """Name the stored model in every LSTM forecast."""
    return [
        replace(forecast, model_id=ids[forecast.instrument_id])
        if forecast.method is Method.LSTM
        else forecast
        for forecast in made
    ]


def _outcomes(
    material: Material,
    reasons: Mapping[int, Reason],
    trained: Mapping[int, TrainedModel],
    made: Sequence[Forecast],
    problems: Mapping[int, Outcome],
    seconds: float,
) -> list[Outcome]:
    """Return one outcome per instrument; `reasons` has the rows with a bar of the session."""
    by_lstm = {f.instrument_id for f in made if f.method is Method.LSTM}
    outcomes = []
    for row, instrument in enumerate(material.instruments):
        if row not in reasons:
            missing = Outcome(
                instrument_id=instrument.id,
                action=Action.NONE,
                reason=Reason.NO_BAR,
                message=NO_BAR,
            )
            outcomes.append(problems.get(instrument.id, missing))
            continue
        reason, message = reasons[row], ""
        if row in trained:
            action, message = Action.TRAINED, _how_it_stopped(trained[row])
        else:
            action = Action.REUSED if instrument.id in by_lstm else Action.NAIVE
            if reason in forecasting.TRAIN:
                reason, message = Reason.DIVERGED, f"training ({reason}) found no finite loss"
        if reason is Reason.SHORT_HISTORY:
            known = int(material.features.present[row].sum())
            message = f"{known} bars are too few to train on, or too few of them are recent"
        outcomes.append(
            Outcome(
                instrument_id=instrument.id,
                action=action,
                reason=reason,
                message=message,
                seconds=seconds,
            )
        )
    return outcomes


def _how_it_stopped(model: TrainedModel) -> str:
    return f"best of {len(model.validation_loss)} epochs: {model.best_epoch}"
