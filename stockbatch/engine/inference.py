"""The forward pass in plain NumPy, and weights as bytes: a day without training needs no Keras.

Weights are float32 arrays by name, with a leading ticker axis where they belong to many tickers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from stockbatch.records import QUANTILES, Floats

Weights = Mapping[str, NDArray[np.float32]]
Bools = NDArray[np.bool_]
Progress = Callable[[int, int], None]
"""Told how many epochs are done and how many there are."""

LEVELS = len(QUANTILES)
MEDIAN = QUANTILES.index(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What training left behind, all arrays starting with the ticker axis."""

    weights: Weights
    training_loss: Floats
    """Mean pinball loss per epoch, dropout included, NaN after the ticker stopped."""
    validation_loss: Floats
    """Mean pinball loss per epoch, NaN after the ticker stopped."""
    initial_loss: Floats
    """Validation loss of the weights it started from, NaN where nothing could be validated."""
    best_epoch: NDArray[np.int64]
    """The epoch whose weights were kept, counted from 1; 0 means the weights it started from."""

    def first(self, tickers: int) -> "Fitted":
        """Return what belongs to the first `tickers`."""
        return Fitted(
            weights={name: array[:tickers] for name, array in self.weights.items()},
            training_loss=self.training_loss[:tickers],
            validation_loss=self.validation_loss[:tickers],
            initial_loss=self.initial_loss[:tickers],
            best_epoch=self.best_epoch[:tickers],
        )


def join(pieces: Sequence[Fitted]) -> Fitted:
    """Return the results of several stacks as those of one."""
    names = pieces[0].weights
    return Fitted(
        weights={name: np.concatenate([piece.weights[name] for piece in pieces]) for name in names},
        training_loss=np.concatenate([piece.training_loss for piece in pieces]),
        validation_loss=np.concatenate([piece.validation_loss for piece in pieces]),
        initial_loss=np.concatenate([piece.initial_loss for piece in pieces]),
        best_epoch=np.concatenate([piece.best_epoch for piece in pieces]),
    )


def network(weights: Weights) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of `weights` that belong to the network itself."""
    return {name: array for name, array in weights.items() if name.startswith(("lstm_", "dense."))}


def layers(weights: Weights) -> int:
    """Return how many LSTM layers `weights` describe."""
    return sum(name.endswith(".recurrent_kernel") for name in weights)


def quantiles(weights: Weights, inputs: NDArray[np.float32]) -> Floats:
    """Return the quantiles of the last step, shape (tickers, windows, levels), never crossing.

    `inputs` has shape (tickers, windows, steps, features).
    """
    steps = np.moveaxis(np.asarray(inputs, np.float32), 2, 0)
    for layer in range(layers(weights)):
        steps = _lstm(weights, layer, steps)
    return _spread_out(steps[-1] @ weights["dense.kernel"] + weights["dense.bias"][:, None])


def all_quantiles(weights: Weights, inputs: NDArray[np.float32]) -> Floats:
    """Return the quantiles of every step, shape (tickers, windows, steps, levels)."""
    steps = np.moveaxis(np.asarray(inputs, np.float32), 2, 0)
    for layer in range(layers(weights)):
        steps = _lstm(weights, layer, steps)
    raw = steps @ weights["dense.kernel"] + weights["dense.bias"][:, None]
    return np.moveaxis(_spread_out(raw), 0, 2)


def accumulation() -> NDArray[np.float32]:
    """Return the matrix (levels, levels) that adds spreads to the median on both sides."""
    matrix = np.zeros((LEVELS, LEVELS), np.float32)
    matrix[MEDIAN] = 1
    for level in range(LEVELS):
        matrix[level, : level + 1] -= level < MEDIAN
        matrix[level, level:] += level > MEDIAN
    return matrix


def stack(weights: Sequence[Weights]) -> dict[str, NDArray[np.float32]]:
    """Join the weights of single tickers along a new leading ticker axis."""
    return {name: np.stack([one[name] for one in weights]) for name in weights[0]}


def split(weights: Weights) -> list[dict[str, NDArray[np.float32]]]:
    """Return the weights of every ticker of a stack."""
    tickers = len(weights["dense.bias"])
    return [{name: array[ticker] for name, array in weights.items()} for ticker in range(tickers)]


def to_bytes(weights: Weights) -> bytes:
    """Return `weights` in the safetensors format; equal weights give equal bytes."""
    data: bytes = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in weights.items()}
    )
    return data


def from_bytes(data: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the weights that `to_bytes` made into `data`."""
    weights: dict[str, NDArray[np.float32]] = safetensors.numpy.load(data)
    return weights


def _lstm(weights: Weights, layer: int, steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outputs (steps, tickers, windows, units) of one layer."""
    kernel = weights[f"lstm_{layer}.kernel"]
    recurrent_kernel = weights[f"lstm_{layer}.recurrent_kernel"]
    bias = weights[f"lstm_{layer}.bias"][:, None]
    units = recurrent_kernel.shape[1]
    output = np.zeros((*steps.shape[:-1], units), np.float32)
    hidden = cell = np.zeros_like(output[0])
    for number, step in enumerate(steps):
        raw = step @ kernel + hidden @ recurrent_kernel + bias
        entry, forget, _, exit_ = np.split((np.tanh(raw / 2) + 1) / 2, 4, axis=-1)
        cell = forget * cell + entry * np.tanh(raw[..., 2 * units : 3 * units])
        hidden = output[number] = exit_ * np.tanh(cell)
    return output


def _spread_out(raw: NDArray[np.floating]) -> Floats:
    """Return quantiles around a median, spreads adding up on both sides."""
    raw = raw.astype(np.float64)
    median = raw[..., MEDIAN : MEDIAN + 1]
    spreads = (raw + np.hypot(raw, 2)) / 2
    above = median + np.cumsum(spreads[..., MEDIAN + 1 :], axis=-1)
    below = median - np.cumsum(spreads[..., :MEDIAN][..., ::-1], axis=-1)[..., ::-1]
    return np.concatenate([below, median, above], axis=-1)
