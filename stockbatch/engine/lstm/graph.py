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
    return recur(affine(inputs, kernel * halves, bias * halves), recurrent_kernel * halves)


@ops.custom_gradient  # type: ignore[untyped-decorator]
def recur(raw: Any, recurrent_kernel: Any) -> Any:
    """Return the outputs (tickers, windows, steps, units) for gates without recurrence, `raw`.

    That has shape (tickers, windows, steps, 4 * units), three gates in four halved.
    """
    units = recurrent_kernel.shape[1]
    zeros = ops.zeros((*raw.shape[:2], units), raw.dtype)
    by_step = ops.transpose(raw, (2, 0, 1, 3))

    def step(state: Any, step_raw: Any) -> tuple[Any, Any]:
        hidden, cell, _ = state
        gates = ops.tanh(step_raw + ops.matmul(hidden, recurrent_kernel))
        entry, forget, candidate, exit_ = ops.split(gates, 4, axis=-1)
        # The other halves of the three sigmoids: (tanh + 1) / 2.
        cell = ((forget + 1) * cell + (entry + 1) * candidate) * 0.5
        hidden = (exit_ + 1) * ops.tanh(cell) * 0.5
        # What is kept of every step has to be a part of the state.
        return (hidden, cell, gates), (hidden, cell, gates)

    # A scan is one node of the graph whatever the number of steps: tracing stays short.
    hidden, cells, gates = ops.scan(step, (zeros, zeros, by_step[0]), by_step)[1]
    outputs = ops.transpose(hidden, (1, 2, 0, 3))

    def gradient(*given: Any, upstream: Any = None) -> tuple[Any, Any]:
        of_outputs = given[0] if upstream is None else upstream
        of_raw = _back(ops.transpose(of_outputs, (2, 0, 1, 3)), cells, gates, recurrent_kernel)
        before = ops.concatenate([zeros[:, :, None], outputs[:, :, :-1]], axis=2)
        # The sum over all steps is one product.
        of_kernel = ops.matmul(ops.transpose(_rows(before), (0, 2, 1)), _rows(of_raw))
        return of_raw, of_kernel

    return outputs, gradient


def _back(of_hidden: Any, cells: Any, gates: Any, recurrent_kernel: Any) -> Any:
    """Return the gradient of `recur` with respect to its raw gates.

    It has the shape of those; all that is given but the kernel begins with (steps, tickers,
    windows). Back-propagation through time as by Graves, "Supervised sequence labelling with
    recurrent neural networks", 2012, chapter 4; by hand, because what does not recur can then be
    taken for all steps at once, where a graph would take it step by step.
    """
    entry, forget, candidate, exit_ = ops.split(gates, 4, axis=-1)
    out, zeros = ops.tanh(cells), ops.zeros_like(cells[0])
    before = ops.concatenate([zeros[None], cells[:-1]])
    cell_by_hidden = (1 - out * out) * (exit_ + 1) * 0.5
    kept = (forget + 1) * 0.5
    # Of three gates by the cell, of the last one by the output.
    slopes = ops.concatenate([candidate, before, entry + 1, out], axis=-1) * 0.5
    slopes = slopes * (1 - gates * gates)
    back = ops.transpose(recurrent_kernel, (0, 2, 1))

    def step(later: Any, known: Any) -> tuple[Any, Any]:
        later_hidden, later_cell, _ = later
        of_hidden, cell_by_hidden, kept, slopes = known
        hidden = of_hidden + later_hidden
        cell = later_cell + hidden * cell_by_hidden
        raw = ops.concatenate([cell, cell, cell, hidden], axis=-1) * slopes
        state = (ops.matmul(raw, back), cell * kept, raw)
        return state, state

    known = (of_hidden, cell_by_hidden, kept, slopes)
    of_raw = ops.scan(step, (zeros, zeros, slopes[0]), known, reverse=True)[1][2]
    return ops.transpose(of_raw, (1, 2, 0, 3))


def _rows(array: Any) -> Any:
    """Return (tickers, windows, steps, size) as (tickers, windows * steps, size)."""
    tickers, windows, steps, size = array.shape
    return ops.reshape(array, (tickers, windows * steps, size))
