"""A second kind of network is a file like the class below and its place in the registry.

It is trained, compared, stored as bytes and used to forecast by the functions that know the LSTM.
"""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.config import ModelSettings, Settings
from stockbatch.engine import inference, learning
from stockbatch.engine.features import NAMES
from stockbatch.engine.material import prepare
from stockbatch.engine.network import NETWORKS, Network, initial_weights, network_of
from stockbatch.engine.quantiles import LEVELS, never_crossing
from stockbatch.engine.training import TrainingData
from stockbatch.engine.weights import from_bytes, to_bytes
from stockbatch.methods.networks import raw_quantiles
from stockbatch.records import Instrument, Market, ModelKind, Panel, Reason
from tests.support.later import Later

pytestmark = pytest.mark.usefixtures("tensorflow")
keras = Later("keras")
local = Later("stockbatch.engine.training.local")
SETTINGS = ModelSettings(
    units=3,
    lookback=5,
    scored_steps=6,
    batch=4,
    base_batch=16,
    epochs=5,
    base_epochs=5,
    learning_rate=0.01,
    base_learning_rate=0.02,
    anchor=0.0,
    history_sessions=200,
    minimum_history=100,
    comparison_sessions=30,
)


class Linear:
    """Quantiles that are linear in the inputs of the last three steps."""

    name = "linear"
    STEPS = 3

    def owns(self, weights):
        return "linear.kernel" in weights

    def shapes(self, inputs, settings):
        return {"linear.kernel": (self.STEPS * inputs, LEVELS), "linear.bias": (LEVELS,)}

    def draw(self, random, inputs, settings):
        return {
            name: random.normal(0, 0.01, shape).astype(np.float32)
            for name, shape in self.shapes(inputs, settings).items()
        }

    def quantiles(self, weights, inputs):
        return self.all_quantiles(weights, inputs[:, :, -self.STEPS :])[:, :, -1]

    def all_quantiles(self, weights, inputs):
        before = np.pad(inputs, [(0, 0), (0, 0), (self.STEPS - 1, 0), (0, 0)])
        steps = inputs.shape[2]
        seen = [before[:, :, first : first + steps] for first in range(self.STEPS)]
        kernel, bias = weights["linear.kernel"][:, None], weights["linear.bias"][:, None, None]
        return never_crossing(np.concatenate(seen, axis=-1) @ kernel + bias)

    def graph(self, weights, inputs, masks, settings):
        from keras import ops

        from stockbatch.engine import operations

        end, back = inputs.shape[2], self.STEPS - 1
        seen = [inputs[:, :, first : end - back + first] for first in range(self.STEPS)]
        scored = ops.concatenate(seen, axis=-1)[:, :, settings.lookback - back :]
        raw = operations.affine(scored, weights["linear.kernel"], weights["linear.bias"])
        return operations.never_crossing(raw)

    def export(self, weights, settings, path):
        raise NotImplementedError


LINEAR: Network = Linear()
OURS = list(NETWORKS.values())


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(NETWORKS, "linear", LINEAR)


def make_panel(tickers=20, sessions=260) -> Panel:
    random = np.random.default_rng(1)
    shape = tickers, sessions
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, shape), axis=1))
    opened = close * np.exp(random.normal(0, 0.005, shape))
    return Panel(
        tickers=tuple(f"T{number}" for number in range(tickers)),
        sessions=np.datetime64("2020-01-01") + np.arange(sessions),
        open=opened,
        high=np.maximum(opened, close) * 1.01,
        low=np.minimum(opened, close) / 1.01,
        close=close,
        volume=np.full(shape, 1e6),
        split=np.ones(shape),
        dividend=np.zeros(shape),
        confirmed=np.zeros(shape, bool),
    )


def test_weights_tell_their_network():
    seeds = np.arange(2, dtype=np.uint64)
    for network in NETWORKS.values():
        weights = initial_weights(network, seeds, 3, SETTINGS)
        assert network_of(weights) is network
        own = {name: array[0] for name, array in weights.items()}
        assert network_of(from_bytes(to_bytes(own))) is network
        shapes = {name: array.shape for name, array in own.items()}
        assert shapes == network.shapes(3, SETTINGS)


@pytest.mark.parametrize("network", [*OURS, LINEAR], ids=lambda network: network.name)
def test_a_network_is_trained_and_what_it_learned_can_be_forecast(network):
    """Targets follow from the inputs of the step before last; both passes must agree on that."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(3, 300, 2)).astype(np.float32)
    targets = np.pad(inputs[:, :-1, 0], [(0, 0), (1, 0)]).astype(float)
    sessions = np.arange(300)
    data = TrainingData(
        inputs=inputs,
        targets=targets,
        train=np.tile(sessions < 240, (3, 1)),
        validation=np.tile(sessions >= 240, (3, 1)),
        seeds=np.arange(3, dtype=np.uint64),
    )
    easy = {"units": 6, "epochs": 20, "patience": 10, "learning_rate": 0.05, "dropout": 0.0}
    settings = SETTINGS.model_copy(update=easy)
    trainer = local.LocalTrainer()
    fitted = trainer.fit(network, data, settings)
    best = np.nanmin(fitted.validation_loss, axis=1)
    assert (best < 0.7 * fitted.initial_loss).all()
    alone = replace(data, **{name: getattr(data, name)[1:2] for name in data.__dataclass_fields__})
    if keras.backend.backend() == "tensorflow":  # what others round grows in twenty such epochs
        for name, array in trainer.fit(network, alone, settings).weights.items():
            assert_array_equal(array[0], fitted.weights[name][1], name)
    every = inference.all_quantiles(fitted.weights, inputs[:, None])
    last = inference.quantiles(fitted.weights, inputs[:, None])
    assert_allclose(last[:, 0], every[:, 0, -1], atol=1e-4)
    assert np.corrcoef(every[:, 0, 20:, 4].ravel(), targets[:, 20:].ravel())[0, 1] > 0.7


def test_a_base_and_ticker_models_of_another_network_are_fitted_compared_and_forecast():
    model = SETTINGS.model_copy(update={"network": "linear"})  # which no file can name
    settings = Settings().model_copy(update={"model": model})
    panel = make_panel()
    quiet = Market(
        sessions=panel.sessions,
        absolute_return=np.full(260, 0.01),
        median_return=np.full(260, 0.0),
    )
    listed = [
        Instrument(id=row, ticker=name, symbol=name, provider="csv", calendar="XNYS")
        for row, name in enumerate(panel.tickers)
    ]
    material = prepare(listed, panel, quiet)
    trainer = local.LocalTrainer()
    base = learning.train_base([material], Reason.NO_MODEL, settings, trainer)
    assert base is not None
    assert network_of(base.weights) is LINEAR
    assert base.method == "linear"
    assert base.weights["linear.kernel"].shape == (3 * len(NAMES), LEVELS)
    base = replace(base, id=1)
    due = dict.fromkeys(range(4), Reason.NO_MODEL)
    models = learning.train(material, due, {}, base, settings, trainer)
    assert {(model.kind, model.parent_id) for model in models.values()} == {(ModelKind.TICKER, 1)}
    assert all(model.comparison is not None for model in models.values())
    assert all(model.last_session == date(2020, 9, 16) for model in models.values())
    used = dict.fromkeys(range(20), base) | models
    found = raw_quantiles(material, used, SETTINGS, 2)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=-1) > 0).all()
    assert_array_equal(
        found[4:], raw_quantiles(material, dict.fromkeys(range(20), base), SETTINGS, 2)[4:]
    )
