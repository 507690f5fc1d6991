"""Networks made up in no time, here and in a training child.

`python -m tests.support.plain` is such a child.
"""

import sys
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from stockbatch.config import ModelSettings
from stockbatch.engine import training
from stockbatch.engine.inference import Fitted, stack


class PlainTrainer:
    """Makes up a network of each ticker from its data and seed in no time."""

    pid = None

    def discard(self) -> None:
        pass

    def fit(
        self, inputs: Any, targets: Any, *masks: Any, initial: Any = None, **options: Any
    ) -> Fitted:
        _, _, seeds, settings = masks
        return self._fitted(zip(inputs, targets, seeds, strict=True), settings)

    def fit_pooled(self, inputs: Any, targets: Any, *masks: Any, **options: Any) -> Fitted:
        _, _, seeds, settings = masks
        return self._fitted([(inputs, targets, seeds[0])], settings)

    def _fitted(self, tickers: Any, settings: ModelSettings) -> Fitted:
        made = [self._weights(*one, settings) for one in tickers]
        epochs = (len(made), settings.epochs)
        return Fitted(
            weights=stack(made),
            training_loss=np.full(epochs, 0.2),
            validation_loss=np.full(epochs, 0.2),
            initial_loss=np.full(len(made), 0.2),
            best_epoch=np.ones(len(made), dtype=np.int64),
        )

    def _weights(self, inputs: Any, targets: Any, seed: Any, settings: ModelSettings) -> Any:
        data = zlib.crc32(inputs.tobytes() + targets.tobytes())
        rng = np.random.default_rng([int(seed), data])
        units = settings.units
        shapes = {
            "lstm_0.kernel": (inputs.shape[-1], 4 * units),
            "lstm_0.recurrent_kernel": (units, 4 * units),
            "lstm_0.bias": (4 * units,),
            "dense.kernel": (units, 9),
            "dense.bias": (9,),
        }
        return {n: rng.normal(0, 0.1, shape).astype(np.float32) for n, shape in shapes.items()}


def main() -> None:
    """Be a training child whose networks are made up."""
    names = ("inputs", "targets", "train", "validation", "seeds", "settings")
    made = PlainTrainer()

    def made_up(fit: Callable[..., Any]) -> Callable[..., Any]:
        def after_an_epoch(**given: Any) -> Any:
            given["progress"](1, 3)
            return fit(*(given[name] for name in names))

        return after_an_epoch

    lstm = {"fit": made_up(made.fit), "fit_pooled": made_up(made.fit_pooled)}
    sys.modules["stockbatch.engine.lstm"] = SimpleNamespace(**lstm)  # type: ignore[assignment]
    training.main()


if __name__ == "__main__":
    main()
