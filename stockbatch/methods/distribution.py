"""What quantiles imply: how likely a return lies beyond a threshold, how far it is expected to go.

The distribution function is linear between neighbouring quantiles. Outside of them its tails are
exponential with the density of the outermost interval, so that nothing is certain and probabilities
move without a jump as the quantiles pass the threshold.
"""

import numpy as np

from stockbatch import metrics
from stockbatch.records import QUANTILES, Floats

EXPECTED = 80
"""Percent of the interval whose half is the expected move."""


def probability_above(quantiles: Floats, threshold: float = 0.0) -> Floats:
    """Return the probability of a log return above `threshold`, of quantiles of shape (…, 11).

    NaN where a quantile is.
    """
    levels = np.array(QUANTILES)
    beyond = quantiles - threshold
    # How many levels lie at or below zero tells between which two of them zero lies.
    passed = np.sum(beyond <= 0, axis=-1, keepdims=True)
    left = np.clip(passed - 1, 0, len(levels) - 2)
    q0, q1 = (np.take_along_axis(beyond, left + step, axis=-1)[..., 0] for step in (0, 1))
    p0, p1 = (levels[left + step][..., 0] for step in (0, 1))
    # Each is computed of every forecast and one is taken: where another one applies, the
    # exponentials may be anything, even infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        # Two levels may be equal, and what is between them is divided by.
        density = (p1 - p0) / np.maximum(q1 - q0, np.finfo(np.float64).tiny)
        between = 1 - p0 + q0 * density
        all_above = 1 - p0 * np.exp(-q0 * density / p0)
        all_below = (1 - p1) * np.exp(q1 * density / (1 - p1))
    inside = np.where(passed[..., 0] == 0, all_above, between)
    probability = np.where(passed[..., 0] == len(levels), all_below, inside)
    return np.where(np.isnan(quantiles).any(axis=-1), np.nan, probability)


def probability_below(quantiles: Floats, threshold: float = 0.0) -> Floats:
    """Return the probability of a log return below `threshold`, as `probability_above`.

    Both need not add up to 1: where levels are equal to the threshold the rest lies on it, as at
    zero where prices stand still.
    """
    # In a mirror, where levels stand as they do here, what is below is above.
    return probability_above(-quantiles[..., ::-1], -threshold)


def probability_of_move(quantiles: Floats, change: float) -> Floats:
    """Return the probability of a price that changes by more than `change`, a share, up or down."""
    rises = probability_above(quantiles, float(np.log1p(change)))
    falls = probability_below(quantiles, float(np.log1p(-change)))
    return np.minimum(rises + falls, 1.0)


def expected_move(quantiles: Floats) -> Floats:
    """Return half of the 80 % interval as a share of the price, of quantiles of shape (…, 11)."""
    low, high = metrics.interval(quantiles, EXPECTED)
    with np.errstate(over="ignore", invalid="ignore"):  # of what is left out as implausible
        move: Floats = (np.exp(high) - np.exp(low)) / 2
    return move


def widening(before: Floats, after: Floats) -> Floats:
    """Return the logarithm of the expected move after over that before, of quantiles (…, 11)."""
    return log_ratio(expected_move(after), expected_move(before))


def log_ratio(move: Floats, usual: Floats) -> Floats:
    """Return the logarithm of one move over another, NaN or infinite where one is 0 or unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.log(move) - np.log(usual)
    return ratio
