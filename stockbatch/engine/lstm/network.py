"""The LSTM as a kind of network: its weights, and where its passes are."""

from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from stockbatch.config import ModelSettings
from stockbatch.engine.lstm import forward
from stockbatch.engine.quantiles import LEVELS
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import MEDIAN, QUANTILES, Floats


class LSTM:
    """LSTM layers on top of each other and a dense layer; gates in the order of Keras.

    That order is input, forget, cell, output. Its methods are those of `Network`.
    """

    name = "lstm"

    def owns(self, weights: Weights) -> bool:
        """Tell whether `weights` are those of an LSTM that states the levels of today."""
        return "lstm_0.kernel" in weights and weights["dense.bias"].shape[-1] == LEVELS

    def shapes(self, inputs: int, settings: ModelSettings) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array of one ticker's weights, by name."""
        units = settings.units
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(settings.layers):
            shapes[f"lstm_{layer}.kernel"] = (units if layer else inputs, 4 * units)
            shapes[f"lstm_{layer}.recurrent_kernel"] = (units, 4 * units)
            shapes[f"lstm_{layer}.bias"] = (4 * units,)
        return shapes | {"dense.kernel": (units, LEVELS), "dense.bias": (LEVELS,)}

    def draw(
        self, random: np.random.Generator, inputs: int, settings: ModelSettings
    ) -> dict[str, Singles]:
        """Draw one ticker's initial weights, which state standard normal quantiles.

        Kernels are uniform (Glorot & Bengio, "Understanding the difficulty of training deep
        feedforward neural networks", 2010), recurrent ones orthogonal, so that gradients neither
        grow nor fade at first (Saxe, McClelland & Ganguli, 2014), and gates forget little
        (Jozefowicz, Zaremba & Sutskever, 2015). The dense layer begins with the answer for a
        scaled return of which nothing is known, so that training starts from a sensible forecast.
        """
        units = settings.units
        weights: dict[str, np.ndarray[Any, Any]] = {}
        for layer in range(settings.layers):
            size = units if layer else inputs
            limit = np.sqrt(6 / (size + 4 * units))
            bias = np.zeros(4 * units)
            bias[units : 2 * units] = 1
            # The signs make the draw uniform over orthogonal matrices (Mezzadri, 2007).
            square, triangle = np.linalg.qr(random.normal(size=(4 * units, units)))
            weights[f"lstm_{layer}.kernel"] = random.uniform(-limit, limit, (size, 4 * units))
            weights[f"lstm_{layer}.recurrent_kernel"] = (square * np.sign(np.diag(triangle))).T
            weights[f"lstm_{layer}.bias"] = bias
        spreads = np.diff([NormalDist().inv_cdf(level) for level in QUANTILES])
        weights["dense.kernel"] = np.zeros((units, LEVELS))
        # x - 1 / x is the inverse of squareplus.
        weights["dense.bias"] = np.insert(spreads - 1 / spreads, MEDIAN, 0.0)
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
        from stockbatch.engine.lstm.export import export

        export(weights, settings, path)
