"""One ticker's network as an ordinary Keras file, for whoever wants to take it away."""

from pathlib import Path
from typing import Any

import keras

from stockbatch.config import ModelSettings
from stockbatch.engine.quantiles import LEVELS, accumulation
from stockbatch.engine.weights import Weights
from stockbatch.records import MEDIAN


def save(inputs: Any, last: Any, weights: Weights, settings: ModelSettings, path: Path) -> None:
    """Write a model from `inputs` (windows, steps, features) to quantiles (windows, levels).

    `last` (windows, units) is what the network of built-in layers makes of the last step; the
    layers that every kind ends with are put behind it.
    """
    # Without effect on a forecast; it is there for whoever goes on training.
    last = keras.layers.Dropout(settings.dropout, name="dropout")(last)

    # The median and the spreads need different activations, so they are two dense layers here,
    # joined again by a third that only adds up.
    others = [level for level in range(LEVELS) if level != MEDIAN]
    median = keras.layers.Dense(1, name="median")
    spreads = keras.layers.Dense(LEVELS - 1, activation="squareplus", name="spreads")
    total = keras.layers.Dense(LEVELS, use_bias=False, trainable=False, name="quantiles")
    outputs = total(keras.layers.Concatenate(name="raw")([median(last), spreads(last)]))
    for layer, columns in ((median, [MEDIAN]), (spreads, others)):
        layer.set_weights([weights["dense.kernel"][:, columns], weights["dense.bias"][columns]])
    total.set_weights([accumulation()[[MEDIAN, *others]]])
    keras.Model(inputs, outputs, name="stockbatch").save(path)
