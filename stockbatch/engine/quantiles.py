"""From a network's raw outputs to quantiles that never cross.

The raw output of the middle level is the median. Every other one becomes a spread, the distance to
the next level nearer the middle, and spreads add up on both sides. A spread is made positive by
squareplus, (x + sqrt(x² + 4)) / 2 (Barron, "Squareplus: a softplus-like algebraic rectifier",
2021), which needs no exponential and whose gradient fades more slowly than softplus's.
"""

import numpy as np

from stockbatch.engine.weights import Singles
from stockbatch.records import MEDIAN, QUANTILES, Floats

LEVELS = len(QUANTILES)


def never_crossing(raw: Singles) -> Floats:
    """Return the quantiles of raw outputs, both of shape (…, levels)."""
    wide = raw.astype(np.float64)  # the engine computes in singles, all that follows in doubles
    median = wide[..., MEDIAN : MEDIAN + 1]
    # hypot(x, 2) is sqrt(x² + 4), without the overflow of a square.
    spreads = (wide + np.hypot(wide, 2)) / 2
    above = median + np.cumsum(spreads[..., MEDIAN + 1 :], axis=-1)
    below = median - np.cumsum(spreads[..., :MEDIAN][..., ::-1], axis=-1)[..., ::-1]
    return np.concatenate([below, median, above], axis=-1)


def accumulation() -> Singles:
    """Return the matrix (levels, levels) that adds spreads to the median on both sides.

    Rows are raw outputs, columns quantiles: what `never_crossing` does by sums, as one product for
    the networks of Keras.
    """
    matrix = np.zeros((LEVELS, LEVELS), np.float32)
    matrix[MEDIAN] = 1
    # A spread below the median lowers its own level and all below it, one above raises all above.
    for level in range(LEVELS):
        matrix[level, : level + 1] -= level < MEDIAN
        matrix[level, level:] += level > MEDIAN
    return matrix
