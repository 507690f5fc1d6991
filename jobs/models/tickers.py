"""Train or reuse the models of one chunk of tickers: shared by the daily run and the backtest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import numpy as np
from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch.config import Settings
from stockbatch.engine import learning
from stockbatch.engine.material import Material, prepare
from stockbatch.exceptions import TrainingOverdue
from stockbatch.methods import garch
from stockbatch.records import (
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
from stockbatch.store import bars, models, promotions, scores

ISOLATING_TRY = 3
"""From this try of a run on, what fails again is left out rather than failing the run."""
Models = Mapping[int, TrainedModel]
"""By row of a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What all chunks of one origin have in common; `sessions` end at the origin."""

    sessions: Sessions
    market: Market
    base: TrainedModel | None
    demo: bool
    train_until: datetime | None = None
    """When the forecasts are due, so that models in use have to do; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One chunk of tickers as loaded: its material, and by row what was trained before."""

    material: Material
    champions: Models
    newest: Models
    garch: Models
    drifted: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What training made of a chunk, by row."""

    reasons: Mapping[int, Reason]
    """Of every row with a bar of the origin."""
    new: Models
    garch: Models
    """Newly fitted."""


def load(app: App, around: Around, tickers: Sequence[Instrument]) -> Chunk:
    """Load a chunk as it stood at the origin."""
    row_of = {instrument.id: row for row, instrument in enumerate(tickers)}

    def by_row(found: Models) -> dict[int, TrainedModel]:
        return {row_of[key]: model for key, model in found.items()}

    origin = around.sessions[-1].item()
    with app.transaction() as db:
        return Chunk(
            material=prepare(tickers, bars.load_panel(db, tickers, around.sessions), around.market),
            champions=by_row(models.champions(db, tickers, origin)),
            newest=by_row(models.newest(db, tickers, ModelKind.TICKER, origin)),
            garch=by_row(models.newest(db, tickers, ModelKind.GARCH, origin)),
            drifted=frozenset(row_of[key] for key in scores.drifted(db, tickers, origin)),
        )


def train(
    app: App, around: Around, chunk: Chunk, *, force: bool, instead: Reason | None = None
) -> Trained:
    """Train what is due, the LSTM from its base and GARCH from nothing.

    With `instead` nothing is trained, and that is the reason of what would have been; the reason
    is `deadline` where training is not done in time.
    """
    material = chunk.material
    reasons = {
        row: learning.decide(
            material,
            row,
            chunk.newest.get(row),
            around.base,
            app.settings,
            drifted=row in chunk.drifted,
            force=force,
        )
        for row in np.flatnonzero(material.features.present[:, -1]).tolist()
    }
    due = {row: reason for row, reason in reasons.items() if reason in learning.TRAIN}
    new: Models = {}
    garches: Models = {}
    overdue = partial(is_overdue, app, around.train_until)
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
            garches = _fit_garches(material, chunk.garch, reasons, app.settings)
        except TrainingOverdue:
            instead = Reason.DEADLINE
    if instead is not None:
        reasons |= dict.fromkeys(due, instead)
    return Trained(reasons=reasons, new=new, garch=garches)


def is_overdue(app: App, train_until: datetime | None) -> bool:
    """Tell whether the forecasts are due, so that training has to end."""
    return train_until is not None and app.clock() >= train_until


def save(
    db: Session,
    run: Run,
    around: Around,
    tickers: Sequence[Instrument],
    chunk: Chunk,
    trained: Trained,
) -> dict[int, TrainedModel]:
    """Store and promote what was trained; return the model in use, with its id, by row."""
    id_of = {row: instrument.id for row, instrument in enumerate(tickers)}
    ids = models.add(db, {id_of[r]: m for r, m in trained.new.items()}, run, demo=around.demo)
    models.add(db, {id_of[r]: m for r, m in trained.garch.items()}, run, demo=around.demo)
    stored = {row: replace(m, id=ids[id_of[row]]) for row, m in trained.new.items()}
    used = {}
    for row in trained.reasons:
        model = _choose(stored.get(row), chunk.champions.get(row), around.base)
        if model is not None:
            used[row] = model
    changed = {
        row: model.id
        for row, model in used.items()
        if model.id is not None and _id(chunk.champions.get(row)) != model.id
    }
    promotions.add(
        db,
        {id_of[row]: model_id for row, model_id in changed.items()},
        run.session,
        {id_of[row]: trained.reasons[row] for row in changed},
    )
    return used


def garch_parameters(chunk: Chunk, trained: Trained) -> Floats:
    """Return the parameters to filter with, of shape (tickers, 5), NaN where there are none."""
    count = len(chunk.material.instruments)
    parameters = np.full((count, len(garch.PARAMETERS)), np.nan)
    for row, model in {**chunk.garch, **trained.garch}.items():
        parameters[row] = model.weights["parameters"]
    return parameters


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


def _id(model: TrainedModel | None) -> int | None:
    return None if model is None else model.id


def _fit_garches(
    material: Material, known: Models, reasons: Mapping[int, Reason], settings: Settings
) -> dict[int, TrainedModel]:
    """Fit GARCH where its parameters are missing or as old as a model that is retrained."""
    fitted = {}
    for row in reasons:
        last = known.get(row)
        if last is not None:
            age = int(np.sum(material.panel.sessions > np.datetime64(last.last_session)))
            if age < settings.retrain_after_sessions:
                continue
        returns = material.features.returns[row, -settings.model.history_sessions :]
        parameters = garch.fit_garch(returns)
        if parameters is not None:
            fitted[row] = learning.garch_model(material, row, parameters, settings)
    return fitted
