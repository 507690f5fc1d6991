"""Rolling quantiles: the distribution of the last year's returns, as it was."""

import numpy as np

from stockbatch.methods.base import Given, Method, Stated
from stockbatch.records import QUANTILE_BASELINE, QUANTILES, Floats

WINDOW = 250
"""Sessions a rolling quantile looks back."""
MINIMUM = 60
"""Known returns it needs."""


class RollingQuantile(Method):
    """States the quantiles of a ticker's own last returns."""

    name = QUANTILE_BASELINE
    title = "Rolling quantiles"
    sentence = f"The quantiles of the ticker's own last {WINDOW} returns: what history alone says."
    is_baseline = True
    is_rival = True

    def forecast(self, given: Given) -> Stated:
        """Return the quantiles of the returns known at each origin."""
        returns = given.material.features.returns
        return Stated.of(rolling_quantiles_by_origin(returns, given.origins))


def rolling_quantiles(returns: Floats, window: int = WINDOW, minimum: int = MINIMUM) -> Floats:
    """Return the QUANTILES of each ticker's last `window` sessions, of shape (T, 11).

    `returns` has shape (T, S), NaN where unknown; fewer than `minimum` known ones give a row of
    NaN. Linear interpolation of order statistics: type 7 of Hyndman & Fan, "Sample quantiles in
    statistical packages", The American Statistician 50 (1996).
    """
    ordered = np.sort(returns[:, -window:], axis=1)  # NaN comes last
    known = np.sum(~np.isnan(ordered), axis=1)
    # Where a level falls among the known returns, counted from 0 and seldom a whole number.
    position = np.maximum(known - 1, 0)[:, None] * np.array(QUANTILES)
    below = position.astype(np.intp)
    above = np.minimum(below + 1, np.maximum(known - 1, 0)[:, None])
    low, high = (np.take_along_axis(ordered, index, axis=1) for index in (below, above))
    quantiles: Floats = low + (high - low) * (position - below)
    quantiles[known < max(minimum, 1)] = np.nan
    return quantiles


def rolling_quantiles_by_origin(returns: Floats, origins: int) -> Floats:
    """Return `rolling_quantiles` as of each of the last `origins` <= S sessions, (T, N, 11)."""
    ends = range(returns.shape[1] - origins + 1, returns.shape[1] + 1)
    return np.stack([rolling_quantiles(returns[:, :end]) for end in ends], axis=1)
