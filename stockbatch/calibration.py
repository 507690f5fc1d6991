"""Intervals that keep their promise: quantiles stretched by what past forecasts of a ticker missed.

Each quantile's distance from the median is multiplied by a factor. Several learners follow the
factors from forecast to forecast, from one that never stirs to one that forgives a shock within
days, and the factors used are their mean, weighted by how well each of them has done of late. This
is adaptive conformal inference (Gibbs & Candès, "Adaptive conformal inference under distribution
shift", NeurIPS 2021) on quantiles (Romano, Patterson & Candès, "Conformalized quantile regression",
NeurIPS 2019), steered by the gradient of the pinball loss rather than by one level's misses, and
with learners of several speeds put together by exponential weights as by Zaffran et al., "Adaptive
conformal predictions for time series", ICML 2022, and Gibbs & Candès, "Conformal inference for
online prediction with arbitrary distribution shifts", JMLR 25 (2024).

Nothing is stored: the factors are a pure function of one ticker's last REACH forecasts.
"""

from typing import NamedTuple

import numpy as np

from stockbatch.records import QUANTILES, Floats

REACH = 250
"""Past forecasts that a calibration depends on."""


class Learner(NamedTuple):
    """How fast the logarithms of the factors follow what was missed, and how fast they return."""

    together: float
    """Step of all factors at once: a change of volatility."""
    alone: float
    """Step of each factor by itself: another shape of the distribution."""
    forgetting: float
    """Share of the way back to the raw quantiles, per forecast."""


LEARNERS = (
    Learner(together=0.0, alone=0.0, forgetting=0.0),
    Learner(together=0.5, alone=0.0, forgetting=0.1),
    Learner(together=0.2, alone=0.0, forgetting=0.02),
    Learner(together=0.02, alone=0.01, forgetting=0.0),
)
"""Chosen on three kinds of raw forecasts, on sessions that no result quotes."""
TRUST = 5.0
"""How much a learner's weight follows its loss, which is in units of the forecast's spread."""
LOSS_FORGETTING = 0.01
"""Share of the past losses that is forgotten per forecast."""
LARGEST_LOG = float(np.log(4))
"""No factor leaves 1/4 to 4."""

CHUNK = 1024
"""Forecasts calibrated at a time, so that a step stays in the processor's cache."""

_MEDIAN = len(QUANTILES) // 2
_SIDES = [level for level in range(len(QUANTILES)) if level != _MEDIAN]
_MISSES = np.minimum(QUANTILES, 1 - np.array(QUANTILES))[_SIDES, None, None, None]
"""Share of forecasts whose actual lies beyond each quantile but the median."""
_TOGETHER, _ALONE, _FORGETTING = np.array(LEARNERS).T[:, :, None, None]


def calibrate(past: Floats, actual: Floats, quantiles: Floats) -> Floats:
    """Return `quantiles` of the log returns to come, of shape (T, 9), calibrated.

    `past` are the raw quantiles of earlier forecasts, (T, N, 9), and `actual` the log returns that
    came, (T, N), both oldest first and NaN where there was none: such a forecast teaches nothing.
    Without any the answer is `quantiles`. The median is left alone; nothing crosses.
    """
    raw = np.concatenate([past, quantiles[:, None]], axis=1)
    unknown = np.full((len(quantiles), 1), np.nan)
    return calibrate_by_origin(raw, np.concatenate([actual, unknown], axis=1), 1)[:, 0]


def calibrate_by_origin(quantiles: Floats, actual: Floats, origins: int) -> Floats:
    """Return the last `origins` <= S of the raw `quantiles` (T, S, 9), calibrated, (T, N, 9).

    Each is calibrated by what `actual` (T, S) shows of the forecasts before it, as in `calibrate`.
    """
    answer: Floats = quantiles[:, -origins:].copy()
    median = answer[:, :, _MEDIAN, None]
    rows = max(CHUNK // origins, 1)
    for first in range(0, len(answer), rows):
        some = slice(first, first + rows)
        factors = _factors(quantiles[some], actual[some], origins)
        answer[some, :, _SIDES] = median[some] + factors * (answer[some, :, _SIDES] - median[some])
    lower, upper = answer[..., _MEDIAN::-1], answer[..., _MEDIAN:]
    np.minimum.accumulate(lower, axis=-1, out=lower)
    np.maximum.accumulate(upper, axis=-1, out=upper)
    return answer


def _factors(quantiles: Floats, actual: Floats, origins: int) -> Floats:
    """Return the factors of the last forecasts, of shape (T, origins, 8).

    Every origin starts afresh REACH forecasts before it, so that it depends on nothing older. The
    axes within are levels, learners, tickers, origins.
    """
    reach = min(REACH, actual.shape[1] - 1)
    needed, share, known = _surprises(quantiles, actual, reach + origins)
    logs = np.zeros((len(_SIDES), len(LEARNERS), len(actual), origins))
    losses = np.zeros(logs.shape[1:])
    factors = np.ones_like(logs)
    for step in range(reach):
        now = (..., slice(step, step + origins))
        surprise = (needed[now] > factors) - _MISSES
        gradient = surprise * share[now]
        loss = np.sum(gradient * (needed[now] - factors), axis=0)
        losses += known[now] * (loss - LOSS_FORGETTING * losses)
        pull = _TOGETHER * gradient.sum(axis=0) + _ALONE * surprise
        logs += known[now] * (pull - _FORGETTING * logs)
        np.clip(logs, -LARGEST_LOG, LARGEST_LOG, out=logs)
        np.exp(logs, out=factors)
    belief = np.exp(TRUST * (losses.min(axis=0) - losses))
    mean = np.sum(belief * factors, axis=1) / belief.sum(axis=0)
    return np.moveaxis(mean, 0, -1)


def _surprises(quantiles: Floats, actual: Floats, sessions: int) -> tuple[Floats, Floats, Floats]:
    """Return the factors that would just have held `actual`, the weights, and 1 where both are.

    A quantile's weight is its share of the forecast's spread; 0 stands where there is no surprise,
    as before the first forecast. The shapes are (8, 1, T, sessions) twice and (T, sessions).
    """
    level_first = np.moveaxis(quantiles, -1, 0)
    median = level_first[_MEDIAN]
    distance = level_first[_SIDES] - median
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        needed = (actual - median) / distance
        share = np.abs(distance) / np.abs(distance).sum(axis=0)
    known = np.isfinite(needed).all(axis=0) & np.isfinite(share).all(axis=0)
    surprises = np.concatenate([needed, share, known[None]])[..., -sessions:]
    front = [(0, 0), (0, 0), (sessions - surprises.shape[2], 0)]
    *both, known = np.pad(np.where(known[:, -sessions:], surprises, 0.0), front)
    needed, share = np.split(np.array(both)[:, None], 2)
    return needed, share, known


def shrinkage(past: Floats, actual: Floats) -> Floats:
    """Return zeros for now."""
    return np.zeros(len(past)) * actual.shape[0]
