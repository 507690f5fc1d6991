"""What the engine needs of a kind of network, and every kind there is.

A kind of network is a function from scaled inputs to quantiles of the next scaled return, and the
names and shapes of its weights. All else, windows, order, dropout, loss, Adam and stopping, is the
same for all. It is written twice: in NumPy, which forecasts, and in operations of Keras, which
train; a test compares both. Whose weights are whose is told by their names, so that stored weights
find their network again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import ModelSettings
from stockbatch.engine import weights as weights_
from stockbatch.engine.attention import Attention
from stockbatch.engine.gru import GRU
from stockbatch.engine.lstm.network import LSTM
from stockbatch.engine.seeds import generator
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Floats


class Network(Protocol):
    """A kind of network, of which every ticker of a stack has one of its own.

    `weights` have a leading ticker axis, but for those of one ticker in `draw` and `export`;
    `inputs` have shape (tickers, windows, steps, features). A ticker's result must depend on
    nothing but its own slice of both.
    """

    @property
    def name(self) -> str:
        """Return its name, by which it is set, trained, and its forecasts are stored."""

    def owns(self, weights: Weights) -> bool:
        """Tell whether `weights` are those of such a network, and of the levels of today."""

    def shapes(self, inputs: int, settings: ModelSettings) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every array of one ticker's weights, by name."""

    def draw(self, random: np.random.Generator, inputs: int, settings: ModelSettings) -> Weights:
        """Draw one ticker's initial weights."""

    def quantiles(self, weights: Weights, inputs: Singles) -> Floats:
        """Return the quantiles of the last step, (tickers, windows, levels), never crossing."""

    def all_quantiles(self, weights: Weights, inputs: Singles) -> Floats:
        """Return the quantiles of every step, (tickers, windows, steps, levels)."""

    def graph(
        self, weights: Mapping[str, Any], inputs: Any, masks: Any, settings: ModelSettings
    ) -> Any:
        """Return the quantiles of the steps after the lookback, in operations of Keras.

        The dropout `masks` have shape (tickers, windows, units). Keras is imported here, not
        with the module: forecasting does without.
        """

    def export(self, weights: Weights, settings: ModelSettings, path: Path) -> None:
        """Write one ticker's weights as a `.keras` file that needs nothing but Keras."""


NETWORKS: dict[str, Network] = {one.name: one for one in (LSTM(), GRU(), Attention())}
"""Every kind, by name, which is also that of its method: a new one is a file and its place here."""


def is_known(weights: Weights) -> bool:
    """Tell whether there is a kind of network for `weights`: for other levels there is none."""
    return any(network.owns(weights) for network in NETWORKS.values())


def network_of(weights: Weights) -> Network:
    """Return the kind of network that `weights` belong to."""
    return next(network for network in NETWORKS.values() if network.owns(weights))


def initial_weights(
    network: Network, seeds: NDArray[np.uint64], inputs: int, settings: ModelSettings
) -> dict[str, Singles]:
    """Draw weights (tickers, …) from each ticker's seed."""
    return weights_.stack([network.draw(generator(one, 0), inputs, settings) for one in seeds])
