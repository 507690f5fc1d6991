"""Fit what a method has to learn, as models to be stored and aged like those of the LSTM."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from stockbatch.config import Settings
from stockbatch.engine import learning, material
from stockbatch.engine.material import Material
from stockbatch.methods.base import Method, Parameters
from stockbatch.records import ModelKind, Reason, TrainedModel


def of_ticker(method: Method, chunk: Material, row: int, settings: Settings) -> TrainedModel | None:
    """Fit a method to the ticker in `row`; None where it has no fit."""
    parameters = method.fit_ticker(chunk, row, settings.model)
    if parameters is None:
        return None
    first = material.first_session(chunk, settings, [row])
    model = _model(method, ModelKind.TICKER, chunk, first, parameters, settings)
    return replace(
        model,
        ticker=chunk.panel.tickers[row],
        fingerprint=_fingerprint(chunk, row, model.first_session),
    )


def of_calendar(
    method: Method, materials: Sequence[Material], reason: Reason, settings: Settings
) -> TrainedModel | None:
    """Fit a method to all tickers of a calendar together; None where it has no fit."""
    parameters = method.fit_calendar(materials, settings.model)
    if parameters is None:
        return None
    first = min(
        material.first_session(one, settings, range(len(one.instruments))) for one in materials
    )
    model = _model(method, ModelKind.BASE, materials[0], first, parameters, settings)
    prints = [
        _fingerprint(one, row, model.first_session)
        for one in materials
        for row in range(len(one.instruments))
    ]
    return replace(
        model,
        fingerprint=hashlib.sha256("".join(prints).encode()).hexdigest(),
        tickers=len(prints),
        reason=reason,
    )


def _model(
    method: Method,
    kind: ModelKind,
    chunk: Material,
    first: date,
    parameters: Parameters,
    settings: Settings,
) -> TrainedModel:
    """Return what fits of both kinds have in common."""
    return TrainedModel(
        method=method.name,
        kind=kind,
        ticker=None,
        first_session=first,
        last_session=chunk.origin,
        fingerprint="",
        configuration=learning.configuration(settings),
        parameters=settings.model.model_dump(mode="json"),
        seed=settings.model.seed,
        weights=parameters,
        libraries={name: learning.version(name) for name in method.libraries},
        reason=Reason.EXPIRED,
    )


def _fingerprint(chunk: Material, row: int, first: date) -> str:
    return material.fingerprint(chunk.panel, row, first, chunk.origin)
