"""Forecast the next session: the LSTM, calibrated and shrunk, beside its baselines."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from stockbatch.config import ModelSettings
from stockbatch.engine import inference, trust
from stockbatch.engine.material import Material
from stockbatch.market.sessions import as_date
from stockbatch.methods import baselines, calibration, garch
from stockbatch.records import QUANTILES, Floats, Forecast, Method, TrainedModel

MEDIAN = QUANTILES.index(0.5)
PAST = calibration.REACH
"""Past forecasts that calibration and shrinkage look at."""
Targets = Mapping[date, tuple[date, datetime]]
"""Target session and deadline by origin session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Quantiles of the next log return at the last origins, (tickers, origins, 9), NaN: none."""

    raw: Floats
    calibrated: Floats
    shrinkage: Floats
    """Share of the median that the point forecast keeps, (tickers, origins)."""
    dissimilarity: Floats
    """Of the inputs from those trained on, (tickers, origins)."""


def lstm_quantiles(
    material: Material,
    models: Mapping[int, TrainedModel],
    base: TrainedModel,
    past: Floats,
    settings: ModelSettings,
    origins: int = 1,
) -> Quantiles:
    """Forecast from each of the last `origins` sessions with the models given by row.

    `past` holds the raw quantiles forecast for the PAST sessions that end at the first origin, of
    shape (tickers, PAST, 9), NaN where there was none; there, forecasts for the sessions that
    a model was chosen by stand in. Nothing later than an origin is used for it.
    """
    raw = raw_quantiles(material, models, settings, origins)
    before = np.where(np.isnan(past), _validated(material, models, settings, origins), past)
    raw_by_target = np.concatenate([before, raw], axis=1)
    actual = np.full(raw_by_target.shape[:2], np.nan)
    known = material.features.returns[:, -(PAST + origins - 1) :]
    actual[:, -1 - known.shape[1] : -1] = known
    median = raw_by_target[..., MEDIAN]
    return Quantiles(
        raw=raw,
        calibrated=calibration.calibrate_by_origin(raw_by_target, actual, origins),
        shrinkage=calibration.shrinkage_by_origin(median, actual, origins),
        dissimilarity=trust.dissimilarity(base.weights, material.features.inputs[:, -origins:]),
    )


def raw_quantiles(
    material: Material, models: Mapping[int, TrainedModel], settings: ModelSettings, origins: int
) -> Floats:
    """Return the networks' quantiles of the log return after each of the last origins."""
    answer = np.full((len(material.instruments), origins, len(QUANTILES)), np.nan)
    if not models:
        return answer
    rows = np.array(list(models))
    weights = inference.stack([inference.network(model.weights) for model in models.values()])
    steps = settings.lookback + 1
    inputs = material.features.inputs[rows, -(steps + origins - 1) :]
    windows = np.lib.stride_tricks.sliding_window_view(inputs, steps, axis=1)
    scaled = inference.quantiles(weights, np.moveaxis(windows, -1, 2))
    answer[rows] = scaled * material.features.scale[rows, -origins:, None]
    answer[~material.features.present[:, -origins:]] = np.nan
    answer[~np.isfinite(answer).all(axis=-1)] = np.nan
    return answer


def _validated(
    material: Material, models: Mapping[int, TrainedModel], settings: ModelSettings, origins: int
) -> Floats:
    """Return what the models say of sessions they were not fitted on, laid out like `past`.

    Those are the sessions that chose a model; the windows end at the last session it
    learned from, whatever the origin, so that every origin sees the same.
    """
    count = settings.comparison_sessions
    sessions = len(material.panel.sessions)
    answer = np.full((len(material.instruments), PAST + sessions + 1, len(QUANTILES)), np.nan)
    by_end: dict[date, list[int]] = {}
    for row, model in models.items():
        by_end.setdefault(model.last_session, []).append(row)
    for end, rows in by_end.items():
        last = material.column(end)
        if last == 0:
            continue  # trained before the first session of the panel
        first = max(last - count, 0)
        weights = inference.stack([inference.network(models[row].weights) for row in rows])
        inputs = material.features.inputs[rows, max(first - settings.lookback, 0) : last]
        scaled = inference.all_quantiles(weights, inputs[:, None])[:, 0, first - last :]
        targets = slice(PAST + first + 1, PAST + last + 1)
        answer[rows, targets] = scaled * material.features.scale[rows, first:last, None]
    return answer[:, sessions - origins + 1 : PAST + sessions - origins + 1]


def baseline_quantiles(
    material: Material, parameters: Floats, origins: int = 1
) -> dict[Method, Floats]:
    """Return the baselines' quantiles of the next log return, (tickers, origins, 9), by method.

    `parameters` are those of `garch`, of shape (tickers, 5), NaN where there is no fit.
    """
    returns = material.features.returns
    return {
        Method.ROLLING_QUANTILE: baselines.rolling_quantiles_by_origin(returns, origins),
        Method.EWMA: baselines.ewma_quantiles_by_origin(returns, origins),
        Method.GARCH: garch.garch_quantiles_by_origin(parameters, returns, origins),
    }


def forecasts(
    material: Material,
    models: Mapping[int, TrainedModel],
    lstm: Quantiles | None,
    others: Mapping[Method, Floats],
    targets: Targets,
) -> list[Forecast]:
    """Return the forecasts of every ticker from every origin it has a bar of, by every method."""
    answer: list[Forecast] = []
    for column in range(-len(targets), 0):
        origin = as_date(material.panel.sessions[column])
        target, deadline = targets[origin]
        common = {"origin_session": origin, "target_session": target, "deadline_at": deadline}
        for row in np.flatnonzero(material.features.present[:, column]).tolist():
            make = _maker(material, row, column, common)
            answer += _of_one(make, row, column, models.get(row), lstm, others)
    return answer


Maker = Callable[..., Forecast]


def _of_one(
    make: Maker,
    row: int,
    column: int,
    model: TrainedModel | None,
    lstm: Quantiles | None,
    others: Mapping[Method, Floats],
) -> Iterator[Forecast]:
    yield make(Method.NAIVE, None, 0.0)
    for method, quantiles in others.items():
        own = quantiles[row, column]
        if np.isfinite(own).all():
            yield make(method, own, own[MEDIAN])
    if lstm is None or model is None or not np.isfinite(lstm.calibrated[row, column]).all():
        return
    calibrated, shrinkage = lstm.calibrated[row, column], float(lstm.shrinkage[row, column])
    yield make(
        Method.LSTM,
        calibrated,
        shrinkage * calibrated[MEDIAN],
        depends_on=(model.fingerprint, model.configuration, f"{model.last_session}"),
        raw_quantiles=tuple(lstm.raw[row, column].tolist()),
        shrinkage=shrinkage,
        dissimilarity=float(lstm.dissimilarity[row, column]),
        model_id=model.id,
    )


def _maker(material: Material, row: int, column: int, common: Mapping[str, Any]) -> Maker:
    """Return a function that makes the forecasts of one ticker and origin."""
    close = float(material.panel.close[row, column])
    volatility = float(material.features.scale[row, column])

    def make(
        method: Method,
        quantiles: Floats | None,
        log_return: float,
        depends_on: Sequence[str] = (),
        **more: Any,
    ) -> Forecast:
        stated = [] if quantiles is None else quantiles.tolist()
        digest = hashlib.sha256(f"{common['origin_session']} {' '.join(depends_on)}".encode())
        digest.update(np.array([close, log_return, *stated]).tobytes())
        return Forecast(
            instrument_id=material.instruments[row].id,
            method=method,
            origin_close=close,
            close=close * float(np.exp(log_return)),
            log_return=float(log_return),
            quantiles=tuple(stated) or None,
            probability_of_rise=float(baselines.probability_of_rise(quantiles))
            if quantiles is not None
            else None,
            fingerprint=digest.hexdigest(),
            volatility=volatility if np.isfinite(volatility) else None,
            **common,
            **more,
        )

    return make
