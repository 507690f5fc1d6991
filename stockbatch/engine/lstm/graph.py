"""The forward pass of a stack of LSTMs in operations of Keras, to be trained."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from stockbatch.config import ModelSettings
from stockbatch.engine.operations import affine, stated


def quantiles(weights: Mapping[str, Any], inputs: Any, masks: Any, settings: ModelSettings) -> Any:
    """Return the quantiles (tickers, windows, scored steps, levels) of `inputs`.

    `inputs` has shape (tickers, windows, steps, features), the dropout `masks` (tickers, windows,
    units).
    """
    steps = inputs
    for layer in range(settings.layers):
        steps = _layer(
            steps,
            weights[f"lstm_{layer}.kernel"],
            weights[f"lstm_{layer}.recurrent_kernel"],
            weights[f"lstm_{layer}.bias"],
        )
    return stated(weights, steps[:, :, settings.lookback :], masks)


def _layer(inputs: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
    """Return the outputs (tickers, windows, steps, units) of one layer.

    The sigmoid of x is (tanh(x / 2) + 1) / 2: with three gates halved beforehand, one tanh serves
    all four. What does not recur is one large product over all steps.
    """
    units = recurrent_kernel.shape[1]
    # Input, forget, candidate, output: the candidate is the one that is no sigmoid.
    halves = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), units)
    raw = affine(inputs, kernel * halves, bias * halves)
    outputs = _recur(ops.transpose(raw, (2, 0, 1, 3)), recurrent_kernel * halves)
    return ops.transpose(outputs, (1, 2, 0, 3))


def _recur(raw: Any, recurrent_kernel: Any) -> Any:
    """Return the outputs (steps, tickers, windows, units) for gates without recurrence."""

    def step(state: Any, step_raw: Any) -> tuple[Any, Any]:
        hidden, cell = state
        gates = ops.tanh(step_raw + ops.matmul(hidden, recurrent_kernel))
        entry, forget, candidate, exit_ = ops.split(gates, 4, axis=-1)
        # The other halves of the three sigmoids: (tanh + 1) / 2.
        cell = ((forget + 1) * cell + (entry + 1) * candidate) * 0.5
        state = ((exit_ + 1) * ops.tanh(cell) * 0.5, cell)
        return state, state

    units = recurrent_kernel.shape[1]
    # A scan is one node of the graph whatever the number of steps: tracing stays short.
    zeros = ops.zeros((*raw.shape[1:3], units), raw.dtype)
    return ops.scan(step, (zeros, zeros), raw)[1][0]
