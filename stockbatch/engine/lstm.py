"""The stacked LSTM: one network per ticker, all trained at once along a leading ticker axis.

The only module that imports Keras; it runs on every backend of Keras 3. A ticker's result depends
on its own data, seed and initial weights alone, never on its stack.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from stockbatch.config import ModelSettings
from stockbatch.engine import batches, inference
from stockbatch.engine.batches import Windows, initial_weights
from stockbatch.engine.inference import LEVELS, MEDIAN, Bools, Fitted, Progress, Weights
from stockbatch.records import QUANTILES, Floats

FEWEST_STEPS, SMALLEST_BATCH = 50, 4
"""A base of few tickers learns in smaller batches, so that an epoch has about so many steps."""
SMALLEST_STACK, LARGEST_STACK = 16, 64
"""A product of one matrix is rounded differently from one of many; more tickers gain nothing."""

if keras.backend.backend() == "tensorflow":
    import tensorflow  # type: ignore[import-untyped]

    tensorflow.config.experimental.enable_op_determinism()


class StackedLSTM(keras.layers.Layer):  # type: ignore[misc]
    """An LSTM layer per ticker; gates in the order of Keras: input, forget, cell, output."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: tuple[int, ...]) -> None:
        """Make the weights for inputs of `shape` (tickers, windows, steps, features)."""
        tickers, *_, inputs = shape
        self.kernel = self.add_weight((tickers, inputs, 4 * self.units), "zeros", name="kernel")
        self.recurrent_kernel = self.add_weight(
            (tickers, self.units, 4 * self.units), "zeros", name="recurrent_kernel"
        )
        self.bias = self.add_weight((tickers, 4 * self.units), "zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Return the outputs (tickers, windows, steps, units)."""
        halves = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), self.units)
        raw = _affine(inputs, self.kernel * halves, self.bias * halves)
        outputs = self._recur(ops.transpose(raw, (2, 0, 1, 3)), self.recurrent_kernel * halves)
        return ops.transpose(outputs, (1, 2, 0, 3))

    def _recur(self, raw: Any, recurrent_kernel: Any) -> Any:
        """Return the outputs (steps, tickers, windows, units) for gates without recurrence.

        The sigmoid of x is (tanh(x / 2) + 1) / 2; the gates come halved already.
        """

        def step(state: Any, step_raw: Any) -> tuple[Any, Any]:
            hidden, cell = state
            gates = ops.tanh(step_raw + ops.matmul(hidden, recurrent_kernel))
            entry, forget, candidate, exit_ = ops.split(gates, 4, axis=-1)
            cell = ((forget + 1) * cell + (entry + 1) * candidate) * 0.5
            state = ((exit_ + 1) * ops.tanh(cell) * 0.5, cell)
            return state, state

        zeros = ops.zeros((*raw.shape[1:3], self.units), raw.dtype)
        return ops.scan(step, (zeros, zeros), raw)[1][0]


class StackedQuantiles(keras.layers.Layer):  # type: ignore[misc]
    """A dense layer per ticker whose outputs become quantiles that never cross."""

    def build(self, shape: tuple[int, ...]) -> None:
        """Make the weights for inputs of `shape` (tickers, windows, steps, units)."""
        tickers, *_, units = shape
        self.kernel = self.add_weight((tickers, units, LEVELS), "zeros", name="kernel")
        self.bias = self.add_weight((tickers, LEVELS), "zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Return the quantiles (tickers, windows, steps, levels)."""
        raw = _affine(inputs, self.kernel, self.bias)
        spreads = (raw + ops.sqrt(raw * raw + 4)) * 0.5
        is_median = np.arange(LEVELS) == MEDIAN
        parts = ops.where(is_median, raw, spreads)
        adding = np.tile(inference.accumulation(), (parts.shape[0], 1, 1))
        return _affine(parts, adding, ops.zeros(self.bias.shape))


def _affine(inputs: Any, kernel: Any, bias: Any) -> Any:
    """Return `inputs` (tickers, windows, steps, size) times `kernel` plus `bias` per ticker.

    The bias is one more row of the kernel: the gradient of a broadcast sum is rounded differently
    at different places of a stack, that of a matrix product is not.
    """
    tickers, windows, steps, size = inputs.shape
    rows = ops.reshape(inputs, (tickers, windows * steps, size))
    rows = ops.concatenate([rows, ops.ones((tickers, windows * steps, 1), rows.dtype)], axis=-1)
    outputs = ops.matmul(rows, ops.concatenate([kernel, ops.expand_dims(bias, 1)], axis=1))
    return ops.reshape(outputs, (tickers, windows, steps, bias.shape[-1]))


class TickerAdam(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Adam with everything per ticker: clipping, moments and count of steps.

    A ticker whose gradient is zero or not finite has nothing to learn from a step and keeps its
    weights, moments and count. `anchor` pulls weights back to where they started: weight decay
    towards the base in place of zero, decoupled from the gradient (Loshchilov & Hutter, "Decoupled
    weight decay regularization", 2019).
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
        factor = ops.minimum(self.clip_norm / ops.where(learns, norm, 1.0), 1.0)
        mean_bias, square_bias = self.mean_bias * 0.9, self.square_bias * 0.999
        rate = self.learning_rate * ops.sqrt(1 - square_bias) / (1 - mean_bias)
        self.mean_bias.assign(ops.where(learns, mean_bias, self.mean_bias.value))
        self.square_bias.assign(ops.where(learns, square_bias, self.square_bias.value))
        for gradient, *own in zip(
            gradients, variables, self.means, self.squares, self.starts, strict=True
        ):
            before, mean, square, start = (one.value for one in own)
            shape = (-1, *(1,) * (len(before.shape) - 1))
            mask, scale, step = (ops.reshape(one, shape) for one in (learns, factor, rate))
            gradient = ops.where(mask, gradient, 0.0) * scale
            moved = mean + (gradient - mean) * 0.1
            spread = square + (ops.square(gradient) - square) * 0.001
            change = step * moved / (ops.sqrt(spread) + 1e-7)
            change = change + self.learning_rate * self.anchor * (before - start)
            after = (before - change, moved, spread)
            for variable, new, old in zip(own, after, (before, mean, square), strict=False):
                variable.assign(ops.where(mask, new, old))
        self._iterations.assign_add(1)

    def reset(self) -> None:
        """Forget all that was learned about gradients and anchor the weights where they are."""
        for variable in (*self.means, *self.squares):
            variable.assign(ops.zeros(variable.shape))
        for start, variable in zip(self.starts, self._trainable_variables, strict=True):
            start.assign(ops.copy(variable.value))
        for variable in (self.mean_bias, self.square_bias):
            variable.assign(ops.ones(variable.shape))


class Network(keras.Model):  # type: ignore[misc]
    """The networks of one stack; inputs are the windows and the dropout masks."""

    def __init__(self, tickers: int, inputs: int, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.lstms = [StackedLSTM(settings.units) for _ in range(settings.layers)]
        self.quantiles = StackedQuantiles()
        shape = (tickers, settings.batch, settings.lookback + settings.scored_steps)
        for number, layer in enumerate(self.lstms):
            layer.build((*shape, settings.units if number else inputs))
        self.quantiles.build((*shape, settings.units))
        self.loss_sum = self.add_weight((tickers,), "zeros", trainable=False, name="loss_sum")
        self.loss_count = self.add_weight((tickers,), "zeros", trainable=False, name="loss_count")
        self.built = True
        self.compile(
            TickerAdam(settings.learning_rate, settings.clip_norm, settings.anchor),
            jit_compile=keras.backend.backend() == "jax",
        )
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs: Any) -> Any:
        """Return the quantiles (tickers, windows, scored steps, levels)."""
        steps, masks = inputs
        for layer in self.lstms:
            steps = layer(steps)
        steps = steps[:, :, self.settings.lookback :] * ops.expand_dims(masks, 2)
        return self.quantiles(steps)

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """Return the sum over tickers of the mean pinball loss of each one's weighted steps."""
        weights = ops.convert_to_tensor(sample_weight)
        error = ops.expand_dims(y, -1) - y_pred
        levels = ops.convert_to_tensor(np.asarray(QUANTILES, np.float32))
        losses = ops.mean(ops.maximum(levels * error, (levels - 1) * error), axis=-1)
        total = ops.sum(losses * weights, axis=(1, 2))
        count = ops.sum(weights, axis=(1, 2))
        self.loss_sum.assign_add(ops.stop_gradient(total))
        self.loss_count.assign_add(count)
        return ops.sum(total / ops.maximum(count, 1.0))

    def by_name(self) -> dict[str, Any]:
        """Return the variables by the names they have in stored weights."""
        variables = {"dense.kernel": self.quantiles.kernel, "dense.bias": self.quantiles.bias}
        for number, layer in enumerate(self.lstms):
            for name in ("kernel", "recurrent_kernel", "bias"):
                variables[f"lstm_{number}.{name}"] = getattr(layer, name)
        return variables

    def load(self, weights: Weights) -> None:
        """Start from `weights` (tickers, …) with an untouched optimizer."""
        for name, variable in self.by_name().items():
            variable.assign(weights[name])
        self.optimizer.reset()
        self.take_losses()

    def read(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights (tickers, …)."""
        return {
            name: ops.convert_to_numpy(variable).copy() for name, variable in self.by_name().items()
        }

    def take_losses(self) -> Floats:
        """Return the mean loss per ticker since the last call, NaN where there was none."""
        total, count = (ops.convert_to_numpy(one) for one in (self.loss_sum, self.loss_count))
        for variable in (self.loss_sum, self.loss_count):
            variable.assign(ops.zeros(variable.shape))
        return _mean(total.astype(np.float64), count.astype(np.float64))


def fit(
    inputs: NDArray[np.float32],
    targets: Floats,
    train: Bools,
    validation: Bools,
    seeds: NDArray[np.uint64],
    settings: ModelSettings,
    initial: Weights | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> Fitted:
    """Train a network per ticker, `workers` stacks at a time.

    `inputs` has shape (tickers, sessions, features), `targets` (NaN where there is none), `train`
    and `validation` (tickers, sessions). `progress` gets the epochs done and how many there are.
    """
    tickers, features = len(inputs), inputs.shape[2]
    size = SMALLEST_STACK
    while size * workers < tickers and size < LARGEST_STACK:
        size *= 2
    windows = batches.cut(inputs, targets, train, validation, seeds, settings)
    start = initial or initial_weights(seeds, features, settings)
    firsts = range(0, tickers, size)
    counter = _Counter(progress, len(firsts) * settings.epochs)

    def fit_from(first: int) -> Fitted:
        piece = slice(first, min(first + size, tickers))
        weights = {name: batches.padded(array[piece], size) for name, array in start.items()}
        with _network(size, features, settings) as network:
            fitted = _fit_stack(network, windows.stack(piece, size), weights, counter.advance)
        return fitted.first(piece.stop - first)

    with ThreadPoolExecutor(workers) as pool:
        return inference.join(list(pool.map(fit_from, firsts)))


def fit_pooled(
    inputs: NDArray[np.float32],
    targets: Floats,
    train: Bools,
    validation: Bools,
    seeds: NDArray[np.uint64],
    settings: ModelSettings,
    progress: Progress | None = None,
) -> Fitted:
    """Train one network on the windows of all tickers: the base model, a stack of one.

    Shapes are those of `fit`, but for `seeds`, of which there is one.
    """
    settings = settings.for_base()
    windows = batches.cut(inputs, targets, train, validation, seeds, settings).pooled()
    batch = min(settings.batch, SMALLEST_BATCH)
    while batch * 2 * FEWEST_STEPS <= windows.inputs.shape[1] and batch * 2 <= settings.batch:
        batch *= 2
    settings = settings.model_copy(update={"batch": batch})
    start = batches.initial_weights(seeds, inputs.shape[2], settings)
    counter = _Counter(progress, settings.epochs)
    with _network(1, inputs.shape[2], settings) as network:
        return _fit_stack(network, windows, start, counter.advance)


def export(weights: Weights, settings: ModelSettings, path: Path) -> None:
    """Write one ticker's weights as a `.keras` file of built-in layers.

    It maps inputs (windows, steps, features) to quantiles (windows, levels) of the last step.
    """
    units, count = settings.units, settings.layers
    steps = inputs = keras.Input((None, weights["lstm_0.kernel"].shape[0]), name="features")
    for number in range(count):
        layer = keras.layers.LSTM(units, return_sequences=number + 1 < count, name=f"lstm_{number}")
        steps = layer(steps)
        names = ("kernel", "recurrent_kernel", "bias")
        layer.set_weights([weights[f"lstm_{number}.{name}"] for name in names])
    steps = keras.layers.Dropout(settings.dropout, name="dropout")(steps)
    others = [level for level in range(LEVELS) if level != MEDIAN]
    median = keras.layers.Dense(1, name="median")
    spreads = keras.layers.Dense(LEVELS - 1, activation="squareplus", name="spreads")
    total = keras.layers.Dense(LEVELS, use_bias=False, trainable=False, name="quantiles")
    outputs = total(keras.layers.Concatenate(name="raw")([median(steps), spreads(steps)]))
    for layer, columns in ((median, [MEDIAN]), (spreads, others)):
        layer.set_weights([weights["dense.kernel"][:, columns], weights["dense.bias"][columns]])
    total.set_weights([inference.accumulation()[[MEDIAN, *others]]])
    keras.Model(inputs, outputs, name="stockbatch").save(path)


_idle: defaultdict[tuple[int, int, ModelSettings], list[Network]] = defaultdict(list)


@contextmanager
def _network(tickers: int, inputs: int, settings: ModelSettings) -> Iterator[Network]:
    """Lend a network for this many tickers, a traced one if there is one idle."""
    idle = _idle[tickers, inputs, settings]
    network = idle.pop() if idle else Network(tickers, inputs, settings)
    try:
        yield network
    finally:
        idle.append(network)


def _fit_stack(
    network: Network, windows: Windows, start: Weights, advance: Callable[[int], None]
) -> Fitted:
    """Train until every ticker has stopped; each keeps the weights of its best epoch."""
    settings = network.settings
    network.load(start)
    initial_loss = _validate(network, windows)
    best, best_loss = dict(start), initial_loss
    best_epoch = np.zeros(len(initial_loss), np.int64)
    curves = np.full((2, len(initial_loss), settings.epochs), np.nan)
    active = np.any(windows.train, axis=(1, 2)) & np.isfinite(initial_loss)
    for epoch in range(1, settings.epochs + 1):
        if not active.any():
            advance(settings.epochs - epoch + 1)
            break
        for rows, masks in windows.steps(epoch, active, settings):
            x, y, weights = windows.take(windows.train, rows)
            network.train_on_batch((x, masks), y, weights)
        loss = _validate(network, windows)
        curves[:, active, epoch - 1] = network.take_losses()[active], loss[active]
        better = active & (loss < best_loss)
        best = _chosen(better, network.read(), best)
        best_loss = np.where(better, loss, best_loss)
        best_epoch[better] = epoch
        active &= np.isfinite(loss) & (epoch - best_epoch < settings.patience)
        advance(1)
    return Fitted(
        weights=best,
        training_loss=curves[0],
        validation_loss=curves[1],
        initial_loss=initial_loss,
        best_epoch=best_epoch,
    )


def _validate(network: Network, windows: Windows) -> Floats:
    """Return the mean pinball loss of each ticker's validation steps, NaN where it has none."""
    total, count = np.zeros(len(windows.seeds)), np.zeros(len(windows.seeds))
    levels = np.asarray(QUANTILES)
    for rows in windows.validation_steps(network.settings):
        x, y, weights = windows.take(windows.validation, rows)
        masks = np.ones((*rows.shape, network.settings.units), np.float32)
        predicted = ops.convert_to_numpy(network.predict_on_batch((x, masks)))
        error = y[..., None] - predicted.astype(np.float64)
        losses = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
        total += (losses * weights).sum(axis=(1, 2))
        count += weights.sum(axis=(1, 2))
    return _mean(total, count)


def _mean(total: Floats, count: Floats) -> Floats:
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _chosen(mask: Bools, new: Weights, old: Weights) -> dict[str, NDArray[np.float32]]:
    """Return the new weights of the tickers in `mask`, the old ones of the others."""
    return {
        name: np.where(mask.reshape(-1, *[1] * (array.ndim - 1)), array, old[name])
        for name, array in new.items()
    }


class _Counter:
    """Adds up the epochs of stacks that train side by side."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = Lock()

    def advance(self, epochs: int) -> None:
        with self._lock:
            self._done += epochs
            if self._progress:
                self._progress(self._done, self._total)
