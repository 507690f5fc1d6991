"""Train or reuse: the base model, the tickers' own models, and the choice between them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import ModelSettings, Settings
from stockbatch.engine import features, inference, trust
from stockbatch.engine.features import FEATURE_VERSION
from stockbatch.engine.inference import Fitted, Progress
from stockbatch.engine.material import Material, fingerprint, first_session
from stockbatch.records import (
    QUANTILES,
    Comparison,
    Floats,
    ModelKind,
    Reason,
    Sessions,
    TrainedModel,
    Verdict,
)

Fit = Callable[..., Fitted]
"""`lstm.fit` or `lstm.fit_pooled`, here or in another process."""
Bools = NDArray[np.bool_]

TRAIN = frozenset(
    {
        Reason.NO_MODEL,
        Reason.FORCED,
        Reason.CONFIGURATION_CHANGED,
        Reason.HISTORY_RESTATED,
        Reason.BASE_CHANGED,
        Reason.EXPIRED,
        Reason.DRIFT,
    }
)
"""Answers of `decide` that ask for training."""
INCOMPARABLE = frozenset(
    {Reason.CONFIGURATION_CHANGED, Reason.HISTORY_RESTATED, Reason.BASE_CHANGED, Reason.NO_MODEL}
)
"""Reasons after which the champion before is no measure of the model just trained."""
LIBRARIES = ("keras", "numpy", "stockbatch")
STOPPING_BLOCKS = 5
"""One block of sessions in so many stops the training."""
EPOCH = np.datetime64("1970-01-01")
MORE_TICKERS = 1.5
"""So many times the tickers a base was trained on call for another one."""


class Splits(NamedTuple):
    """Which steps are fitted, which stop the fit, and which choose the model, each (T, S)."""

    fitting: Bools
    stopping: Bools
    comparing: Bools


def split(targets: Floats, sessions: Sessions, settings: ModelSettings) -> Splits:
    """Split the steps (T, S) of `sessions` whose target is known.

    The newest targets compare. Of what is before, every fifth block of sessions stops the fit, so
    that calm times and wild ones both have a say in it. Blocks are the same sessions for every
    ticker, for the base and whenever a model is trained: what stops one has taught none.
    """
    steps = targets.shape[1]
    compared = np.arange(steps) + 1 >= steps - settings.comparison_sessions
    block = np.busday_count(EPOCH, sessions.astype("datetime64[D]")) // settings.stopping_sessions
    stopping = block % STOPPING_BLOCKS == 0
    known = np.isfinite(targets)
    return Splits(known & ~compared & ~stopping, known & ~compared & stopping, known & compared)


def configuration(settings: Settings) -> str:
    """Return the SHA-256 of all that, when it changes, makes a model unusable."""
    return hashlib.sha256(f"{settings.engine_hash()} {FEATURE_VERSION}".encode()).hexdigest()


def decide_base(base: TrainedModel | None, age: int, tickers: int, settings: Settings) -> Reason:
    """Return why a base model must be trained for so many `tickers`, FRESH if it need not."""
    if base is None:
        return Reason.NO_MODEL
    if base.configuration != configuration(settings):
        return Reason.CONFIGURATION_CHANGED
    if min(tickers, settings.model.base_tickers) > MORE_TICKERS * base.tickers:
        return Reason.UNIVERSE_CHANGED
    return Reason.EXPIRED if age >= settings.base_after_sessions else Reason.FRESH


def decide(
    material: Material,
    row: int,
    last: TrainedModel | None,
    base: TrainedModel | None,
    settings: Settings,
    *,
    drifted: bool = False,
    force: bool = False,
) -> Reason:
    """Return why the ticker in `row` must be trained, FRESH if it need not, or SHORT_HISTORY.

    `last` is the model trained last, whether it came into use or not: its age counts.
    """
    known = int(material.features.present[row, -settings.model.history_sessions :].sum())
    back_too_short = not np.isfinite(material.features.scale[row, -1])  # after a long suspension
    if known < settings.model.minimum_history or back_too_short:
        return Reason.SHORT_HISTORY
    if last is None:
        return Reason.NO_MODEL
    if last.configuration != configuration(settings):
        return Reason.CONFIGURATION_CHANGED
    if force:
        return Reason.FORCED
    if base is not None and last.parent_id != base.id:
        return Reason.BASE_CHANGED
    age = int(np.sum(material.panel.sessions > np.datetime64(last.last_session)))
    if age >= settings.retrain_after_sessions:
        return Reason.EXPIRED
    if last.fingerprint != fingerprint(material.panel, row, last.first_session, last.last_session):
        return Reason.HISTORY_RESTATED
    return Reason.DRIFT if drifted else Reason.FRESH


def seed(name: str, origin: date, settings: Settings) -> np.uint64:
    """Return the seed of one fit: it depends on its name and origin alone."""
    digest = hashlib.sha256(f"{settings.model.seed} {name} {origin}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "big"))


def train_base(
    materials: Sequence[Material],
    reason: Reason,
    settings: Settings,
    fit_pooled: Fit,
    progress: Progress | None = None,
) -> TrainedModel | None:
    """Fit one network on all tickers with enough history; None where there is nothing to fit."""
    history = slice(-settings.model.history_sessions, None)
    inputs, targets, prints = [], [], []
    for material in materials:
        rows = material.features.present[:, history].sum(axis=1) >= settings.model.minimum_history
        inputs.append(material.features.inputs[rows, history])
        targets.append(features.targets(material.features)[rows, history])
        prints += [_fingerprint(material, row, settings) for row in np.flatnonzero(rows).tolist()]
    if not prints:
        return None
    pooled_inputs, pooled_targets = np.concatenate(inputs), np.concatenate(targets)
    steps = split(pooled_targets, materials[0].panel.sessions[history], settings.model)
    origin = materials[0].origin
    fitted = fit_pooled(
        pooled_inputs,
        pooled_targets,
        steps.fitting,
        steps.stopping,
        np.array([seed("base", origin, settings)]),
        settings.model,
        progress=progress,
    )
    if not np.isfinite(fitted.validation_loss).any():
        return None
    model = _model(ModelKind.BASE, None, materials[0], reason, settings, fitted, 0)
    seen = trust.moments(pooled_inputs[steps.fitting])
    return replace(
        model,
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
    fit: Fit,
    progress: Progress | None = None,
) -> dict[int, TrainedModel]:
    """Fine-tune the tickers in the rows of `reasons` from the base; return the new model by row.

    Each is compared, on sessions neither has learned from, with the base and with the ticker's own
    model in use, if any; its verdict says which is to be used. A ticker whose loss never became a
    number has no model in the answer.
    """
    if not reasons:
        return {}
    rows = np.array(list(reasons))
    history = slice(-settings.model.history_sessions, None)
    targets = features.targets(material.features)[rows, history]
    inputs = material.features.inputs[rows, history]
    steps = split(targets, material.panel.sessions[history], settings.model)
    start = inference.network(base.weights)
    names = [material.panel.tickers[row] for row in rows]
    fitted = fit(
        inputs,
        targets,
        steps.fitting,
        steps.stopping,
        np.array([seed(name, material.origin, settings) for name in names], dtype=np.uint64),
        settings.model,
        initial={name: np.repeat(array[None], len(rows), 0) for name, array in start.items()},
        progress=progress,
    )
    losses = _losses(fitted.weights, inputs, targets, steps.comparing, settings.model)
    base_stack = inference.stack([start] * len(rows))
    base_losses = _losses(base_stack, inputs, targets, steps.comparing, settings.model)
    models = {}
    for position, row in enumerate(rows.tolist()):
        if not np.isfinite(fitted.validation_loss[position]).any():
            continue
        reason = reasons[row]
        champion = champions.get(row) if reason not in INCOMPARABLE else None
        champion_loss = None
        if champion is not None and champion.kind is ModelKind.TICKER:
            one = slice(position, position + 1)
            known = inputs[one], targets[one], steps.comparing[one]
            of_champion = _losses(inference.stack([champion.weights]), *known, settings.model)
            champion_loss = float(np.nanmean(of_champion))
        comparison = compare(losses[position], base_losses[position], champion_loss)
        model = _model(ModelKind.TICKER, row, material, reason, settings, fitted, position)
        models[row] = replace(
            model, comparison=comparison, verdict=_verdict(comparison), parent_id=base.id
        )
    return models


def compare(loss: Floats, base_loss: Floats, champion_loss: float | None) -> Comparison | None:
    """Compare losses of the same sessions, of shape (S,), NaN where unknown; None if all are."""
    gain = (base_loss - loss)[np.isfinite(base_loss - loss)]
    if len(gain) < 2:
        return None
    known = np.isfinite(base_loss - loss)
    return Comparison(
        loss=float(loss[known].mean()),
        base_loss=float(base_loss[known].mean()),
        champion_loss=champion_loss,
        gain_error=float(gain.std(ddof=1) / np.sqrt(len(gain))),
    )


def _verdict(comparison: Comparison | None) -> Verdict:
    """Let a ticker leave its base, and its champion, only for something better."""
    if comparison is None or not comparison.gain > comparison.gain_error:
        best, verdict = comparison.base_loss if comparison else 0.0, Verdict.BASE_KEPT
    else:
        best, verdict = comparison.loss, Verdict.PROMOTED
    if comparison and comparison.champion_loss is not None and comparison.champion_loss < best:
        return Verdict.CHAMPION_KEPT
    return verdict


def _losses(
    weights: inference.Weights,
    inputs: NDArray[np.float32],
    targets: Floats,
    wanted: Bools,
    settings: ModelSettings,
) -> Floats:
    """Return the pinball losses (T, comparison sessions) of the newest steps, NaN unless wanted."""
    count = settings.comparison_sessions
    steps = inputs[:, None, -count - settings.lookback :]
    quantiles = inference.all_quantiles(weights, steps)[:, 0, -count:]
    error = targets[:, -count:, None] - quantiles
    levels = np.array(QUANTILES)
    losses: Floats = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
    return np.where(wanted[:, -count:], losses, np.nan)


def _fingerprint(material: Material, row: int, settings: Settings) -> str:
    return fingerprint(material.panel, row, first_session(material, settings), material.origin)


def _model(
    kind: ModelKind,
    row: int | None,
    material: Material,
    reason: Reason,
    settings: Settings,
    fitted: Fitted,
    position: int,
) -> TrainedModel:
    ran = np.isfinite(fitted.validation_loss[position])
    return TrainedModel(
        kind=kind,
        ticker=None if row is None else material.panel.tickers[row],
        first_session=first_session(material, settings),
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
