"""What needs no training: rolling quantiles, and the chance of a rise any set of quantiles implies.

The naive forecast is not here: its close is the origin's, its log return 0.
"""

import numpy as np

from stockbatch.records import QUANTILES, Floats

WINDOW = 250
"""Sessions a rolling quantile looks back."""
MINIMUM = 60
"""Known returns it needs."""


def rolling_quantiles(returns: Floats, window: int = WINDOW, minimum: int = MINIMUM) -> Floats:
    """Return the QUANTILES of each ticker's last `window` sessions, of shape (T, 9).

    `returns` has shape (T, S), NaN where unknown; fewer than `minimum` known ones give a row of
    NaN. Linear interpolation of order statistics: type 7 of Hyndman & Fan, "Sample quantiles in
    statistical packages", The American Statistician 50 (1996).
    """
    ordered = np.sort(returns[:, -window:], axis=1)  # NaN comes last
    known = np.sum(~np.isnan(ordered), axis=1)
    position = np.maximum(known - 1, 0)[:, None] * np.array(QUANTILES)
    below = position.astype(np.intp)
    above = np.minimum(below + 1, np.maximum(known - 1, 0)[:, None])
    low, high = (np.take_along_axis(ordered, index, axis=1) for index in (below, above))
    quantiles: Floats = low + (high - low) * (position - below)
    quantiles[known < max(minimum, 1)] = np.nan
    return quantiles


def probability_of_rise(quantiles: Floats) -> Floats:
    """Return the probability of a log return above 0 implied by quantiles of shape (…, 9).

    The distribution function is linear between neighbouring quantiles. Outside of them its tails
    are exponential with the density of the outermost interval, so the answer is never certain and
    moves without a jump as the quantiles pass 0. NaN where a quantile is.
    """
    levels = np.array(QUANTILES)
    passed = np.sum(quantiles <= 0, axis=-1, keepdims=True)
    left = np.clip(passed - 1, 0, len(levels) - 2)
    q0, q1 = (np.take_along_axis(quantiles, left + step, axis=-1)[..., 0] for step in (0, 1))
    p0, p1 = (levels[left + step][..., 0] for step in (0, 1))
    width = np.maximum(q1 - q0, np.finfo(np.float64).tiny)
    density = (p1 - p0) / width
    with np.errstate(over="ignore"):
        between = 1 - p0 + q0 * density
        all_above = 1 - p0 * np.exp(-q0 * density / p0)
        all_below = (1 - p1) * np.exp(q1 * density / (1 - p1))
    inside = np.where(passed[..., 0] == 0, all_above, between)
    probability = np.where(passed[..., 0] == len(levels), all_below, inside)
    return np.where(np.isnan(quantiles).any(axis=-1), np.nan, probability)
