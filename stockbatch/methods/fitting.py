"""Fit what a method has to learn, as models to be stored and aged like those of the LSTM."""

import hashlib
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version

import numpy as np

from stockbatch.config import Settings
from stockbatch.engine import learning, material
from stockbatch.engine.material import Material
from stockbatch.methods.base import Method, Parameters
from stockbatch.records import ModelKind, Reason, Sessions, TrainedModel


def is_expired(model: TrainedModel | None, sessions: Sessions, after: int) -> bool:
    """Tell whether there is no fit, or one of `after` sessions ago or more."""
    if model is None:
        return True
    return int(np.sum(sessions > np.datetime64(model.last_session))) >= after


def of_ticker(method: Method, chunk: Material, row: int, settings: Settings) -> TrainedModel | None:
    """Fit a method to the ticker in `row`; None where it has no fit."""
    parameters = method.fit_ticker(chunk, row, settings.model)
    if parameters is None:
        return None
    ticker = chunk.panel.tickers[row]
    prints = _fingerprint(chunk, row, settings)
    return _model(method, ModelKind.TICKER, ticker, chunk, parameters, prints, 1, settings)


def of_calendar(
    method: Method, materials: Sequence[Material], settings: Settings
) -> TrainedModel | None:
    """Fit a method to all tickers of a calendar together; None where it has no fit."""
    parameters = method.fit_calendar(materials, settings.model)
    if parameters is None:
        return None
    prints = [_fingerprint(one, row, settings) for one in materials for row in _rows(one)]
    whole = hashlib.sha256("".join(prints).encode()).hexdigest()
    return _model(
        method, ModelKind.BASE, None, materials[0], parameters, whole, len(prints), settings
    )


def _model(
    method: Method,
    kind: ModelKind,
    ticker: str | None,
    chunk: Material,
    parameters: Parameters,
    fingerprint: str,
    tickers: int,
    settings: Settings,
) -> TrainedModel:
    return TrainedModel(
        method=method.name,
        kind=kind,
        ticker=ticker,
        first_session=_first_session(chunk, settings),
        last_session=chunk.origin,
        fingerprint=fingerprint,
        configuration=learning.configuration(settings),
        parameters=settings.model.model_dump(mode="json"),
        seed=settings.model.seed,
        weights=parameters,
        tickers=tickers,
        libraries={name: version(name) for name in method.libraries},
        reason=Reason.EXPIRED,
    )


def _rows(chunk: Material) -> range:
    return range(len(chunk.instruments))


def _fingerprint(chunk: Material, row: int, settings: Settings) -> str:
    return material.fingerprint(chunk.panel, row, _first_session(chunk, settings), chunk.origin)


def _first_session(chunk: Material, settings: Settings) -> date:
    return material.first_session(chunk, settings)
