"""What a trainer is given, what it does and what it leaves behind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import ModelSettings
from stockbatch.engine.network import Network
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Floats

Bools = NDArray[np.bool_]
OnEpoch = Callable[[int, int], None]
"""Told after every epoch how many are done and how many there are at most."""
Overdue = Callable[[], bool]
"""Asked again and again whether training has to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Series of many tickers to learn from, all arrays but `seeds` (tickers, sessions, …)."""

    inputs: Singles
    """With a last axis of features."""
    targets: Floats
    """NaN where there is none."""
    train: Bools
    """True for the steps that are fitted."""
    validation: Bools
    """True for the steps that stop the fit."""
    seeds: NDArray[np.uint64]
    """One per network: of every ticker, or of the only network that they train together."""


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


class Trainer(Protocol):
    """Trains networks, in this process or another one."""

    def fit(
        self,
        network: Network,
        data: TrainingData,
        settings: ModelSettings,
        *,
        initial: Weights | None = None,
        on_epoch: OnEpoch | None = None,
        overdue: Overdue | None = None,
    ) -> Fitted:
        """Train a network per ticker, from `initial` weights (tickers, …) or new ones.

        Each keeps the weights of the epoch that validated best. Raises TrainingFailed, and
        TrainingOverdue once `overdue` returns true.
        """

    def fit_pooled(
        self,
        network: Network,
        data: TrainingData,
        settings: ModelSettings,
        *,
        on_epoch: OnEpoch | None = None,
        overdue: Overdue | None = None,
    ) -> Fitted:
        """Train one network on all tickers: the base model, a stack of one.

        It takes the settings of `settings.for_base()`. Raises what `fit` raises.
        """


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
