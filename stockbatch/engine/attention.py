"""Self-attention: each step asks all steps up to itself, and takes of each what it weighs.

Vaswani et al., "Attention is all you need", NeurIPS 2017. How long ago a step was is one more input
of its key, so that the query says how fast steps fade: a slope as of Press, Smith & Lewis, "Train
short, test long: attention with linear biases", ICLR 2022, learned, and another one for each head.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stockbatch.config import ModelSettings
from stockbatch.engine import head
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Floats

HALF_LIVES = (2.0, 8.0, 32.0)
"""Sessions after which a step counts half as much, one number for each head, before training."""
HEADS = len(HALF_LIVES)
POSITION = 10.0
"""Steps that are one unit of the position."""
UNSEEN = -1e9
"""Logit of a step that is still to come."""


class Attention:
    """Layers of attention with several heads, and a dense layer.

    A layer squeezes its inputs into as many numbers as there are units, and adds to these what its
    heads took of the steps up to then. Its methods are those of `Network`.
    """

    name = "attention"

    def owns(self, weights: Weights) -> bool:
        """Tell whether `weights` are those of such a network that states the levels of today."""
        return "attention_0.kernel" in weights and head.states_levels_of_today(weights)

    def shapes(self, inputs: int, settings: ModelSettings) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array of one ticker's weights, by name."""
        units = settings.units
        wide = HEADS * _size(units)
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(settings.layers):
            name = f"attention_{layer}"
            shapes[f"{name}.kernel"] = (units if layer else inputs, units)
            shapes[f"{name}.bias"] = (units,)
            shapes[f"{name}.query.kernel"] = (units, wide)
            shapes[f"{name}.query.bias"] = (wide,)
            shapes[f"{name}.key.kernel"] = (units + 1, wide)  # the position is the last input
            shapes[f"{name}.value.kernel"] = (units, wide)
            shapes[f"{name}.output.kernel"] = (wide, units)
            shapes[f"{name}.output.bias"] = (units,)
        return shapes | head.shapes(units)

    def draw(
        self, random: np.random.Generator, inputs: int, settings: ModelSettings
    ) -> dict[str, Singles]:
        """Draw one ticker's initial weights, which state standard normal quantiles.

        Steps fade by the half-lives at first, whatever they hold besides.
        """
        weights: dict[str, head.Doubles] = {}
        for name, shape in self.shapes(inputs, settings).items():
            weights[name] = head.uniform(random, *shape) if len(shape) == 2 else np.zeros(shape)
        size = _size(settings.units)
        first = np.arange(HEADS) * size  # of the numbers of each head
        for layer in range(settings.layers):
            weights[f"attention_{layer}.query.bias"][first] = 1
            position = weights[f"attention_{layer}.key.kernel"][-1]
            position[:] = 0
            position[first] = np.log(2) / np.array(HALF_LIVES) * POSITION * np.sqrt(size)
        weights |= head.draw(settings.units)
        return {name: array.astype(np.float32) for name, array in weights.items()}

    def quantiles(self, weights: Weights, inputs: Singles) -> Floats:
        """Return the quantiles of the last step, in NumPy."""
        return head.stated(weights, _outputs(weights, inputs, last_only=True)[:, :, -1])

    def all_quantiles(self, weights: Weights, inputs: Singles) -> Floats:
        """Return the quantiles of every step, in NumPy."""
        steps = np.moveaxis(_outputs(weights, inputs), 2, 0)
        return np.moveaxis(head.stated(weights, steps), 0, 2)

    def graph(
        self, weights: Mapping[str, Any], inputs: Any, masks: Any, settings: ModelSettings
    ) -> Any:
        """Return the quantiles of the scored steps, in operations of Keras."""
        from stockbatch.engine.operations import stated  # Keras is for where there is training

        steps = inputs
        for layer in range(settings.layers):
            # Of the last layer only the scored steps are asked for.
            asking = settings.lookback if layer + 1 == settings.layers else 0
            steps = _layer(_of_layer(weights, layer), steps, asking)
        return stated(weights, steps, masks)

    def export(self, weights: Weights, settings: ModelSettings, path: Path) -> None:
        """Write one ticker's weights as a `.keras` file of built-in layers."""
        import keras  # as above

        from stockbatch.engine.export import save

        units, size = settings.units, _size(settings.units)
        inputs = keras.Input((None, weights["attention_0.kernel"].shape[0]), name="features")
        position = keras.ops.cumsum(keras.ops.ones_like(inputs[:, :, :1]), axis=1) / POSITION
        steps = inputs
        for number in range(settings.layers):
            own = _of_layer(weights, number)
            squeezed = keras.layers.Dense(units, "tanh", name=f"squeezed_{number}")
            steps = squeezed(steps)
            squeezed.set_weights([own["kernel"], own["bias"]])
            keys = keras.layers.Concatenate(name=f"keys_{number}")([steps, position])
            heads = keras.layers.MultiHeadAttention(
                HEADS, size, output_shape=units, name=f"attention_{number}"
            )
            taken = heads(steps, steps, keys, use_causal_mask=True)
            heads.set_weights(_of_keras(own, size))
            steps = keras.layers.Add(name=f"sum_{number}")([steps, taken])
            steps = keras.layers.Activation("tanh", name=f"outputs_{number}")(steps)
        save(inputs, steps[:, -1], weights, settings, path)


def _size(units: int) -> int:
    """Return how many numbers a query, a key and a value of one head have."""
    return max(units // HEADS, 1)


def _of_layer(weights: Mapping[str, Any], layer: int) -> dict[str, Any]:
    name = f"attention_{layer}."
    return {key.removeprefix(name): one for key, one in weights.items() if key.startswith(name)}


def _of_keras(own: Mapping[str, Any], size: int) -> list[Singles]:
    """Return one ticker's weights of a layer as Keras has them: heads apart, biases everywhere.

    A bias of keys would change nothing, as all logits of a step would be raised alike, and one of
    values nothing that the output's does not.
    """
    apart, none = (-1, HEADS, size), np.zeros((HEADS, size), np.float32)
    return [
        own["query.kernel"].reshape(apart),
        own["query.bias"].reshape(HEADS, size),
        own["key.kernel"].reshape(apart),
        none,
        own["value.kernel"].reshape(apart),
        none,
        own["output.kernel"].reshape(HEADS, size, -1),
        own["output.bias"],
    ]


def _outputs(weights: Weights, inputs: Singles, *, last_only: bool = False) -> Singles:
    """Return the outputs (tickers, windows, steps, units) of the last layer, in NumPy.

    With `last_only` those of the last step alone.
    """
    steps = np.asarray(inputs, np.float32)
    layers = sum(name.endswith(".query.kernel") for name in weights)
    for layer in range(layers):
        own = {name: array[:, None] for name, array in _of_layer(weights, layer).items()}
        steps = np.tanh(steps @ own["kernel"] + own["bias"][..., None, :])
        count = steps.shape[2]
        first = count - 1 if last_only and layer + 1 == layers else 0
        asking = steps[:, :, first:]
        position = (np.arange(1, count + 1, dtype=np.float32) / POSITION)[:, None]
        positions = np.broadcast_to(position, (*steps.shape[:3], 1))
        query = _heads(asking @ own["query.kernel"] + own["query.bias"][..., None, :])
        key = _heads(np.concatenate([steps, positions], axis=-1) @ own["key.kernel"])
        value = _heads(steps @ own["value.kernel"])
        logits = query @ np.swapaxes(key, -1, -2) / np.float32(np.sqrt(query.shape[-1]))
        logits[..., ~_seen(count, first)] = UNSEEN
        share = np.exp(logits - logits.max(axis=-1, keepdims=True))
        taken = share @ value / share.sum(axis=-1, keepdims=True)
        joined = np.moveaxis(taken, 2, 3).reshape(*asking.shape[:3], -1)
        output = joined @ own["output.kernel"] + own["output.bias"][..., None, :]
        steps = np.tanh(asking + output)
    return steps


def _heads(wide: Singles) -> Singles:
    """Return (tickers, windows, steps, heads * size) as (tickers, windows, heads, steps, size)."""
    return np.moveaxis(wide.reshape(*wide.shape[:3], HEADS, -1), 3, 2)


def _seen(steps: int, first: int) -> Any:
    """Tell which of `steps` each from `first` on may see, (steps - first, steps)."""
    return np.arange(steps) <= np.arange(first, steps)[:, None]


def _layer(own: Mapping[str, Any], inputs: Any, first: int) -> Any:
    """Return the outputs (tickers, windows, steps, units) from `first` on, in operations of Keras.

    All that is learned goes through products, none through broadcast sums, for the reason that
    `operations.affine` has: the sum of the shares is as many more columns of the values as these
    have, so that both come out alike.
    """
    from keras import ops

    from stockbatch.engine.operations import affine

    tickers, windows, count, _ = inputs.shape
    nothing = ops.zeros(own["query.bias"].shape)
    steps = ops.tanh(affine(inputs, own["kernel"], own["bias"]))
    asking = steps[:, :, first:]
    position = (np.arange(1, count + 1, dtype=np.float32) / POSITION)[:, None]
    positions = ops.convert_to_tensor(np.tile(position, (tickers, windows, 1, 1)))

    def heads(wide: Any) -> Any:
        apart = ops.reshape(wide, (*wide.shape[:3], HEADS, wide.shape[-1] // HEADS))
        return ops.transpose(apart, (0, 1, 3, 2, 4))

    query = heads(affine(asking, own["query.kernel"], own["query.bias"]))
    keys = affine(ops.concatenate([steps, positions], axis=-1), own["key.kernel"], nothing)
    value = heads(affine(steps, own["value.kernel"], nothing))
    size = value.shape[-1]
    logits = ops.matmul(query, ops.transpose(heads(keys), (0, 1, 2, 4, 3))) / size**0.5
    logits = ops.where(ops.convert_to_tensor(_seen(count, first)), logits, UNSEEN)
    share = ops.exp(logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True)))
    both = ops.matmul(share, ops.concatenate([value, ops.ones_like(value)], axis=-1))
    taken = ops.transpose(both[..., :size] / both[..., size:], (0, 1, 3, 2, 4))
    joined = ops.reshape(taken, (tickers, windows, count - first, HEADS * size))
    return ops.tanh(asking + affine(joined, own["output.kernel"], own["output.bias"]))
