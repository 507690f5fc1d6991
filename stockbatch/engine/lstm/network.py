"""The LSTM as a kind of network: its weights, and where its passes are."""

from pathlib import Path
from typing import Any

import numpy as np

from stockbatch.config import ModelSettings
from stockbatch.engine import head
from stockbatch.engine.lstm import forward
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Floats

PARTS = ("kernel", "recurrent_kernel", "bias")
"""Of a layer, in the order of Keras."""


class LSTM:
    """LSTM layers on top of each other and a dense layer; gates in the order of Keras.

    That order is input, forget, cell, output. Its methods are those of `Network`.
    """

    name = "lstm"

    def owns(self, weights: Weights) -> bool:
        """Tell whether `weights` are those of an LSTM that states the levels of today."""
        return "lstm_0.kernel" in weights and head.states_levels_of_today(weights)

    def shapes(self, inputs: int, settings: ModelSettings) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array of one ticker's weights, by name."""
        units = settings.units
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(settings.layers):
            shapes[f"lstm_{layer}.kernel"] = (units if layer else inputs, 4 * units)
            shapes[f"lstm_{layer}.recurrent_kernel"] = (units, 4 * units)
            shapes[f"lstm_{layer}.bias"] = (4 * units,)
        return shapes | head.shapes(units)

    def draw(
        self, random: np.random.Generator, inputs: int, settings: ModelSettings
    ) -> dict[str, Singles]:
        """Draw one ticker's initial weights, which state standard normal quantiles.

        Gates forget little at first (Jozefowicz, Zaremba & Sutskever, 2015).
        """
        units = settings.units
        weights: dict[str, head.Doubles] = {}
        for layer in range(settings.layers):
            bias = np.zeros(4 * units)
            bias[units : 2 * units] = 1
            recurrent = head.orthogonal(random, units, 4 * units)
            weights[f"lstm_{layer}.kernel"] = head.uniform(
                random, units if layer else inputs, 4 * units
            )
            weights[f"lstm_{layer}.recurrent_kernel"] = recurrent
            weights[f"lstm_{layer}.bias"] = bias
        weights |= head.draw(units)
        return {name: array.astype(np.float32) for name, array in weights.items()}

    def quantiles(self, weights: Weights, inputs: Singles) -> Floats:
        """Return the quantiles of the last step, in NumPy."""
        return forward.quantiles(weights, inputs)

    def all_quantiles(self, weights: Weights, inputs: Singles) -> Floats:
        """Return the quantiles of every step, in NumPy."""
        return forward.all_quantiles(weights, inputs)

    def graph(self, weights: Any, inputs: Any, masks: Any, settings: ModelSettings) -> Any:
        """Return the quantiles of the scored steps, in operations of Keras."""
        from stockbatch.engine.lstm import graph  # Keras is for where there is training

        return graph.quantiles(weights, inputs, masks, settings)

    def export(self, weights: Weights, settings: ModelSettings, path: Path) -> None:
        """Write one ticker's weights as a `.keras` file of built-in layers."""
        import keras  # as above

        from stockbatch.engine.export import save

        steps = inputs = keras.Input((None, weights["lstm_0.kernel"].shape[0]), name="features")
        for number in range(settings.layers):
            layer = keras.layers.LSTM(
                settings.units, return_sequences=number + 1 < settings.layers, name=f"lstm_{number}"
            )
            steps = layer(steps)
            layer.set_weights([weights[f"lstm_{number}.{name}"] for name in PARTS])
        save(inputs, steps, weights, settings, path)
