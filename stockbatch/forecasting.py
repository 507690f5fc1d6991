"""Train or reuse, fit, forecast: pure functions of bars, models and settings."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockbatch import baselines, features, inference, quality
from stockbatch.adjustments import overnight_gaps, total_log_returns
from stockbatch.config import ModelSettings, Settings
from stockbatch.features import FEATURE_VERSION, Features
from stockbatch.inference import Fitted
from stockbatch.records import (
    Finding,
    Floats,
    Forecast,
    Instrument,
    Method,
    Panel,
    Reason,
    TrainedModel,
)
from stockbatch.sessions import as_date

TRAIN = frozenset(
    {
        Reason.NO_MODEL,
        Reason.FORCED,
        Reason.CONFIGURATION_CHANGED,
        Reason.HISTORY_RESTATED,
        Reason.EXPIRED,
    }
)
"""Answers of `decide` that ask for training."""
LIBRARIES = ("keras", "numpy", "stockbatch")


Fit = Callable[..., Fitted]
"""`lstm.fit`, here or in another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Bars of a batch of tickers with all that follows from them, the origin session last."""

    instruments: tuple[Instrument, ...]
    panel: Panel
    features: Features
    findings: tuple[tuple[Finding, ...], ...]
    """What was found in the returns, one tuple per ticker."""

    @property
    def origin(self) -> date:
        """Return the session forecast from."""
        return as_date(self.panel.sessions[-1])


def sessions_needed(settings: Settings) -> int:
    """Return how many sessions a panel must hold to judge, train and use a model.

    Those it is trained on, those their features look back on, and those by which a model in use
    may have aged.
    """
    return settings.model.history_sessions + features.REACH + settings.retrain_after_sessions


def prepare(instruments: Sequence[Instrument], panel: Panel) -> Material:
    """Derive returns, masks and features from a panel that ends at the origin."""
    returns, gaps = total_log_returns(panel), overnight_gaps(panel)
    return Material(
        instruments=tuple(instruments),
        panel=panel,
        features=features.compute(panel, quality.jumps(returns, gaps)),
        findings=quality.jump_findings(returns, gaps, panel.sessions),
    )


def configuration(settings: Settings) -> str:
    """Return the SHA-256 of all that, when it changes, makes a model unusable."""
    return hashlib.sha256(f"{settings.engine_hash()} {FEATURE_VERSION}".encode()).hexdigest()


def fingerprint(panel: Panel, row: int, first: date, last: date) -> str:
    """Return the SHA-256 of one ticker's bars and actions from `first` until before `last`.

    The bar of `last` is left out: it may have been provisional when the model was trained, and
    confirming it restates no history.
    """
    inside = (panel.sessions >= np.datetime64(first)) & (panel.sessions < np.datetime64(last))
    columns = (panel.open, panel.high, panel.low, panel.close, panel.split, panel.dividend)
    digest = hashlib.sha256(f"{first} {last}".encode())
    for column in columns:
        digest.update(np.ascontiguousarray(column[row, inside]).tobytes())
    return digest.hexdigest()


def decide(
    material: Material,
    row: int,
    champion: TrainedModel | None,
    settings: Settings,
    *,
    force: bool = False,
) -> Reason:
    """Return why the ticker in `row` must be trained, FRESH if it need not, or SHORT_HISTORY.

    A history is short, too, where the last sessions say nothing of the volatility.
    """
    known = int(material.features.present[row, -settings.model.history_sessions :].sum())
    if known < settings.model.minimum_history or np.isnan(material.features.scale[row, -1]):
        return Reason.SHORT_HISTORY
    if champion is None:
        return Reason.NO_MODEL
    if force:
        return Reason.FORCED
    if champion.configuration != configuration(settings):
        return Reason.CONFIGURATION_CHANGED
    age = int(np.sum(material.panel.sessions > np.datetime64(champion.last_session)))
    if age >= settings.retrain_after_sessions:
        return Reason.EXPIRED
    span = champion.first_session, champion.last_session
    if champion.fingerprint != fingerprint(material.panel, row, *span):
        return Reason.HISTORY_RESTATED
    return Reason.FRESH


def train(
    material: Material,
    reasons: Mapping[int, Reason],
    settings: Settings,
    fit: Fit,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, TrainedModel]:
    """Fit the tickers in the rows of `reasons`; return the new model by row.

    A ticker whose loss never became a number has no model in the answer.
    """
    if not reasons:
        return {}
    rows = np.array(list(reasons))
    history = slice(-settings.model.history_sessions, None)
    targets = features.targets(material.features)[rows, history]
    fitting, held_out = split(targets, settings.model)
    fitted = fit(
        material.features.inputs[rows, history],
        targets,
        fitting,
        held_out,
        np.array([seed(material, row, settings) for row in rows], dtype=np.uint64),
        settings.model,
        progress=progress,
    )
    models = {}
    for position, row in enumerate(rows.tolist()):
        curve = fitted.validation_loss[position]
        if np.isfinite(curve).any():
            models[row] = _model(material, row, reasons[row], settings, fitted, position)
    return models


def split(targets: Floats, settings: ModelSettings) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which steps of `targets` (T, S) are fitted and which stop the fit.

    A step belongs to the side its target session, the one after it, is on; the cut is the same
    session for every ticker.
    """
    steps = targets.shape[1]
    cut = steps - round(steps * settings.validation_share)
    held_out = np.arange(steps) + 1 >= cut
    known = np.isfinite(targets)
    return known & ~held_out, known & held_out


def seed(material: Material, row: int, settings: Settings) -> int:
    """Return the seed of one ticker's fit: it depends on the ticker and the origin alone."""
    text = f"{settings.model.seed} {material.panel.tickers[row]} {material.origin}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _model(
    material: Material, row: int, reason: Reason, settings: Settings, fitted: Fitted, position: int
) -> TrainedModel:
    reach = settings.model.history_sessions + features.REACH
    first = as_date(material.panel.sessions[-reach:][0])
    ran = np.isfinite(fitted.validation_loss[position])
    return TrainedModel(
        ticker=material.panel.tickers[row],
        first_session=first,
        last_session=material.origin,
        fingerprint=fingerprint(material.panel, row, first, material.origin),
        configuration=configuration(settings),
        parameters=settings.model.model_dump(mode="json"),
        seed=settings.model.seed,
        weights={name: array[position] for name, array in fitted.weights.items()},
        best_epoch=int(fitted.best_epoch[position]),
        training_loss=tuple(fitted.training_loss[position, ran].tolist()),
        validation_loss=tuple(fitted.validation_loss[position, ran].tolist()),
        libraries={name: version(name) for name in LIBRARIES},
        reason=reason,
    )


def forecast(
    material: Material,
    models: Mapping[int, TrainedModel],
    settings: Settings,
    *,
    target: date,
    deadline: datetime,
) -> list[Forecast]:
    """Forecast the next session of every ticker that has a bar of the origin.

    All get the baselines; those with a model of these settings, given by row, the LSTM's forecast
    as well.
    """
    common = {"origin_session": material.origin, "target_session": target, "deadline_at": deadline}
    rows = np.flatnonzero(material.features.present[:, -1]).tolist()
    answer = [_naive(material, row, common) for row in rows]
    rolling = baselines.rolling_quantiles(material.features.returns)
    window = material.features.returns[:, -baselines.WINDOW :]
    for row in rows:
        if np.isfinite(rolling[row]).all():
            depends_on: tuple[str | bytes, ...] = (window[row].tobytes(),)
            answer.append(
                _probable(material, row, Method.ROLLING_QUANTILE, rolling[row], depends_on, common)
            )
    usable = configuration(settings)
    chosen = {
        row: models[row] for row in rows if row in models and models[row].configuration == usable
    }
    for row, quantiles in _lstm_quantiles(material, chosen, settings).items():
        model = chosen[row]
        steps = material.features.inputs[row, -settings.model.lookback - 1 :]
        scale = material.features.scale[row, -1]
        depends_on = (model.fingerprint, model.configuration, steps.tobytes(), scale.tobytes())
        answer.append(_probable(material, row, Method.LSTM, quantiles, depends_on, common))
    return answer


def _lstm_quantiles(
    material: Material, models: Mapping[int, TrainedModel], settings: Settings
) -> dict[int, Floats]:
    """Return the quantiles of the next log return, of shape (9,), by row."""
    if not models:
        return {}
    rows = np.array(list(models))
    weights = inference.stack([model.weights for model in models.values()])
    steps = material.features.inputs[rows, None, -settings.model.lookback - 1 :]
    scaled = inference.quantiles(weights, steps)[:, 0].astype(np.float64)
    quantiles = scaled * material.features.scale[rows, -1, None]
    usable = np.isfinite(quantiles).all(axis=1)
    return dict(zip(rows[usable].tolist(), quantiles[usable], strict=True))


def _naive(material: Material, row: int, common: Mapping[str, Any]) -> Forecast:
    close = float(material.panel.close[row, -1])
    return Forecast(
        instrument_id=material.instruments[row].id,
        method=Method.NAIVE,
        origin_close=close,
        close=close,
        log_return=0.0,
        quantiles=None,
        probability_of_rise=None,
        fingerprint=_forecast_fingerprint(material, row),
        **common,
    )


def _probable(
    material: Material,
    row: int,
    method: Method,
    quantiles: Floats,
    depends_on: Sequence[str | bytes],
    common: Mapping[str, Any],
) -> Forecast:
    """Return the forecast whose point is the median of `quantiles`, of shape (9,)."""
    origin_close = float(material.panel.close[row, -1])
    median = float(quantiles[len(quantiles) // 2])
    return Forecast(
        instrument_id=material.instruments[row].id,
        method=method,
        origin_close=origin_close,
        close=origin_close * float(np.exp(median)),
        log_return=median,
        quantiles=tuple(quantiles.tolist()),
        probability_of_rise=float(baselines.probability_of_rise(quantiles)),
        fingerprint=_forecast_fingerprint(material, row, *depends_on),
        **common,
    )


def _forecast_fingerprint(material: Material, row: int, *depends_on: str | bytes) -> str:
    close = material.panel.close[row, -1]
    digest = hashlib.sha256(f"{material.origin} {close!r}".encode())
    for item in depends_on:
        digest.update(item.encode() if isinstance(item, str) else item)
    return digest.hexdigest()
