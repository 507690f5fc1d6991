"""The GRU: an LSTM with one gate less, and without a memory beside its output.

Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP 2014.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stockbatch.config import ModelSettings
from stockbatch.engine import head
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Floats

PARTS = ("kernel", "recurrent_kernel", "bias")
"""Of a layer, in the order of Keras."""


class GRU:
    """GRU layers on top of each other and a dense layer; gates in the order of Keras.

    That order is update, reset, candidate; the reset is applied before the recurrent kernel, as in
    the paper. Its methods are those of `Network`.
    """

    name = "gru"

    def owns(self, weights: Weights) -> bool:
        """Tell whether `weights` are those of a GRU that states the levels of today."""
        return "gru_0.kernel" in weights and head.states_levels_of_today(weights)

    def shapes(self, inputs: int, settings: ModelSettings) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array of one ticker's weights, by name."""
        units = settings.units
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(settings.layers):
            shapes[f"gru_{layer}.kernel"] = (units if layer else inputs, 3 * units)
            shapes[f"gru_{layer}.recurrent_kernel"] = (units, 3 * units)
            shapes[f"gru_{layer}.bias"] = (3 * units,)
        return shapes | head.shapes(units)

    def draw(
        self, random: np.random.Generator, inputs: int, settings: ModelSettings
    ) -> dict[str, Singles]:
        """Draw one ticker's initial weights, which state standard normal quantiles.

        Much is kept at first, as by the forget gate of the LSTM.
        """
        units = settings.units
        weights: dict[str, head.Doubles] = {}
        for layer in range(settings.layers):
            size = units if layer else inputs
            bias = np.zeros(3 * units)
            bias[:units] = 1
            weights[f"gru_{layer}.kernel"] = head.uniform(random, size, 3 * units)
            weights[f"gru_{layer}.recurrent_kernel"] = head.orthogonal(random, units, 3 * units)
            weights[f"gru_{layer}.bias"] = bias
        weights |= head.draw(units)
        return {name: array.astype(np.float32) for name, array in weights.items()}

    def quantiles(self, weights: Weights, inputs: Singles) -> Floats:
        """Return the quantiles of the last step, in NumPy."""
        return head.stated(weights, _outputs(weights, inputs)[-1])

    def all_quantiles(self, weights: Weights, inputs: Singles) -> Floats:
        """Return the quantiles of every step, in NumPy."""
        return np.moveaxis(head.stated(weights, _outputs(weights, inputs)), 0, 2)

    def graph(
        self, weights: Mapping[str, Any], inputs: Any, masks: Any, settings: ModelSettings
    ) -> Any:
        """Return the quantiles of the scored steps, in operations of Keras."""
        from stockbatch.engine.operations import stated  # Keras is for where there is training

        steps = inputs
        for layer in range(settings.layers):
            steps = _layer(steps, *(weights[f"gru_{layer}.{part}"] for part in PARTS))
        return stated(weights, steps[:, :, settings.lookback :], masks)

    def export(self, weights: Weights, settings: ModelSettings, path: Path) -> None:
        """Write one ticker's weights as a `.keras` file of built-in layers."""
        import keras  # as above

        from stockbatch.engine.export import save

        steps = inputs = keras.Input((None, weights["gru_0.kernel"].shape[0]), name="features")
        for number in range(settings.layers):
            layer = keras.layers.GRU(
                settings.units,
                return_sequences=number + 1 < settings.layers,
                reset_after=False,
                name=f"gru_{number}",
            )
            steps = layer(steps)
            layer.set_weights([weights[f"gru_{number}.{part}"] for part in PARTS])
        save(inputs, steps, weights, settings, path)


def _outputs(weights: Weights, inputs: Singles) -> Singles:
    """Return the outputs (steps, tickers, windows, units) of the last layer, in NumPy."""
    # Steps come first, because the loop goes over them.
    steps = np.moveaxis(np.asarray(inputs, np.float32), 2, 0)
    for layer in range(sum(name.endswith(".recurrent_kernel") for name in weights)):
        kernel, recurrent_kernel, bias = (weights[f"gru_{layer}.{part}"] for part in PARTS)
        units = recurrent_kernel.shape[1]
        outputs = np.zeros((*steps.shape[:-1], units), np.float32)
        hidden = np.zeros_like(outputs[0])
        for number, step in enumerate(steps):
            raw = step @ kernel + bias[:, None]
            gates = raw[..., : 2 * units] + hidden @ recurrent_kernel[..., : 2 * units]
            # The sigmoid of x is (tanh(x / 2) + 1) / 2, which cannot overflow.
            update, reset = np.split((np.tanh(gates / 2) + 1) / 2, 2, axis=-1)
            candidate = np.tanh(
                raw[..., 2 * units :] + (reset * hidden) @ recurrent_kernel[..., 2 * units :]
            )
            hidden = outputs[number] = update * hidden + (1 - update) * candidate
        steps = outputs
    return steps


def _layer(inputs: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
    """Return the outputs (tickers, windows, steps, units) of one layer, in operations of Keras.

    As with the LSTM, gates are halved beforehand, what does not recur is one large product over all
    steps, and a scan keeps tracing short.
    """
    from keras import ops

    from stockbatch.engine.operations import affine

    units = recurrent_kernel.shape[1]
    halves = np.repeat(np.array([0.5, 0.5, 1], np.float32), units)
    raw = ops.transpose(affine(inputs, kernel * halves, bias * halves), (2, 0, 1, 3))
    of_gates, of_candidate = ops.split(recurrent_kernel * halves, [2 * units], axis=-1)

    def step(hidden: Any, step_raw: Any) -> tuple[Any, Any]:
        raw_gates, raw_candidate = ops.split(step_raw, [2 * units], axis=-1)
        gates = (ops.tanh(raw_gates + ops.matmul(hidden, of_gates)) + 1) * 0.5
        update, reset = ops.split(gates, 2, axis=-1)
        candidate = ops.tanh(raw_candidate + ops.matmul(reset * hidden, of_candidate))
        hidden = update * hidden + (1 - update) * candidate
        return hidden, hidden

    zeros = ops.zeros((*raw.shape[1:3], units), raw.dtype)
    return ops.transpose(ops.scan(step, zeros, raw)[1], (1, 2, 0, 3))
