"""The forward pass of a stack of LSTMs in plain NumPy: a day without training needs no Keras."""

import numpy as np

from stockbatch.engine import head
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Floats


def quantiles(weights: Weights, inputs: Singles) -> Floats:
    """Return the quantiles of the last step, shape (tickers, windows, levels).

    `inputs` has shape (tickers, windows, steps, features).
    """
    return head.stated(weights, _outputs(weights, inputs)[-1])


def all_quantiles(weights: Weights, inputs: Singles) -> Floats:
    """Return the quantiles of every step, shape (tickers, windows, steps, levels)."""
    return np.moveaxis(head.stated(weights, _outputs(weights, inputs)), 0, 2)


def layers(weights: Weights) -> int:
    """Return how many LSTM layers `weights` describe."""
    return sum(name.endswith(".recurrent_kernel") for name in weights)


def _outputs(weights: Weights, inputs: Singles) -> Singles:
    """Return the outputs (steps, tickers, windows, units) of the last layer."""
    # Steps come first, because the loop goes over them.
    steps = np.moveaxis(np.asarray(inputs, np.float32), 2, 0)
    for layer in range(layers(weights)):
        steps = _layer(weights, layer, steps)
    return steps


def _layer(weights: Weights, layer: int, steps: Singles) -> Singles:
    """Return the outputs (steps, tickers, windows, units) of one layer.

    The sigmoid of x is (tanh(x / 2) + 1) / 2, which cannot overflow.
    """
    kernel = weights[f"lstm_{layer}.kernel"]
    recurrent_kernel = weights[f"lstm_{layer}.recurrent_kernel"]
    bias = weights[f"lstm_{layer}.bias"][:, None]
    units = recurrent_kernel.shape[1]
    outputs = np.zeros((*steps.shape[:-1], units), np.float32)
    hidden = cell = np.zeros_like(outputs[0])
    for number, step in enumerate(steps):
        raw = step @ kernel + hidden @ recurrent_kernel + bias
        # All four gates at once; the third, the candidate, is no sigmoid and is taken anew below.
        entry, forget, _, exit_ = np.split((np.tanh(raw / 2) + 1) / 2, 4, axis=-1)
        cell = forget * cell + entry * np.tanh(raw[..., 2 * units : 3 * units])
        hidden = outputs[number] = exit_ * np.tanh(cell)
    return outputs
