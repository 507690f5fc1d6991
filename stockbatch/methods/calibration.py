"""What a ticker's past forecasts teach its next one: how wide its intervals, how bold its point.

Each quantile's distance from the median is multiplied by a factor. Several learners follow the
factors from forecast to forecast, from one that never stirs to one that forgives a shock within
days, and the factors used are their mean, weighted by how well each of them has done of late. This
is adaptive conformal inference (Gibbs & Candès, "Adaptive conformal inference under distribution
shift", NeurIPS 2021) on quantiles (Romano, Patterson & Candès, "Conformalized quantile regression",
NeurIPS 2019), steered by the gradient of the pinball loss rather than by one level's misses, and
with learners of several speeds put together by exponential weights as by Zaffran et al., "Adaptive
conformal predictions for time series", ICML 2022, and Gibbs & Candès, "Conformal inference for
online prediction with arbitrary distribution shifts", JMLR 25 (2024).

Nothing is stored: a ticker's own factors are a pure function of its last REACH forecasts. What all
tickers of a calendar teach together, `methods.crowd`, has a say beside them.
"""

from typing import NamedTuple

import numpy as np

from stockbatch.methods.base import PAST
from stockbatch.records import MEDIAN, QUANTILES, Floats

REACH = PAST
"""Past forecasts that a calibration depends on."""


class Say(NamedTuple):
    """What others than the ticker say of its factors, by origin."""

    share: Floats
    """Theirs of the logarithms, (N,)."""
    factors: Floats
    """(N, 10), one per level but the median."""


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
    Learner(together=1.0, alone=0.0, forgetting=0.2),
    Learner(together=0.3, alone=0.0, forgetting=0.02),
    Learner(together=0.1, alone=0.01, forgetting=0.0),
)
"""Chosen on four kinds of raw forecasts, on sessions that no result quotes."""
TRUST = 5.0
"""How much a learner's weight follows its loss, which is in units of the forecast's spread."""
LOSS_FORGETTING = 0.01
"""Share of the past losses that is forgotten per forecast."""
LARGEST_LOG = float(np.log(4))
"""No factor leaves 1/4 to 4."""
LARGEST_NEED = 1e3
"""What lies further out, in distances of a quantile, counts as if it lay here."""

FEWEST_TO_SHRINK = 60
"""Past forecasts a point forecast needs to be anything but naive."""
CONFIDENCE = 2.326
"""Standard errors by which its merit is discounted: 99 %, one-sided, of the normal distribution."""
LARGEST_LEVERAGE = 0.99
"""Above it a single forecast decides the slope."""
CHUNK = 1024
"""Forecasts calibrated at a time, so that a step stays in the processor's cache."""

SIDES = [level for level in range(len(QUANTILES)) if level != MEDIAN]
MISSES = np.minimum(QUANTILES, 1 - np.array(QUANTILES))[SIDES]
"""Share of forecasts whose actual lies beyond each quantile but the median."""
_TOGETHER, _ALONE, _FORGETTING = np.array(LEARNERS).T[:, :, None, None]


def actual_by_target(returns: Floats, origins: int) -> Floats:
    """Return the log returns that came, (tickers, PAST + origins), as `Stated.by_target`.

    Of the last target none is known.
    """
    actual = np.full((len(returns), PAST + origins), np.nan)
    known = returns[:, -(PAST + origins - 1) :]
    actual[:, -1 - known.shape[1] : -1] = known
    return actual


def calibrate_by_origin(
    quantiles: Floats, actual: Floats, origins: int, say: Say | None = None
) -> Floats:
    """Return the last `origins` <= S of the raw `quantiles` (T, S, 11), calibrated, (T, N, 11).

    Each is calibrated by what `actual`, the log returns that came, (T, S), shows of the forecasts
    before it, both oldest first and NaN where there was none. Such a forecast teaches nothing, nor
    does one with a quantile equal to its median; without any other the answer is the raw quantiles.
    The median is left alone, and nothing crosses. `say` is what the crowd had at each origin.
    """
    answer: Floats = quantiles[:, -origins:].copy()
    median = answer[:, :, MEDIAN, None]
    rows = max(CHUNK // origins, 1)
    for first in range(0, len(answer), rows):
        some = slice(first, first + rows)
        factors = _factors(quantiles[some], actual[some], origins)
        if say is not None:
            factors = factors ** (1 - say.share[:, None]) * say.factors ** say.share[:, None]
        answer[some, :, SIDES] += (factors - 1) * (answer[some, :, SIDES] - median[some])
    # Factors differ from level to level: one that is stretched past the next level out takes it
    # along.
    lower, upper = answer[..., MEDIAN::-1], answer[..., MEDIAN:]
    np.minimum.accumulate(lower, axis=-1, out=lower)
    np.maximum.accumulate(upper, axis=-1, out=upper)
    return answer


def shrinkage(past: Floats, actual: Floats) -> Floats:
    """Return by how much to multiply each ticker's point forecast, (T,), from 0, naive, to 1.

    `past` are the raw medians of log returns forecast before, (T, N), `actual` the log returns that
    came, both oldest first and NaN where there was none; the last REACH count. The slope of the
    regression of actual on forecast through the origin is the multiple that would have had the
    least squared error (Mincer & Zarnowitz, "The evaluation of economic forecasts", 1969); taken is
    the lower bound of its confidence interval, so that noise gives 0, cut to 0 … 1 as by Campbell &
    Thompson, "Predicting excess stock returns out of sample", Review of Financial Studies 21
    (2008). Its standard error withstands changes of volatility and single large moves: HC3 of
    MacKinnon & White, Journal of Econometrics 29 (1985).
    """
    # What is unknown counts as zero on both sides: it then adds nothing to any of the sums below.
    known = (np.isfinite(past) & np.isfinite(actual))[:, -REACH:]
    forecast, came = (np.where(known, side[:, -REACH:], 0.0) for side in (past, actual))
    # Squares of tiny forecasts might vanish: the slope is the same in any unit that both sides
    # share.
    largest = np.abs(forecast).max(axis=1, initial=0.0, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0)
    forecast, came = forecast / scale, came / scale
    power = np.sum(forecast**2, axis=1, keepdims=True)
    enough = (known.sum(axis=1) >= FEWEST_TO_SHRINK) & (power[:, 0] > 0)
    # Divided by all the same, and thrown away at the end: no row needs a loop of its own.
    power[~enough] = 1.0
    slope = np.sum(forecast * came, axis=1, keepdims=True) / power
    # HC3: each residual is enlarged by how much its own forecast drew the slope towards itself.
    leverage = np.minimum(forecast**2 / power, LARGEST_LEVERAGE)
    error = np.sqrt(np.sum((forecast * (came - slope * forecast) / (1 - leverage)) ** 2, axis=1))
    bound = slope[:, 0] - CONFIDENCE * error / power[:, 0]
    return np.where(enough, np.clip(bound, 0.0, 1.0), 0.0)


def shrinkage_by_origin(past: Floats, actual: Floats, origins: int) -> Floats:
    """Return `shrinkage` before each of the last `origins` <= S forecasts of (T, S), (T, N)."""
    ends = range(past.shape[1] - origins, past.shape[1])
    return np.stack([shrinkage(past[:, :end], actual[:, :end]) for end in ends], axis=1)


def _factors(quantiles: Floats, actual: Floats, origins: int) -> Floats:
    """Return the factors of the last forecasts, of shape (T, origins, 10).

    Every origin starts afresh REACH forecasts before it, so that it depends on nothing older. The
    axes within are levels, learners, tickers, origins.
    """
    reach = min(REACH, actual.shape[1] - 1)
    needed, share, known = surprises(quantiles, actual, reach + origins)
    logs = np.zeros((len(SIDES), len(LEARNERS), len(actual), origins))
    losses = np.zeros(logs.shape[1:])
    factors = np.ones_like(logs)
    for step in range(reach):
        now = (..., slice(step, step + origins))
        if not known[now].any():  # nothing is learned from it, whatever is known already
            continue
        together, alone, loss = slopes(factors, needed[now], share[now])
        losses += known[now] * (loss - LOSS_FORGETTING * losses)
        pull = _TOGETHER * together + _ALONE * alone
        logs += known[now] * (pull - _FORGETTING * logs)
        np.clip(logs, -LARGEST_LOG, LARGEST_LOG, out=logs)
        np.exp(logs, out=factors)
    return np.moveaxis(believed(factors, losses, TRUST), 0, -1)


def slopes(factors: Floats, needed: Floats, share: Floats) -> tuple[Floats, Floats, Floats]:
    """Return what pulls all factors at once, what pulls each, and the loss; levels come first.

    `needed` and `share` are of `surprises`.
    """
    # 1 where the quantile was missed, 0 where not, less what was promised: zero in the mean once
    # the factor is right.
    alone = (needed > factors) - MISSES.reshape(-1, *(1,) * (factors.ndim - 1))
    # Outer quantiles lie further out and would drown the others: each counts by its share.
    gradient = alone * share
    return gradient.sum(axis=0), alone, np.sum(gradient * (needed - factors), axis=0)


def believed(factors: Floats, losses: Floats, trust: float) -> Floats:
    """Return the mean of the learners' factors (10, learners, …), weighted by losses (learners, …).

    Of the shape of one learner's factors.
    """
    # Less the best loss: the best learner weighs 1, and no exponential can overflow.
    belief = np.exp(trust * (losses.min(axis=0) - losses))
    mean: Floats = np.sum(belief * factors, axis=1) / belief.sum(axis=0)
    return mean


def surprises(quantiles: Floats, actual: Floats, sessions: int) -> tuple[Floats, Floats, Floats]:
    """Return the factors that would just have held `actual`, the weights, and 1 where both are.

    Of the last `sessions`, with nothing known before the first forecast; the shapes are
    (10, 1, T, sessions) twice and (T, sessions). A quantile's weight is its share of the spread, 0
    for the outermost.
    """
    # What lies before the first forecast is unknown: so many steps teach nothing, and all tickers
    # go through one loop.
    front = max(sessions - actual.shape[1], 0)
    padding = [(0, 0), (front, 0)]
    actual = np.pad(actual[:, -sessions:], padding, constant_values=np.nan)
    levels = np.moveaxis(quantiles[:, -sessions:], -1, 0)
    levels = np.pad(levels, [(0, 0), *padding], constant_values=np.nan)
    distance = levels[SIDES] - levels[MEDIAN]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        needed = (actual - levels[MEDIAN]) / distance
        size = np.abs(distance)
        # What is missed once in a hundred times would drag along the levels that all else measures;
        # with them alone, calibration of these is what it was before there were others.
        size[[0, -1]] = 0.0
        share = size / size.sum(axis=0)
    known = np.isfinite(needed).all(axis=0) & np.isfinite(share).all(axis=0)
    needed, share = (np.where(known, side, 0.0)[:, None] for side in (needed, share))
    return np.clip(needed, -LARGEST_NEED, LARGEST_NEED), share, known.astype(np.float64)
