"""Forecast with trained weights of any kind of network, in plain NumPy."""

from stockbatch.engine.network import network_of
from stockbatch.engine.trust import SEEN
from stockbatch.engine.weights import Singles, Weights
from stockbatch.engine.weights import stack as stack
from stockbatch.records import Floats


def network(weights: Weights) -> dict[str, Singles]:
    """Return the arrays of `weights` that belong to the network itself."""
    return {name: array for name, array in weights.items() if not name.startswith(SEEN)}


def quantiles(weights: Weights, inputs: Singles) -> Floats:
    """Return the quantiles of the last step, shape (tickers, windows, levels), never crossing.

    `inputs` has shape (tickers, windows, steps, features).
    """
    return network_of(weights).quantiles(weights, inputs)


def all_quantiles(weights: Weights, inputs: Singles) -> Floats:
    """Return the quantiles of every step, shape (tickers, windows, steps, levels)."""
    return network_of(weights).all_quantiles(weights, inputs)
