"""Fit the base model and the tickers' own models."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib import metadata

import numpy as np

from stockbatch.config import Settings
from stockbatch.engine import features, inference, trust
from stockbatch.engine.learning.comparison import compare, judge, losses
from stockbatch.engine.learning.decisions import configuration
from stockbatch.engine.learning.splits import Splits, split
from stockbatch.engine.material import Material, fingerprint, first_session
from stockbatch.engine.network import NETWORKS, network_of
from stockbatch.engine.seeds import seed
from stockbatch.engine.training import Fitted, OnEpoch, Overdue, Trainer, TrainingData
from stockbatch.engine.weights import Singles
from stockbatch.records import Floats, ModelKind, Reason, TrainedModel

INCOMPARABLE = frozenset(
    {Reason.CONFIGURATION_CHANGED, Reason.HISTORY_RESTATED, Reason.BASE_CHANGED, Reason.NO_MODEL}
)
"""Reasons after which the champion before is no measure of the model just trained."""
LIBRARIES = ("keras", "numpy", "stockbatch")
version = cache(metadata.version)
"""Looking it up takes milliseconds, and every model of a night states some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """What is learned from: the newest sessions of some tickers, arrays (tickers, sessions, …)."""

    inputs: Singles
    targets: Floats
    steps: Splits

    def data(self, names: Sequence[str], origin: date, settings: Settings) -> TrainingData:
        """Return what a trainer is given, with a seed for each of `names`."""
        return TrainingData(
            inputs=self.inputs,
            targets=self.targets,
            train=self.steps.fitting,
            validation=self.steps.stopping,
            seeds=np.array([seed(name, origin, settings) for name in names], np.uint64),
        )

    def losses(self, weights: Mapping[str, Singles], settings: Settings) -> Floats:
        """Return the losses (tickers, comparison sessions) of a stack on what compares."""
        return losses(weights, self.inputs, self.targets, self.steps.comparing, settings.model)

    def mean_loss(self, position: int, model: TrainedModel, settings: Settings) -> float:
        """Return the mean loss of one ticker's `model` on what compares."""
        one = slice(position, position + 1)
        own = losses(
            inference.stack([model.weights]),
            self.inputs[one],
            self.targets[one],
            self.steps.comparing[one],
            settings.model,
        )
        return float(np.nanmean(own))


def train_base(
    materials: Sequence[Material],
    reason: Reason,
    settings: Settings,
    trainer: Trainer,
    *,
    on_epoch: OnEpoch | None = None,
    overdue: Overdue | None = None,
) -> TrainedModel | None:
    """Fit one network on all tickers with enough history; None where there is nothing to fit.

    Raises what `Trainer.fit_pooled` raises.
    """
    newest = slice(-settings.model.history_sessions, None)
    inputs, targets, prints, firsts = [], [], [], []
    for material in materials:
        # Short histories would fill the pool with windows that are mostly padding.
        rows = material.features.present[:, newest].sum(axis=1) >= settings.model.minimum_history
        inputs.append(material.features.inputs[rows, newest])
        targets.append(features.targets(material.features)[rows, newest])
        learned = np.flatnonzero(rows).tolist()
        prints += [_fingerprint(material, row, settings) for row in learned]
        firsts += [first_session(material, settings, learned)] if learned else []
    if not prints:
        return None
    history = _history(materials[0], np.concatenate(inputs), np.concatenate(targets), settings)
    data = history.data(["base"], materials[0].origin, settings)
    network = NETWORKS[settings.model.network]
    fitted = trainer.fit_pooled(network, data, settings.model, on_epoch=on_epoch, overdue=overdue)
    # A base that never had a loss is worse than the one before, or than none.
    if not np.isfinite(fitted.validation_loss).any():
        return None
    model = _model(ModelKind.BASE, None, materials[0], reason, settings, fitted, 0)
    # Forecasts tell how far their inputs are from these, whichever model they come from.
    seen = trust.moments(history.inputs[history.steps.fitting])
    return replace(
        model,
        first_session=min(firsts),
        fingerprint=hashlib.sha256("".join(prints).encode()).hexdigest(),
        tickers=len(prints),
        weights={**model.weights, **seen},
    )


def train(
    material: Material,
    reasons: Mapping[int, Reason],
    champions: Mapping[int, TrainedModel],
    base: TrainedModel,
    settings: Settings,
    trainer: Trainer,
    *,
    overdue: Overdue | None = None,
) -> dict[int, TrainedModel]:
    """Fine-tune the tickers in the rows of `reasons` from the base; return the new model by row.

    Each is compared, on sessions neither has learned from, with the base and with the ticker's own
    model in use, if any; its verdict says which is to be used. A ticker whose loss never became a
    number has no model in the answer. Raises what `Trainer.fit` raises.
    """
    if not reasons:
        return {}
    rows = list(reasons)
    newest = slice(-settings.model.history_sessions, None)
    history = _history(
        material,
        material.features.inputs[rows, newest],
        features.targets(material.features)[rows, newest],
        settings,
    )
    # Every ticker starts from the base, and is anchored to it.
    start = inference.stack([base.weights] * len(rows))
    fitted = trainer.fit(
        network_of(start),
        history.data([material.panel.tickers[row] for row in rows], material.origin, settings),
        settings.model,
        initial=start,
        overdue=overdue,
    )
    own_losses = history.losses(fitted.weights, settings)
    base_losses = history.losses(start, settings)
    models = {}
    for position, (row, reason) in enumerate(reasons.items()):
        if not np.isfinite(fitted.validation_loss[position]).any():
            continue
        champion_loss = None
        if (champion := _comparable(champions.get(row), reason)) is not None:
            champion_loss = history.mean_loss(position, champion, settings)
        comparison = compare(own_losses[position], base_losses[position], champion_loss)
        model = _model(ModelKind.TICKER, row, material, reason, settings, fitted, position)
        models[row] = replace(
            model, comparison=comparison, verdict=judge(comparison), parent_id=base.id
        )
    return models


def _comparable(champion: TrainedModel | None, reason: Reason) -> TrainedModel | None:
    """Return the ticker's own model in use, where it is a measure of one trained for a reason."""
    # A ticker that uses its base has no champion of its own: the base is compared anyway.
    own = champion is not None and champion.kind is ModelKind.TICKER
    return champion if own and reason not in INCOMPARABLE else None


def _history(material: Material, inputs: Singles, targets: Floats, settings: Settings) -> _History:
    """Split series that end with `material` into what is fitted, what stops and what compares."""
    sessions = material.panel.sessions[-settings.model.history_sessions :]
    steps = split(targets, sessions, settings.model)
    return _History(inputs=inputs, targets=targets, steps=steps)


def _fingerprint(material: Material, row: int, settings: Settings) -> str:
    first = first_session(material, settings, [row])
    return fingerprint(material.panel, row, first, material.origin)


def _model(
    kind: ModelKind,
    row: int | None,
    material: Material,
    reason: Reason,
    settings: Settings,
    fitted: Fitted,
    position: int,
) -> TrainedModel:
    rows = range(len(material.instruments)) if row is None else [row]
    ran = np.isfinite(fitted.validation_loss[position])  # epochs before the ticker stopped
    return TrainedModel(
        method=settings.model.network,
        kind=kind,
        ticker=None if row is None else material.panel.tickers[row],
        first_session=first_session(material, settings, rows),
        last_session=material.origin,
        fingerprint="" if row is None else _fingerprint(material, row, settings),
        configuration=configuration(settings),
        parameters=settings.model.model_dump(mode="json"),
        seed=settings.model.seed,
        weights={name: array[position] for name, array in fitted.weights.items()},
        best_epoch=int(fitted.best_epoch[position]),
        training_loss=tuple(fitted.training_loss[position, ran].tolist()),
        validation_loss=tuple(fitted.validation_loss[position, ran].tolist()),
        initial_loss=float(fitted.initial_loss[position]),
        libraries={name: version(name) for name in LIBRARIES},
        reason=reason,
    )
