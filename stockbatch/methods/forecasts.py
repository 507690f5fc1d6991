"""From what methods state to the forecasts that are stored: one per method, ticker and origin."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from graphlib import TopologicalSorter
from typing import Any

import numpy as np

from stockbatch.engine.material import Material
from stockbatch.market.sessions import as_date
from stockbatch.methods import calibration, crowd, distribution, registry
from stockbatch.methods.base import Given, Parameters, Stated
from stockbatch.methods.standing import with_mass_at_zero
from stockbatch.records import (
    MEDIAN,
    QUANTILE_BASELINE,
    Check,
    Crowd,
    Finding,
    Floats,
    Forecast,
    MoveReason,
    Severity,
    TrainedModel,
)

WILDEST, LEAST_LIMIT = 5.0, 0.5
"""A log return is implausible beyond so many times the ticker's largest lately, but not below."""
LATELY = 250
"""Sessions up to the origin that tell what a ticker does: no later one has a say."""
Targets = Mapping[date, tuple[date, datetime]]
"""Target session and deadline by origin session."""


def state(given: Given, parameters: Mapping[str, Mapping[int, Parameters]]) -> dict[str, Stated]:
    """Let every installed method forecast; `parameters` are those of each method, by row.

    Nothing is calibrated yet.
    A method comes after those it needs, and is given no other's. One that fails with a ticker alone
    states nothing about it, and keeps no other method from it; with several, nobody knows yet which
    of them it fails with, and what it raises is raised.
    """
    methods = registry.methods()
    stated: dict[str, Stated] = {}
    for name in TopologicalSorter({m.name: m.needs for m in methods.values()}).static_order():
        method = methods[name]
        its_own = replace(
            given,
            parameters=parameters.get(name, {}),
            others={needed: stated[needed] for needed in method.needs},
            past={one: given.past[one] for one in method.needs_past if one in given.past},
        )
        try:
            stated[name] = method.forecast(its_own)
        except MemoryError:
            raise
        except Exception as error:
            if len(given.material.instruments) > 1:
                raise
            nothing = np.full((1, given.origins), np.nan)
            stated[name] = Stated(log_return=nothing, failure=repr(error))
    return stated


def calibrated(
    stated: Mapping[str, Stated], material: Material, crowds: Mapping[str, Sequence[Crowd | None]]
) -> dict[str, Stated]:
    """Return what is stated with the quantiles calibrated of the methods that ask for it.

    `crowds` are, by method, what all tickers had taught it at each origin; without, each ticker
    learns alone.
    """
    methods = registry.methods()
    return {
        name: _calibrated(one, material.features.returns, crowds.get(name, ()))
        if methods[name].is_calibrated and one.quantiles is not None
        else one
        for name, one in stated.items()
    }


def _calibrated(stated: Stated, returns: Floats, crowds: Sequence[Crowd | None]) -> Stated:
    # By target session, past and present in one row: the forecasts just made are the last ones, and
    # each origin is calibrated by what is to its left.
    by_target, origins = stated.by_target(), stated.log_return.shape[1]
    actual = calibration.actual_by_target(returns, origins)
    said = crowd.say(crowds) if crowds else None
    stretched = calibration.calibrate_by_origin(by_target, actual, origins, said)
    quantiles = with_mass_at_zero(stretched, returns)
    reasons = stated.reasons
    if reasons and stated.quantiles is not None:
        learned = distribution.widening(stated.quantiles, quantiles)
        reasons = {**reasons, MoveReason.CALIBRATION: learned}
    shrinkage = calibration.shrinkage_by_origin(by_target[..., MEDIAN], actual, origins)
    return replace(
        stated,
        log_return=shrinkage * quantiles[..., MEDIAN],
        quantiles=quantiles,
        raw_quantiles=stated.quantiles,
        reasons=reasons,
        shrinkage=shrinkage,
    )


def forecasts(
    material: Material, stated: Mapping[str, Stated], targets: Targets
) -> Iterator[Forecast]:
    """Yield the forecasts of every ticker from every origin it has a bar of, by every method.

    What a method states that is not finite, or implausible, is left out: see `implausible`.
    """
    limits = _limits(material, len(targets))
    sizes = {method: _sizes(of_all) for method, of_all in stated.items()}
    usual = _usual(stated)
    told = {method: _told(of_all, usual) for method, of_all in stated.items()}
    for column in range(-len(targets), 0):
        target = targets[as_date(material.panel.sessions[column])]
        for row in np.flatnonzero(material.features.present[:, column]).tolist():
            for method, of_all in stated.items():
                if sizes[method][row, column] <= limits[row, column]:
                    yield _forecast(method, of_all, told[method], material, row, column, *target)


def implausible(material: Material, stated: Mapping[str, Stated]) -> list[tuple[Finding, ...]]:
    """Return by row what was left out of the forecasts from the last session, and why."""
    limits = _limits(material, 1)[:, -1]
    sizes = {method: _sizes(of_all)[:, -1] for method, of_all in stated.items()}
    found: list[tuple[Finding, ...]] = []
    for row, has_bar in enumerate(material.features.present[:, -1].tolist()):
        beyond = {m: float(size[row]) for m, size in sizes.items() if size[row] > limits[row]}
        found.append((_finding(material, beyond, limits[row]),) if has_bar and beyond else ())
    return found


def with_models(made: Iterable[Forecast], model_ids: Mapping[int, int]) -> list[Forecast]:
    """Return the forecasts with the ids of their models, which are known once those are stored.

    `model_ids` are those of the models in use, by instrument.
    """
    return [
        replace(one, model_id=model_ids[one.instrument_id]) if one.uses_model else one
        for one in made
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What is told of the forecasts of a method beside quantiles, arrays (tickers, origins)."""

    numbers: Mapping[str, Floats | None]
    """By the names that a forecast has for them; None: not told."""
    reasons: Mapping[MoveReason, Floats]


def _usual(stated: Mapping[str, Stated]) -> Floats | None:
    """Return the move that the last returns of each ticker lead to expect."""
    baseline = stated.get(QUANTILE_BASELINE)
    if baseline is None or baseline.quantiles is None:
        return None
    return distribution.expected_move(baseline.quantiles)


def _told(stated: Stated, usual: Floats | None) -> _Told:
    numbers: dict[str, Floats | None] = {
        "shrinkage": stated.shrinkage,
        "dissimilarity": stated.dissimilarity,
    }
    own = stated.quantiles
    if own is None:
        return _Told(numbers=numbers, reasons={})
    numbers |= {
        "probability_of_rise": distribution.probability_above(own),
        "probability_of_fall": distribution.probability_below(own),
        "probability_of_move_2": distribution.probability_of_move(own, 0.02),
        "probability_of_move_5": distribution.probability_of_move(own, 0.05),
        "usual_move": usual,
    }
    reasons = dict(stated.reasons)
    if not reasons or usual is None:
        return _Told(numbers=numbers, reasons={})
    ratio = distribution.log_ratio(distribution.expected_move(own), usual)
    with np.errstate(invalid="ignore"):  # a share that never moves
        # Whatever the others leave: all of them together are the whole ratio, to the last digit.
        reasons[MoveReason.LAST_YEAR] = ratio - sum(reasons.values(), np.zeros_like(ratio))
    return _Told(numbers=numbers, reasons=reasons)


def _limits(material: Material, origins: int) -> Floats:
    """Return the size of a log return that is implausible as of each last origin, (tickers, N)."""
    sizes = np.abs(np.nan_to_num(material.features.returns[:, -(LATELY + origins - 1) :]))
    front = LATELY + origins - 1 - sizes.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(sizes, [(0, 0), (front, 0)]), LATELY, axis=1
    )
    limits: Floats = np.maximum(WILDEST * windows.max(axis=2), LEAST_LIMIT)
    return limits


def _sizes(stated: Stated) -> Floats:
    """Return the largest size of what is stated, (tickers, origins), NaN where nothing is.

    Infinite is also what comes with numbers that no forecast can have.
    """
    sizes: Floats = np.abs(stated.log_return)
    if stated.quantiles is not None:
        sizes = np.maximum(sizes, np.abs(stated.quantiles).max(axis=-1))
    raw = stated.raw_quantiles
    for beside in (
        None if raw is None else raw.sum(axis=-1),
        stated.shrinkage,
        stated.dissimilarity,
    ):
        if beside is not None:
            sizes = np.where(np.isfinite(beside), sizes, sizes + np.inf)
    return sizes


def _finding(material: Material, beyond: Mapping[str, float], limit: float) -> Finding:
    largest = max(beyond.values())
    return Finding(
        check=Check.IMPLAUSIBLE_FORECAST,
        severity=Severity.WARNING,
        session=material.origin,
        message=f"left out: {', '.join(beyond)}, with a log return of {largest:.3g}; beyond"
        f" {limit:.3g} none is plausible for this ticker",
        observed=largest if np.isfinite(largest) else None,
        threshold=limit,
    )


def _forecast(
    method: str,
    stated: Stated,
    told: _Told,
    material: Material,
    row: int,
    column: int,
    target: date,
    deadline: datetime,
) -> Forecast:
    """Return one forecast; `column` counts origins from the end, as sessions of the material."""
    origin = as_date(material.panel.sessions[column])
    close = float(material.panel.close[row, column])
    volatility = float(material.features.scale[row, column])
    log_return = float(stated.log_return[row, column])
    own = None if stated.quantiles is None else stated.quantiles[row, column]
    model = stated.models.get(row)
    numbers: dict[str, Any] = {
        name: _number(values, row, column) for name, values in told.numbers.items()
    }
    return Forecast(
        instrument_id=material.instruments[row].id,
        method=method,
        origin_session=origin,
        target_session=target,
        deadline_at=deadline,
        origin_close=close,
        close=close * float(np.exp(log_return)),
        log_return=log_return,
        quantiles=None if own is None else tuple(own.tolist()),
        fingerprint=_fingerprint(origin, model, close, log_return, own),
        raw_quantiles=_vector(stated.raw_quantiles, row, column),
        volatility=volatility if np.isfinite(volatility) else None,
        reasons=_reasons(told.reasons, row, column),
        uses_model=model is not None,
        **numbers,
    )


def _fingerprint(
    origin: date,
    model: TrainedModel | None,
    close: float,
    log_return: float,
    quantiles: Floats | None,
) -> str:
    """Return the SHA-256 of all that a forecast depends on.

    What follows from data and parameters is in the numbers stated; of a model its own fingerprint
    counts, so that another one that says the same is another forecast.
    """
    depends_on = [model.fingerprint, model.configuration, f"{model.last_session}"] if model else []
    digest = hashlib.sha256(f"{origin} {' '.join(depends_on)}".encode())
    stated = [] if quantiles is None else quantiles.tolist()
    # The bytes of the numbers, not their digits: what differs in the last bit is another forecast.
    digest.update(np.array([close, log_return, *stated]).tobytes())
    return digest.hexdigest()


def _vector(values: Floats | None, row: int, column: int) -> tuple[float, ...] | None:
    return None if values is None else tuple(values[row, column].tolist())


def _number(values: Floats | None, row: int, column: int) -> float | None:
    number = np.nan if values is None else float(values[row, column])
    return number if np.isfinite(number) else None


def _reasons(
    terms: Mapping[MoveReason, Floats], row: int, column: int
) -> dict[MoveReason, float] | None:
    """Return the terms of one forecast; none where one is unknown: the others explain nothing."""
    reasons = {reason: float(of_all[row, column]) for reason, of_all in terms.items()}
    return reasons if reasons and np.isfinite(list(reasons.values())).all() else None
