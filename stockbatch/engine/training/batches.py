"""What a stack of networks is fed, drawn per ticker (NumPy only).

A window is a lookback and the scored steps after it, each of which has a loss: truncated
back-propagation through time (Williams & Peng, "An efficient gradient-based algorithm for on-line
training of recurrent network trajectories", Neural Computation 2, 1990). Every session is scored in
one window alone: with as many scored steps as steps of lookback, an epoch costs two passes over a
series, where a window per session would cost as many as it has steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import ModelSettings
from stockbatch.engine import features
from stockbatch.engine.seeds import generator
from stockbatch.engine.training.trainer import Bools, TrainingData
from stockbatch.engine.weights import Singles

Rows = NDArray[np.intp]
"""Numbers of windows, of shape (tickers, batch); -1 stands for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The windows of a stack, all arrays starting with (tickers, windows)."""

    inputs: Singles
    targets: Singles
    """Of the scored steps, 0 where unknown."""
    train: Singles
    """1 for every scored step to learn from, else 0."""
    validation: Singles
    """1 for every scored step to validate with, else 0."""
    seeds: NDArray[np.uint64]
    """Of shape (tickers,)."""

    def stack(self, tickers: slice, size: int) -> "Windows":
        """Return the windows of `tickers`, followed by empty ones up to `size` tickers."""
        return Windows(
            inputs=padded(self.inputs[tickers], size),
            targets=padded(self.targets[tickers], size),
            train=padded(self.train[tickers], size),
            validation=padded(self.validation[tickers], size),
            seeds=padded(self.seeds[tickers], size),
        )

    def pooled(self) -> "Windows":
        """Return the windows of all tickers as those of one network, which has the only seed."""
        return Windows(
            inputs=_in_one_row(self.inputs),
            targets=_in_one_row(self.targets),
            train=_in_one_row(self.train),
            validation=_in_one_row(self.validation),
            seeds=self.seeds,
        )

    def take(self, weights: Singles, rows: Rows) -> tuple[Singles, Singles, Singles]:
        """Return inputs, targets and weights of the windows `rows`; those of none weigh nothing."""
        # -1 takes the last window, which then weighs nothing: a batch has a window everywhere.
        chosen = np.arange(len(rows))[:, None], rows
        weighed = weights[chosen] * (rows >= 0)[..., None].astype(np.float32)
        return self.inputs[chosen], self.targets[chosen], weighed

    def steps(
        self, epoch: int, active: Bools, settings: ModelSettings
    ) -> Iterator[tuple[Rows, Singles]]:
        """Yield the windows of every training step of an epoch and their dropout masks.

        Each active ticker goes through those of its windows that have something to learn from, in
        an order drawn from its seed and the epoch; masks have shape (tickers, batch, units). What
        is kept is scaled up, so that outputs are the same in the mean as without dropout.
        """
        used: Bools = np.any(self.train, axis=-1)
        rows = np.full((len(used), _rounded_up(used, settings.batch)), -1)
        masks = np.ones((*rows.shape, settings.units), np.float32)
        # One that has stopped gets no windows, so no gradient, and the optimizer leaves it alone.
        for ticker in np.flatnonzero(active):
            drawn = generator(self.seeds[ticker], epoch)
            own = drawn.permutation(np.flatnonzero(used[ticker]))
            kept = drawn.random((len(own), settings.units)) >= settings.dropout
            rows[ticker, : len(own)] = own
            masks[ticker, : len(own)] = kept / (1 - settings.dropout)
        for first in range(0, rows.shape[1], settings.batch):
            step = slice(first, first + settings.batch)
            yield rows[:, step], masks[:, step]

    def validation_steps(self, settings: ModelSettings) -> Iterator[Rows]:
        """Yield the windows that have something to validate with, in batches like those trained.

        One shape of a batch is one graph.
        """
        used: Bools = np.any(self.validation, axis=-1)
        rows = np.full((len(used), _rounded_up(used, settings.batch)), -1)
        for ticker, own in enumerate(used):
            rows[ticker, : own.sum()] = np.flatnonzero(own)
        for first in range(0, rows.shape[1], settings.batch):
            yield rows[:, first : first + settings.batch]


def cut(data: TrainingData, settings: ModelSettings) -> Windows:
    """Cut series into windows; steps with unknown inputs or targets weigh nothing.

    What is unknown becomes 0 before the forward pass: NaN times a weight of zero is still NaN.
    """
    # A step without its inputs or its target has nothing to learn from, but stays in its place.
    usable = np.isfinite(data.targets) & np.isfinite(data.inputs).all(axis=-1)
    known = np.where(np.isfinite(data.inputs), data.inputs, 0).astype(np.float32)

    def scored(array: NDArray[Any]) -> Singles:
        return features.windows(array.astype(np.float32), 0, settings.scored_steps)

    return Windows(
        inputs=features.windows(known, settings.lookback, settings.scored_steps),
        targets=scored(np.where(usable, data.targets, 0.0)),
        train=scored(data.train & usable),
        validation=scored(data.validation & usable),
        seeds=data.seeds,
    )


def padded(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Return `array` with zeros appended up to `size` tickers."""
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1))


def _in_one_row(windows: Singles) -> Singles:
    """Return (tickers, windows, …) as (1, tickers * windows, …)."""
    return windows.reshape(1, -1, *windows.shape[2:])


def _rounded_up(used: Bools, batch: int) -> int:
    """Return the largest number of used windows of a ticker, rounded up to whole batches."""
    return -(-int(used.sum(axis=1).max()) // batch) * batch
