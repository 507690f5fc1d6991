"""A stack of networks as one Keras model; it runs on every backend of Keras 3."""

from typing import Any

import keras
import numpy as np
from keras import ops

from stockbatch.config import ModelSettings
from stockbatch.engine.network import Network
from stockbatch.engine.operations import pinball_losses, smoothed_pinball_losses
from stockbatch.engine.training.optimizer import optimizer
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import SCORED, Floats

if keras.backend.backend() == "tensorflow":
    import tensorflow  # type: ignore[import-untyped]

    # Else threads may add up the same gradients in another order each time.
    tensorflow.config.experimental.enable_op_determinism()


class Stack(keras.Model):  # type: ignore[misc]
    """Networks of one kind, one per ticker; inputs are the windows and the dropout masks.

    A ticker's result depends on its own data, seed and initial weights alone, never on its stack.
    """

    def __init__(
        self, network: Network, tickers: int, inputs: int, settings: ModelSettings
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.by_name = {
            # PyTorch allows no point in a name.
            name: self.add_weight((tickers, *shape), "zeros", name=name.replace(".", "_"))
            for name, shape in network.shapes(inputs, settings).items()
        }
        self.loss_sum = self.add_weight((tickers,), "zeros", trainable=False, name="loss_sum")
        self.loss_count = self.add_weight((tickers,), "zeros", trainable=False, name="loss_count")
        self.built = True
        self.compile(optimizer(settings), jit_compile=keras.backend.backend() == "jax")
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs: Any) -> Any:
        """Return the quantiles (tickers, windows, scored steps, levels)."""
        windows, masks = inputs
        return self.network.graph(self.by_name, windows, masks, self.settings)

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """Return the sum over tickers of the mean loss of each one's weighted steps.

        A mean over tickers would let each one's gradient depend on how many there are. All levels
        are learned; what is told is the pinball loss of those SCORED, which validation is of, too.
        """
        weights = ops.convert_to_tensor(sample_weight)
        losses = learned = pinball_losses(y_pred, y)
        if self.settings.loss == "smoothed_pinball":
            learned = smoothed_pinball_losses(y_pred, y)
        total = ops.sum(ops.mean(learned, axis=-1) * weights, axis=(1, 2))
        told = ops.sum(ops.mean(losses[..., SCORED], axis=-1) * weights, axis=(1, 2))
        count = ops.sum(weights, axis=(1, 2))
        self.loss_sum.assign_add(ops.stop_gradient(told))
        self.loss_count.assign_add(count)
        return ops.sum(total / ops.maximum(count, 1.0))

    def predict_scored(self, windows: Singles) -> Singles:
        """Return the quantiles (tickers, windows, scored steps, levels), nothing dropped."""
        # The same graph as in training, with masks that drop nothing.
        masks = np.ones((*windows.shape[:2], self.settings.units), np.float32)
        quantiles: Singles = ops.convert_to_numpy(self.predict_on_batch((windows, masks)))
        return quantiles

    def load(self, weights: Weights) -> None:
        """Start from `weights` (tickers, …) with an untouched optimizer."""
        for name, variable in self.by_name.items():
            variable.assign(weights[name])
        self.optimizer.reset()
        self.take_losses()

    def read(self) -> dict[str, Singles]:
        """Return the weights (tickers, …)."""
        return {
            name: ops.convert_to_numpy(variable).copy() for name, variable in self.by_name.items()
        }

    def take_losses(self) -> Floats:
        """Return the mean loss per ticker since the last call, NaN where there was none."""
        total, count = (ops.convert_to_numpy(one) for one in (self.loss_sum, self.loss_count))
        for variable in (self.loss_sum, self.loss_count):
            variable.assign(ops.zeros(variable.shape))
        return mean(total.astype(np.float64), count.astype(np.float64))


def mean(total: Floats, count: Floats) -> Floats:
    """Return `total` / `count`, NaN where the count is 0."""
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
