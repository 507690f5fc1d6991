"""Train or reuse the models of one chunk of tickers: shared by the daily run and the backtest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import numpy as np
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.isolation import told
from stockbatch.config import Settings
from stockbatch.engine import learning
from stockbatch.engine.material import Material, prepare
from stockbatch.exceptions import TrainingOverdue
from stockbatch.market import sessions as trading
from stockbatch.methods import fitting, registry
from stockbatch.methods.base import Given, Parameters, Scope
from stockbatch.records import (
    Crowd,
    Floats,
    Instrument,
    Market,
    ModelKind,
    Reason,
    Run,
    Sessions,
    TrainedModel,
    Verdict,
)
from stockbatch.store import bars, events, models, news, promotions, scores, stated
from stockbatch.store.stated import Measure

LAST_TRY = 3
"""From this try of a run on, what fails for all tickers is done without, and the run ends."""
Models = Mapping[int, TrainedModel]
"""By row of a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What all chunks of one origin have in common; `sessions` end at the origin."""

    sessions: Sessions
    market: Market
    base: TrainedModel | None
    demo: bool
    pooled: Mapping[str, TrainedModel] = field(default_factory=dict)
    """By method, what was fitted to all tickers of the calendar together."""
    crowds: Mapping[str, Crowd | None] = field(default_factory=dict)
    """By method, what the past intervals of all tickers teach the next ones."""
    train_until: datetime | None = None
    """When the forecasts are due, so that models in use have to do; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One chunk of tickers as loaded: its material, and by row what was trained before."""

    material: Material
    champions: Models
    newest: Models
    fitted: Mapping[str, Models]
    """By method that is fitted to each ticker."""
    past: Mapping[str, Floats]
    """By method, the uncalibrated quantiles of the target sessions asked for."""
    drifted: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What training made of a chunk, by row."""

    reasons: Mapping[int, Reason]
    """Of every row with a bar of the origin."""
    new: Models
    used: Models
    """The networks to forecast with, those that are new without their ids."""
    fitted: Mapping[str, Models]
    """By method, what was fitted just now."""
    unfit: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """By method and row, why there is no fit: then one from before serves no more either."""


def load_material(
    app: App, run: Run, tickers: Sequence[Instrument], sessions: Sessions, market: Market
) -> Material:
    """Load bars and what was known of reports and news, as the run knew it, where it is one."""
    # By the sessions, not by the clock: that may have been set back meanwhile.
    calendar = trading.load(run.calendar, trading.as_date(sessions[-1]))
    with app.transaction() as db:
        panel = bars.load_panel(db, tickers, sessions)
        reports = events.load_reports(
            db,
            tickers,
            sessions,
            calendar,
            app.settings.events_assumed_sessions,
            as_run=run.id is not None,
        )
        items = None
        if app.settings.model.news:
            items = news.load(db, tickers, sessions, calendar, as_run=run.id is not None)
    return prepare(tickers, panel, market, reports, items)


def take_in_stated(app: App, db: Session, calendar: str) -> None:
    """Take in what was forecast since, before chunks of the calendar are loaded."""
    for name in registry.needed_past(app.settings.model.network):
        stated.update(db, calendar, name, Measure.QUANTILES)


def load(
    app: App, run: Run, around: Around, tickers: Sequence[Instrument], targets: Sessions
) -> Chunk:
    """Load a chunk as it stood at the origin, with what was forecast for `targets`.

    The latter as of the last `take_in_stated`.
    """
    row_of = {instrument.id: row for row, instrument in enumerate(tickers)}
    origin = around.sessions[-1].item()
    network = app.settings.model.network
    fitted = [network, *registry.fitted_to(Scope.TICKER)]
    with app.transaction() as db:
        champions = models.champions(db, tickers, network, origin)
        newest = {
            name: models.newest(db, tickers, name, ModelKind.TICKER, origin) for name in fitted
        }
        past = {
            name: stated.quantiles(db, tickers, targets, name)
            for name in registry.needed_past(network)
        }
        drifted = scores.drifted(db, tickers, network, origin)

    def by_row(found: Mapping[int, TrainedModel]) -> Models:
        return {row_of[id_]: model for id_, model in found.items()}

    return Chunk(
        material=load_material(app, run, tickers, around.sessions, around.market),
        champions=by_row(champions),
        newest=by_row(newest.pop(network)),
        fitted={name: by_row(found) for name, found in newest.items()},
        past=past,
        drifted=frozenset(row_of[id_] for id_ in drifted),
    )


def train(
    app: App, around: Around, chunk: Chunk, *, force: bool, instead: Reason | None = None
) -> Trained:
    """Train what is due: the network from its base, what other methods fit from nothing.

    With `instead` nothing is trained, and that is the reason of what would have been; the reason
    is `deadline` where training is not done in time, and `failed` where the base is one of other
    settings, because it could not be trained again.
    """
    material = chunk.material
    reasons = _reasons(app, around, chunk, force=force)
    due = {row: reason for row, reason in reasons.items() if reason in learning.TRAIN}
    new: Models = {}
    fitted: dict[str, Models] = {}
    unfit: dict[str, Mapping[int, str]] = {}
    overdue = partial(is_overdue, app, around.train_until)
    if around.base and around.base.configuration != learning.configuration(app.settings):
        instead = instead or Reason.FAILED
    if overdue():
        instead = instead or Reason.DEADLINE
    if instead is None:
        try:
            if around.base is not None:
                new = learning.train(
                    material,
                    due,
                    chunk.champions,
                    around.base,
                    app.settings,
                    app.trainer,
                    overdue=overdue,
                )
            for name, known in chunk.fitted.items():
                fitted[name], unfit[name] = _fit(name, material, known, reasons, app.settings)
        # What chunks before have trained is committed; this one goes on with the models in use.
        except TrainingOverdue:
            instead = Reason.DEADLINE
    if instead is not None:
        reasons |= dict.fromkeys(due, instead)
    chosen = {row: _choose(new.get(row), chunk.champions.get(row), around.base) for row in reasons}
    used = {row: model for row, model in chosen.items() if model is not None}
    return Trained(reasons=reasons, new=new, used=used, fitted=fitted, unfit=unfit)


def _reasons(app: App, around: Around, chunk: Chunk, *, force: bool) -> dict[int, Reason]:
    """Return why each ticker is trained or is not, by row; without a bar it is neither."""
    return {
        row: learning.decide(
            chunk.material,
            row,
            chunk.newest.get(row),
            around.base,
            app.settings,
            drifted=row in chunk.drifted,
            force=force,
        )
        for row in np.flatnonzero(chunk.material.features.present[:, -1]).tolist()
    }


def is_overdue(app: App, train_until: datetime | None) -> bool:
    """Tell whether the forecasts are due, so that training has to end."""
    return train_until is not None and app.clock() >= train_until


def given(
    app: App,
    around: Around,
    trained: Trained,
    material: Material,
    past: Mapping[str, Floats],
    origins: int = 1,
) -> Given:
    """Return what the methods forecast from; `past` ends before the first origin's target."""
    return Given(
        material=material,
        settings=app.settings.model,
        origins=origins,
        past=past,
        models=trained.used,
        base=around.base,
    )


def parameters(around: Around, chunk: Chunk, trained: Trained) -> dict[str, dict[int, Parameters]]:
    """Return what every method was fitted to, by row: its newest fit, or its calendar's."""
    rows = range(len(chunk.material.instruments))
    of_calendar = {
        name: dict.fromkeys(rows, model.weights) for name, model in around.pooled.items()
    }
    of_tickers = {
        name: {
            row: one.weights
            for row, one in {**known, **trained.fitted.get(name, {})}.items()
            if row not in trained.unfit.get(name, {})
        }
        for name, known in chunk.fitted.items()
    }
    return of_calendar | of_tickers


def save(
    db: Session,
    run: Run,
    around: Around,
    tickers: Sequence[Instrument],
    chunk: Chunk,
    trained: Trained,
) -> dict[int, int]:
    """Store and promote what was trained; return the ids of the models in use, by instrument."""
    id_of = [instrument.id for instrument in tickers]

    def stored(by_row: Models) -> dict[int, int]:
        of = {id_of[row]: model for row, model in by_row.items()}
        return models.add(db, of, run, demo=around.demo)

    # Parameters of other methods are stored like models, but nothing puts them into use: the newest
    # serve.
    for fitted in trained.fitted.values():
        stored(fitted)
    new = stored(trained.new)
    in_use: dict[int, int] = {}
    changed: dict[int, int] = {}
    for row, model in trained.used.items():
        model_id = new[id_of[row]] if model.id is None else model.id
        in_use[id_of[row]] = model_id
        champion = chunk.champions.get(row)
        if champion is None or champion.id != model_id:
            changed[row] = model_id
    promotions.put_into_use(
        db,
        {id_of[row]: model_id for row, model_id in changed.items()},
        run.session,
        {id_of[row]: trained.reasons[row] for row in changed},
    )
    return in_use


def _choose(
    new: TrainedModel | None, champion: TrainedModel | None, base: TrainedModel | None
) -> TrainedModel | None:
    """Return the model to use: the new one if it was promoted, else its own before, else the base.

    A new model that did not beat its base sends the ticker back to the base; so does a change of
    settings, because another network cannot be stacked with the others.
    """
    if new is not None and new.verdict is Verdict.PROMOTED:
        return new
    if base is None:
        return champion
    if champion is None or champion.kind is not ModelKind.TICKER:
        return base
    sent_back = new is not None and new.verdict is Verdict.BASE_KEPT
    return base if sent_back or champion.configuration != base.configuration else champion


def _fit(
    name: str, material: Material, known: Models, rows: Iterable[int], settings: Settings
) -> tuple[Models, Mapping[int, str]]:
    """Fit a method where its parameters are missing or as old as a model that is retrained.

    Return the fits by row, and why others have none.
    """
    method = registry.methods()[name]
    sessions, after = material.panel.sessions, settings.retrain_after_sessions
    fits: dict[int, TrainedModel] = {}
    unfit: dict[int, str] = {}
    for row in rows:
        if row in known and known[row].age(sessions) < after:
            continue
        try:
            model = fitting.of_ticker(method, material, row, settings)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an optimizer makes of odd returns
            unfit[row] = told(error)
        else:
            if model is not None:
                fits[row] = model
    return fits, unfit
