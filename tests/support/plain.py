"""Networks made up in no time, here and in a training child.

`python -m tests.support.plain` is such a child.
"""

import sys
import time
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from stockbatch.config import ModelSettings
from stockbatch.engine.network import Network
from stockbatch.engine.training import (
    Fitted,
    OnEpoch,
    Overdue,
    TrainingData,
    TrainingProcess,
)
from stockbatch.engine.training.child import serve
from stockbatch.engine.weights import Weights, stack

One = tuple[Any, Any, np.uint64]
"""Inputs, targets and seed of one network."""


class PlainTrainer:
    """Makes up a network of each ticker from its data and seed in no time."""

    pid = None

    def start(self) -> None:
        pass

    def discard(self) -> None:
        pass

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
        every = zip(data.inputs, data.targets, data.seeds, strict=True)
        return self._fitted(network, every, settings)

    def fit_pooled(
        self,
        network: Network,
        data: TrainingData,
        settings: ModelSettings,
        *,
        on_epoch: OnEpoch | None = None,
        overdue: Overdue | None = None,
    ) -> Fitted:
        return self._fitted(network, [(data.inputs, data.targets, data.seeds[0])], settings)

    def _fitted(self, network: Network, every: Iterable[One], settings: ModelSettings) -> Fitted:
        made = [self._weights(network, *one, settings) for one in every]
        epochs = (len(made), settings.epochs)
        return Fitted(
            weights=stack(made),
            training_loss=np.full(epochs, 0.2),
            validation_loss=np.full(epochs, 0.2),
            initial_loss=np.full(len(made), 0.2),
            best_epoch=np.ones(len(made), dtype=np.int64),
        )

    def _weights(
        self, network: Network, inputs: Any, targets: Any, seed: Any, settings: ModelSettings
    ) -> Weights:
        data = zlib.crc32(inputs.tobytes() + targets.tobytes())
        rng = np.random.default_rng([int(seed), data])
        shapes = network.shapes(inputs.shape[-1], settings)
        return {n: rng.normal(0, 0.1, shape).astype(np.float32) for n, shape in shapes.items()}


class Counting(PlainTrainer):
    """Tells of every epoch before it answers, so that something may happen meanwhile."""

    def fit(self, *given: Any, on_epoch: OnEpoch | None = None, **options: Any) -> Fitted:
        self._count(given[-1], on_epoch)
        return super().fit(*given, **options)

    def fit_pooled(self, *given: Any, on_epoch: OnEpoch | None = None, **options: Any) -> Fitted:
        self._count(given[-1], on_epoch)
        return super().fit_pooled(*given, **options)

    def _count(self, settings: ModelSettings, on_epoch: OnEpoch | None) -> None:
        for epoch in range(settings.epochs if on_epoch else 0):
            on_epoch(epoch + 1, settings.epochs)
            time.sleep(0.001)


class PlainProcess(TrainingProcess):
    """A real child with all its limits that makes up networks as PlainTrainer does."""

    program = (sys.executable, "-m", "tests.support.plain")


if __name__ == "__main__":
    serve(Counting)
