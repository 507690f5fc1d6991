"""Train or reuse every ticker's model and forecast its next session."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jobs.app import App
from jobs.train_base import train_base
from stockbatch import forecasting, garch, learning
from stockbatch.config import Settings
from stockbatch.material import Material, prepare, sessions_needed
from stockbatch.records import (
    Action,
    Floats,
    Forecast,
    Instrument,
    Market,
    Method,
    ModelKind,
    Outcome,
    Reason,
    Run,
    Sessions,
    TrainedModel,
    Verdict,
)
from stockbatch.sessions import TradingCalendar
from stockbatch.store import bars, forecasts, market, models, runs, scores

NO_BAR = "the provider has no bar of this session"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What all chunks of a run have in common."""

    calendar: TradingCalendar
    sessions: Sessions
    market: Market
    base: TrainedModel | None
    problems: Mapping[int, Outcome]
    """By instrument id, why a ticker has no bar."""
    retrain: bool
    demo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """What is known of one chunk; models and past forecasts are by row."""

    material: Material
    champions: Mapping[int, TrainedModel]
    newest: Mapping[int, TrainedModel]
    garch: Mapping[int, TrainedModel]
    drifted: set[int]
    past: Floats


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
    sessions = calendar.window(run.session, sessions_needed(app.settings))
    with app.transaction() as db:
        runs.lock(db, run)
        market.update(db, run.calendar, sessions)
        known = market.load(db, run.calendar, sessions)
    with app.progress() as progress:
        task = progress.add_task("forecasts", total=len(instruments))
        for demo in (False, True):
            mine = [instrument for instrument in instruments if instrument.demo == demo]
            if not mine:
                continue
            base = train_base(app, run, sessions, known, demo=demo, force=retrain)
            work = _Work(
                calendar=calendar,
                sessions=sessions,
                market=known,
                base=base,
                problems=problems,
                retrain=retrain,
                demo=demo,
            )
            for start in range(0, len(mine), app.settings.chunk_tickers):
                chunk = mine[start : start + app.settings.chunk_tickers]
                _make_chunk(app, run, work, chunk)
                progress.advance(task, len(chunk))


def _make_chunk(app: App, run: Run, work: _Work, chunk: Sequence[Instrument]) -> None:
    """Load, compute and save one chunk."""
    started = time.perf_counter()
    app.on_event("forecasts: load")
    loaded = _load(app, run, work, chunk)

    app.on_event("forecasts: compute")
    material = loaded.material
    reasons = _reasons(work, loaded, app.settings)
    due = {row: reason for row, reason in reasons.items() if reason in learning.TRAIN}
    trained = {}
    if work.base is not None:
        trained = learning.train(
            material, due, loaded.champions, work.base, app.settings, app.trainer.fit
        )
    garches = _fit_garches(material, loaded, reasons, app.settings)

    app.on_event("forecasts: save")
    with app.transaction() as db:
        runs.lock(db, run)
        id_of = {row: instrument.id for row, instrument in enumerate(chunk)}
        new = {id_of[row]: model for row, model in trained.items()}
        ids = models.add(db, new, run, demo=work.demo)
        models.add(db, {id_of[r]: m for r, m in garches.items()}, run, demo=work.demo)
        used = _used(work, loaded, trained, {row: ids.get(id_of[row]) for row in trained})
        changed = {row: model for row, model in used.items() if _differs(loaded, row, model)}
        models.promote(
            db,
            {id_of[row]: model.id for row, model in changed.items() if model.id is not None},
            run.session,
            {id_of[row]: reasons[row] for row in changed},
        )
        made = _forecasts(work, loaded, used, {**loaded.garch, **garches}, app.settings)
        forecasts.add(db, made, run, issued_at=app.clock())
        found = zip((instrument.id for instrument in chunk), material.findings, strict=True)
        bars.add_findings(db, dict(found), run_id=run.id)
        seconds = (time.perf_counter() - started) / len(chunk)
        runs.add_outcomes(
            db, run, chunk, _outcomes(work, material, reasons, trained, made, seconds)
        )
        app.on_event("forecasts: commit")


def _load(app: App, run: Run, work: _Work, chunk: Sequence[Instrument]) -> _Loaded:
    with app.transaction() as db:
        panel = bars.load_panel(db, chunk, work.sessions)
        row_of = {instrument.id: row for row, instrument in enumerate(chunk)}

        def by_row(found: Mapping[int, TrainedModel]) -> dict[int, TrainedModel]:
            return {row_of[key]: model for key, model in found.items()}

        return _Loaded(
            material=prepare(chunk, panel, work.market),
            champions=by_row(models.champions(db, chunk, run.session)),
            newest=by_row(models.newest(db, chunk, ModelKind.TICKER, run.session)),
            garch=by_row(models.newest(db, chunk, ModelKind.GARCH, run.session)),
            drifted={row_of[key] for key in scores.drifted(db, chunk, run.session)},
            past=forecasts.past_quantiles(db, chunk, work.sessions[-forecasting.PAST :]),
        )


def _reasons(work: _Work, loaded: _Loaded, settings: Settings) -> dict[int, Reason]:
    """Return why to train or not to train each row that has a bar of the session."""
    present = loaded.material.features.present[:, -1]
    return {
        row: learning.decide(
            loaded.material,
            row,
            loaded.newest.get(row),
            work.base,
            settings,
            drifted=row in loaded.drifted,
            force=work.retrain,
        )
        for row in np.flatnonzero(present).tolist()
    }


def _differs(loaded: _Loaded, row: int, model: TrainedModel) -> bool:
    """Tell whether `model` is another one than the row's model in use."""
    champion = loaded.champions.get(row)
    return champion is None or champion.id != model.id


def _used(
    work: _Work,
    loaded: _Loaded,
    trained: Mapping[int, TrainedModel],
    ids: Mapping[int, int | None],
) -> dict[int, TrainedModel]:
    """Return the model each row with a bar is forecast with: its own, or the base."""
    used = {}
    for row in np.flatnonzero(loaded.material.features.present[:, -1]).tolist():
        own, new = loaded.champions.get(row), trained.get(row)
        if new is not None and new.verdict is Verdict.PROMOTED:
            used[row] = replace(new, id=ids[row])
        elif new is not None and new.verdict is Verdict.BASE_KEPT and work.base is not None:
            used[row] = work.base
        elif own is not None and (own.kind is ModelKind.TICKER or work.base is None):
            used[row] = own
        elif work.base is not None:
            used[row] = work.base
    return used


def _fit_garches(
    material: Material, loaded: _Loaded, reasons: Mapping[int, Reason], settings: Settings
) -> dict[int, TrainedModel]:
    """Fit GARCH where its parameters are missing or as old as a model that is retrained."""
    fitted = {}
    for row in reasons:
        last = loaded.garch.get(row)
        if last is not None:
            age = int(np.sum(material.panel.sessions > np.datetime64(last.last_session)))
            if age < settings.retrain_after_sessions:
                continue
        returns = material.features.returns[row, -settings.model.history_sessions :]
        parameters = garch.fit_garch(returns)
        if parameters is not None:
            fitted[row] = learning.garch_model(material, row, parameters, settings)
    return fitted


def _forecasts(
    work: _Work,
    loaded: _Loaded,
    used: Mapping[int, TrainedModel],
    garches: Mapping[int, TrainedModel],
    settings: Settings,
) -> list[Forecast]:
    material = loaded.material
    parameters = np.full((len(material.instruments), len(garch.PARAMETERS)), np.nan)
    for row, model in garches.items():
        parameters[row] = model.weights["parameters"]
    others = forecasting.baseline_quantiles(material, parameters)
    lstm = None
    if work.base is not None:
        lstm = forecasting.lstm_quantiles(material, used, work.base, loaded.past, settings.model)
    target = work.calendar.next(material.origin)
    targets = {material.origin: (target, work.calendar.deadline(target))}
    return forecasting.forecasts(material, used, lstm, others, targets)


def _outcomes(
    work: _Work,
    material: Material,
    reasons: Mapping[int, Reason],
    trained: Mapping[int, TrainedModel],
    made: Sequence[Forecast],
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
            outcomes.append(work.problems.get(instrument.id, missing))
            continue
        reason, message = reasons[row], ""
        if row in trained:
            action, message = Action.TRAINED, _what_came_of(trained[row])
        elif instrument.id not in by_lstm:
            action = Action.NAIVE
        else:
            action = Action.REUSED if reason is Reason.FRESH else Action.BASE
        if reason in learning.TRAIN and row not in trained:
            reason, message = Reason.DIVERGED, f"training ({reason}) found no finite loss"
        if reason is Reason.SHORT_HISTORY:
            known = int(material.features.present[row].sum())
            message = f"{known} bars are too few for a model of its own"
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


def _what_came_of(model: TrainedModel) -> str:
    stopped = f"epoch {model.best_epoch} of {len(model.validation_loss)} was best"
    if model.comparison is None:
        return f"{stopped}; {model.verdict}"
    gain = 100 * model.comparison.gain / model.comparison.base_loss
    error = 100 * model.comparison.gain_error / model.comparison.base_loss
    return f"{stopped}; {gain:+.2f} ± {error:.2f} % against the base: {model.verdict}"
