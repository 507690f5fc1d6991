"""Optimizers for a stack of networks that must not know of each other."""

from typing import Any, ClassVar

import keras
from keras import ops

from stockbatch.config import ModelSettings


class TickerOptimizer(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Everything per ticker: clipping, moments and, where they count, steps.

    A ticker whose gradient is zero or not finite has nothing to learn from a step and keeps its
    weights, moments and count; a gradient merely set to zero would let it be moved on by its
    momentum. `anchor` pulls weights back to where they started: weight decay towards the base in
    place of zero; `decay` pulls them to zero. Both are decoupled from the gradient (Loshchilov &
    Hutter, "Decoupled weight decay regularization", 2019).
    """

    slots: ClassVar[tuple[str, ...]]
    """Moments of every weight, by name."""

    def __init__(
        self,
        learning_rate: float,
        clip_norm: float,
        anchor: float = 0.0,
        decay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **options)
        self.clip_norm = clip_norm
        self.anchor = anchor
        self.decay = decay

    def build(self, variables: list[Any]) -> None:
        """Make the moments of `variables`, whose first axis is the ticker's."""
        if not self.built:
            super().build(variables)
            self.moments = [
                [self.add_variable_from_reference(one, name) for name in self.slots]
                for one in variables
            ]
            self.starts = [self.add_variable_from_reference(one, "start") for one in variables]

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
        rate = self._rate(learns)
        for gradient, variable, moments, start in zip(
            gradients, variables, self.moments, self.starts, strict=True
        ):
            self._update(gradient, [variable, *moments], start.value, learns, factor, rate)
        self._iterations.assign_add(1)

    def _rate(self, learns: Any) -> Any:
        """Return the step size of each ticker, and count the step of those that learn."""
        return self.learning_rate * ops.ones(learns.shape)

    def _change(self, gradient: Any, moments: list[Any], step: Any) -> tuple[Any, ...]:
        """Return what weights are to lose, and the moments after it."""
        raise NotImplementedError

    def _update(
        self, gradient: Any, own: list[Any], start: Any, learns: Any, factor: Any, rate: Any
    ) -> None:
        """Update one variable and its moments, `own`, of the tickers that learn."""
        before, *moments = (one.value for one in own)
        shape = (-1, *(1,) * (len(before.shape) - 1))
        mask, scale, step = (ops.reshape(one, shape) for one in (learns, factor, rate))
        # NaN times zero is NaN: what is not learned from is replaced, not scaled away.
        gradient = ops.where(mask, gradient, 0.0) * scale
        change, *moved = self._change(gradient, moments, step)
        # Neither clipped nor divided by the gradient's spread.
        change = change + self.learning_rate * self.anchor * (before - start)
        if self.decay:
            change = change + self.learning_rate * self.decay * before
        for variable, new, old in zip(
            own, (before - change, *moved), (before, *moments), strict=True
        ):
            variable.assign(ops.where(mask, new, old))

    def reset(self) -> None:
        """Forget all that was learned about gradients and anchor the weights where they are."""
        for variable in (one for moments in self.moments for one in moments):
            variable.assign(ops.zeros(variable.shape))
        for start, variable in zip(self.starts, self._trainable_variables, strict=True):
            start.assign(ops.copy(variable.value))


class TickerAdam(TickerOptimizer):
    """Adam; for one ticker it equals Keras's, and with `decay` Keras's AdamW.

    Kingma & Ba, "Adam: a method for stochastic optimization", 2015.
    """

    slots = ("mean", "square")
    MEAN_DECAY, SQUARE_DECAY = 0.9, 0.999
    SMALLEST_ROOT = 1e-7

    def build(self, variables: list[Any]) -> None:
        """Make the moments of `variables`, and what stands for counts of steps."""
        if not self.built:
            super().build(variables)
            # Powers of the decays in place of a count of steps: tickers have taken different ones.
            tickers = (variables[0].shape[0],)
            self.mean_bias = self.add_variable(tickers, "ones", name="mean_bias")
            self.square_bias = self.add_variable(tickers, "ones", name="square_bias")

    def _rate(self, learns: Any) -> Any:
        mean_bias = self.mean_bias * self.MEAN_DECAY
        square_bias = self.square_bias * self.SQUARE_DECAY
        # Moments begin at zero: early steps would be too small without this.
        rate = self.learning_rate * ops.sqrt(1 - square_bias) / (1 - mean_bias)
        self.mean_bias.assign(ops.where(learns, mean_bias, self.mean_bias.value))
        self.square_bias.assign(ops.where(learns, square_bias, self.square_bias.value))
        return rate

    def _change(self, gradient: Any, moments: list[Any], step: Any) -> tuple[Any, ...]:
        mean, square = moments
        moved = mean + (gradient - mean) * (1 - self.MEAN_DECAY)
        spread = square + (ops.square(gradient) - square) * (1 - self.SQUARE_DECAY)
        return step * moved / (ops.sqrt(spread) + self.SMALLEST_ROOT), moved, spread

    def reset(self) -> None:
        """Forget also how many steps were taken."""
        super().reset()
        for variable in (self.mean_bias, self.square_bias):
            variable.assign(ops.ones(variable.shape))


class TickerRMSprop(TickerOptimizer):
    """RMSprop; for one ticker it equals Keras's.

    Tieleman & Hinton, "Lecture 6.5: divide the gradient by a running average of its recent
    magnitude", 2012.
    """

    slots = ("square",)
    SQUARE_DECAY = 0.9
    SMALLEST_SQUARE = 1e-7

    def _change(self, gradient: Any, moments: list[Any], step: Any) -> tuple[Any, ...]:
        (square,) = moments
        spread = self.SQUARE_DECAY * square + (1 - self.SQUARE_DECAY) * ops.square(gradient)
        return step * gradient / ops.sqrt(spread + self.SMALLEST_SQUARE), spread


KINDS: dict[str, type[TickerOptimizer]] = {
    "adam": TickerAdam,
    "adamw": TickerAdam,
    "rmsprop": TickerRMSprop,
}


def optimizer(settings: ModelSettings) -> TickerOptimizer:
    """Return a new optimizer as the settings have it."""
    return KINDS[settings.optimizer](
        settings.learning_rate,
        settings.clip_norm,
        settings.anchor,
        settings.weight_decay if settings.optimizer == "adamw" else 0.0,
    )
