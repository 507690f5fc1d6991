"""Forecast with trained weights of any kind of network, in plain NumPy."""

from collections.abc import Sequence

from stockbatch.engine import weights as arrays
from stockbatch.engine.network import network_of
from stockbatch.engine.trust import SEEN
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Floats


def stack(weights: Sequence[Weights]) -> dict[str, Singles]:
    """Join the weights of models along a new leading ticker axis.

    The moments that a base keeps beside its network are left out.
    """
    return arrays.stack(
        [{name: one[name] for name in one if not name.startswith(SEEN)} for one in weights]
    )


def quantiles(weights: Weights, inputs: Singles) -> Floats:
    """Return the quantiles of the last step, shape (tickers, windows, levels), never crossing.

    `inputs` has shape (tickers, windows, steps, features).
    """
    return network_of(weights).quantiles(weights, inputs)


def all_quantiles(weights: Weights, inputs: Singles) -> Floats:
    """Return the quantiles of every step, shape (tickers, windows, steps, levels)."""
    return network_of(weights).all_quantiles(weights, inputs)
