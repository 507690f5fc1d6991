"""Operations of Keras that any kind of network may be put together from, one per ticker."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from stockbatch.engine import quantiles
from stockbatch.engine.quantiles import LEVELS
from stockbatch.records import MEDIAN, QUANTILES

SMOOTHED = 0.1
"""Errors this small have a smoothed loss, in units of the volatility known at the origin."""


def affine(inputs: Any, kernel: Any, bias: Any) -> Any:
    """Return `inputs` (tickers, windows, steps, size) times `kernel` plus `bias` per ticker.

    The bias is one more row of the kernel: the gradient of a broadcast sum is rounded differently
    at different places of a stack, that of a matrix product is not.
    """
    tickers, windows, steps, size = inputs.shape
    rows = ops.reshape(inputs, (tickers, windows * steps, size))
    rows = ops.concatenate([rows, ops.ones((tickers, windows * steps, 1), rows.dtype)], axis=-1)
    outputs = ops.matmul(rows, ops.concatenate([kernel, ops.expand_dims(bias, 1)], axis=1))
    return ops.reshape(outputs, (tickers, windows, steps, bias.shape[-1]))


def never_crossing(raw: Any) -> Any:
    """Return the quantiles of raw outputs, both of shape (tickers, windows, steps, levels).

    What `quantiles.never_crossing` does. Spreads are added up by a product with one matrix per
    ticker, for the reason `affine` has: sums along an axis may be rounded otherwise elsewhere.
    """
    tickers = raw.shape[0]
    spreads = (raw + ops.sqrt(raw * raw + 4)) * 0.5
    parts = ops.where(np.arange(LEVELS) == MEDIAN, raw, spreads)
    adding = np.tile(quantiles.accumulation(), (tickers, 1, 1))
    return affine(parts, adding, ops.zeros((tickers, LEVELS)))


def stated(weights: Mapping[str, Any], outputs: Any, masks: Any) -> Any:
    """Return the quantiles (tickers, windows, steps, levels) of `outputs` of as many steps.

    The dropout `masks` have shape (tickers, windows, units): what is dropped is dropped at every
    step of a window (Gal & Ghahramani, "A theoretically grounded application of dropout in
    recurrent neural networks", 2016).
    """
    kept = outputs * ops.expand_dims(masks, 2)
    return never_crossing(affine(kept, weights["dense.kernel"], weights["dense.bias"]))


def pinball_losses(quantiles: Any, actual: Any) -> Any:
    """Return the pinball losses of all levels, of the shape (…, levels) of `quantiles`."""
    levels = ops.convert_to_tensor(np.asarray(QUANTILES, np.float32))
    error = ops.expand_dims(actual, -1) - quantiles
    return ops.maximum(levels * error, (levels - 1) * error)


def smoothed_pinball_losses(quantiles: Any, actual: Any) -> Any:
    """Return pinball losses without their kink, of the shape (…, levels) of `quantiles`.

    Within SMOOTHED of a quantile the loss is a parabola: its mean over errors of that much to both
    sides (Fernandes, Guerre & Horta, "Smoothing quantile regressions", Journal of Business &
    Economic Statistics 39, 2021), so that the gradient fades instead of jumping.
    """
    levels = ops.convert_to_tensor(np.asarray(QUANTILES, np.float32))
    error = ops.expand_dims(actual, -1) - quantiles
    size = ops.absolute(error)
    size = ops.where(size < SMOOTHED, (error * error / SMOOTHED + SMOOTHED) * 0.5, size)
    return (levels - 0.5) * error + size * 0.5
