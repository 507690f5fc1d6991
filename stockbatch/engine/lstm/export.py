"""One ticker's LSTM as an ordinary Keras file, for whoever wants to take it away."""

from pathlib import Path

import keras

from stockbatch.config import ModelSettings
from stockbatch.engine.quantiles import LEVELS, accumulation
from stockbatch.engine.weights import Weights
from stockbatch.records import MEDIAN


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
    # Without effect on a forecast; it is there for whoever goes on training.
    steps = keras.layers.Dropout(settings.dropout, name="dropout")(steps)

    # The median and the spreads need different activations, so they are two dense layers here,
    # joined again by a third that only adds up.
    others = [level for level in range(LEVELS) if level != MEDIAN]
    median = keras.layers.Dense(1, name="median")
    spreads = keras.layers.Dense(LEVELS - 1, activation="squareplus", name="spreads")
    total = keras.layers.Dense(LEVELS, use_bias=False, trainable=False, name="quantiles")
    outputs = total(keras.layers.Concatenate(name="raw")([median(steps), spreads(steps)]))
    for layer, columns in ((median, [MEDIAN]), (spreads, others)):
        layer.set_weights([weights["dense.kernel"][:, columns], weights["dense.bias"][columns]])
    total.set_weights([accumulation()[[MEDIAN, *others]]])
    keras.Model(inputs, outputs, name="stockbatch").save(path)
