"""Prices that stand still: the probability that a return is zero, which no smooth quantiles know.

Of a share that hardly trades, whole stretches of levels are zero: those between the share of falls
and the share of returns that are no rises. It is the same mixture as of zero-inflated counts
(Lambert, "Zero-inflated Poisson regression", Technometrics 34, 1992).
"""

import numpy as np

from stockbatch.records import QUANTILES, Floats

WINDOW = 250
"""Sessions whose returns tell how often a price stands still."""
FEWEST = 60
"""Known returns that takes."""


def with_mass_at_zero(quantiles: Floats, returns: Floats) -> Floats:
    """Return `quantiles` (T, N, 11) of the last N origins of `returns` (T, S), zero where they are.

    Where no level lies between the two shares nothing changes. Only returns up to an origin count.
    """
    origins = quantiles.shape[1]
    recent = returns[:, -(WINDOW + origins - 1) :]
    front = WINDOW + origins - 1 - recent.shape[1]
    recent = np.pad(recent, [(0, 0), (front, 0)], constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(recent, WINDOW, axis=1)
    known = np.isfinite(windows).sum(axis=2)[..., None]
    # Comparisons with NaN are false: what is unknown is neither.
    falls, rises = ((side.sum(axis=2)[..., None]) for side in (windows < 0, windows > 0))
    levels = np.array(QUANTILES)
    standing = (levels * known > falls) & (levels * known < known - rises) & (known >= FEWEST)
    # What lies beyond the zeros is on its own side of them: quantiles never cross.
    below, above = np.minimum(quantiles, 0.0), np.maximum(quantiles, 0.0)
    some = standing.any(axis=2, keepdims=True)
    split = np.where(levels * known <= falls, below, above)
    return np.where(standing, 0.0, np.where(some, split, quantiles))
