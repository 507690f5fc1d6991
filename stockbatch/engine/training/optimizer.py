"""Adam for a stack of networks that must not know of each other."""

from typing import Any

import keras
from keras import ops

MEAN_DECAY, SQUARE_DECAY = 0.9, 0.999
SMALLEST_ROOT = 1e-7
"""As in Keras's Adam, which this one equals for one ticker."""


class TickerAdam(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Adam with everything per ticker: clipping, moments and count of steps.

    A ticker whose gradient is zero or not finite has nothing to learn from a step and keeps its
    weights, moments and count; a gradient merely set to zero would let Adam go on moving it by its
    momentum. `anchor` pulls weights back to where they started: weight decay towards the base in
    place of zero, decoupled from the gradient (Kingma & Ba, "Adam: a method for stochastic
    optimization", 2015; Loshchilov & Hutter, "Decoupled weight decay regularization", 2019).
    """

    def __init__(
        self, learning_rate: float, clip_norm: float, anchor: float = 0.0, **options: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, **options)
        self.clip_norm = clip_norm
        self.anchor = anchor

    def build(self, variables: list[Any]) -> None:
        """Make the moments of `variables`, whose first axis is the ticker's."""
        if not self.built:
            super().build(variables)
            self.means = [self.add_variable_from_reference(one, "mean") for one in variables]
            self.squares = [self.add_variable_from_reference(one, "square") for one in variables]
            self.starts = [self.add_variable_from_reference(one, "start") for one in variables]
            # Powers of the decays in place of a count of steps: tickers have taken different ones.
            tickers = (variables[0].shape[0],)
            self.mean_bias = self.add_variable(tickers, "ones", name="mean_bias")
            self.square_bias = self.add_variable(tickers, "ones", name="square_bias")

    def apply(self, gradients: Any, trainable_variables: Any = None) -> None:
        """Update every ticker that has something to learn."""
        variables = list(trainable_variables or self._trainable_variables)
        self.build(variables)
        norm = ops.sqrt(
            sum(ops.sum(ops.square(one), axis=tuple(range(1, len(one.shape)))) for one in gradients)
        )
        learns = ops.logical_and(ops.isfinite(norm), norm > 0)
        # Clipped by the norm of all of a ticker's gradients together, which keeps their direction.
        factor = ops.minimum(self.clip_norm / ops.where(learns, norm, 1.0), 1.0)
        mean_bias, square_bias = self.mean_bias * MEAN_DECAY, self.square_bias * SQUARE_DECAY
        # Moments begin at zero: early steps would be too small without this.
        rate = self.learning_rate * ops.sqrt(1 - square_bias) / (1 - mean_bias)
        self.mean_bias.assign(ops.where(learns, mean_bias, self.mean_bias.value))
        self.square_bias.assign(ops.where(learns, square_bias, self.square_bias.value))
        for gradient, *own in zip(
            gradients, variables, self.means, self.squares, self.starts, strict=True
        ):
            self._update(gradient, own, learns, factor, rate)
        self._iterations.assign_add(1)

    def _update(self, gradient: Any, own: list[Any], learns: Any, factor: Any, rate: Any) -> None:
        """Update one variable and its moments, `own`, of the tickers that learn."""
        before, mean, square, start = (one.value for one in own)
        shape = (-1, *(1,) * (len(before.shape) - 1))
        mask, scale, step = (ops.reshape(one, shape) for one in (learns, factor, rate))
        # NaN times zero is NaN: what is not learned from is replaced, not scaled away.
        gradient = ops.where(mask, gradient, 0.0) * scale
        moved = mean + (gradient - mean) * (1 - MEAN_DECAY)
        spread = square + (ops.square(gradient) - square) * (1 - SQUARE_DECAY)
        change = step * moved / (ops.sqrt(spread) + SMALLEST_ROOT)
        # Decoupled: it is neither clipped nor divided by the gradient's spread.
        change = change + self.learning_rate * self.anchor * (before - start)
        after = (before - change, moved, spread)
        for variable, new, old in zip(own, after, (before, mean, square), strict=False):
            variable.assign(ops.where(mask, new, old))

    def reset(self) -> None:
        """Forget all that was learned about gradients and anchor the weights where they are."""
        for variable in (*self.means, *self.squares):
            variable.assign(ops.zeros(variable.shape))
        for start, variable in zip(self.starts, self._trainable_variables, strict=True):
            start.assign(ops.copy(variable.value))
        for variable in (self.mean_bias, self.square_bias):
            variable.assign(ops.ones(variable.shape))
