"""What every kind of network of ours ends with: a dense layer, of whose outputs quantiles are made.

And how its weights, and kernels in general, are drawn at first.
"""

from statistics import NormalDist
from typing import Any

import numpy as np

from stockbatch.engine.quantiles import LEVELS, never_crossing
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import MEDIAN, QUANTILES, Floats

Doubles = np.ndarray[Any, np.dtype[np.float64]]


def states_levels_of_today(weights: Weights) -> bool:
    """Tell whether `weights` end with a dense layer that states the levels there are now."""
    levels: int = weights["dense.bias"].shape[-1]
    return levels == LEVELS


def shapes(units: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of one ticker's dense layer, by name."""
    return {"dense.kernel": (units, LEVELS), "dense.bias": (LEVELS,)}


def draw(units: int) -> dict[str, Doubles]:
    """Return one ticker's dense layer as it begins: with standard normal quantiles.

    That is the answer for a scaled return of which nothing is known, so that training starts from
    a sensible forecast.
    """
    spreads = np.diff([NormalDist().inv_cdf(level) for level in QUANTILES])
    # x - 1 / x is the inverse of squareplus.
    bias = np.insert(spreads - 1 / spreads, MEDIAN, 0.0)
    return {"dense.kernel": np.zeros((units, LEVELS)), "dense.bias": bias}


def uniform(random: np.random.Generator, size: int, columns: int) -> Doubles:
    """Draw a kernel whose outputs are about as wide as its inputs.

    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010.
    """
    limit = np.sqrt(6 / (size + columns))
    return random.uniform(-limit, limit, (size, columns))


def orthogonal(random: np.random.Generator, size: int, columns: int) -> Doubles:
    """Draw a recurrent kernel of orthogonal rows, of which there are no more than columns.

    With such gradients neither grow nor fade at first (Saxe, McClelland & Ganguli, 2014).
    """
    # The signs make the draw uniform over orthogonal matrices (Mezzadri, 2007).
    square, triangle = np.linalg.qr(random.normal(size=(columns, size)))
    turned: Doubles = (square * np.sign(np.diag(triangle))).T
    return turned


def stated(weights: Weights, outputs: Singles) -> Floats:
    """Return the quantiles (…, tickers, windows, levels) of `outputs` (…, tickers, windows, units).

    In NumPy; what trains is `operations.stated`.
    """
    return never_crossing(outputs @ weights["dense.kernel"] + weights["dense.bias"][:, None])
