"""The pass that forecasts, of every kind of network."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.config import ModelSettings
from stockbatch.engine.attention import HALF_LIVES, HEADS
from stockbatch.engine.network import NETWORKS
from stockbatch.records import QUANTILES

PARTS = ("kernel", "recurrent_kernel", "bias")
SETTINGS = ModelSettings(units=4)


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS.keys())
def network(request):
    return request.param


def make_weights(network, seed=0, tickers=3, features=2, size=0.5, settings=SETTINGS):
    random = np.random.default_rng(seed)
    return {
        name: random.normal(0, size, (tickers, *shape)).astype(np.float32)
        for name, shape in network.shapes(features, settings).items()
    }


def make_inputs(seed=0, tickers=3, windows=2, steps=7, features=2, size=1.0):
    random = np.random.default_rng(seed)
    return random.normal(0, size, (tickers, windows, steps, features)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_of(one, steps):
    """Return the last output of an LSTM, gate by gate."""
    kernel, recurrent, bias = (one[f"lstm_0.{name}"] for name in PARTS)
    hidden = cell = np.zeros(4)
    for step in steps:
        entry, forget, candidate, leave = np.split(step @ kernel + hidden @ recurrent + bias, 4)
        cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
    return hidden


def gru_of(one, steps):
    """Return the last output of a GRU, gate by gate."""
    kernel, recurrent, bias = (np.split(one[f"gru_0.{name}"], 3, axis=-1) for name in PARTS)
    hidden = np.zeros(4)
    for step in steps:
        into = [step @ kernel[gate] + bias[gate] for gate in range(3)]
        update, reset = (sigmoid(into[gate] + hidden @ recurrent[gate]) for gate in range(2))
        candidate = np.tanh(into[2] + (reset * hidden) @ recurrent[2])
        hidden = update * hidden + (1 - update) * candidate
    return hidden


def attention_of(one, steps):
    """Return the last output of a layer of attention, head by head and step by step."""
    own = {name.removeprefix("attention_0."): array for name, array in one.items()}
    squeezed = np.tanh(steps @ own["kernel"] + own["bias"])
    query = squeezed[-1] @ own["query.kernel"] + own["query.bias"]
    size = len(query) // HEADS
    taken = []
    for first in range(0, len(query), size):
        some = slice(first, first + size)
        logits = [
            query[some] @ (np.append(step, (place + 1) / 10) @ own["key.kernel"])[some]
            for place, step in enumerate(squeezed)
        ]
        share = np.exp(np.array(logits) / np.sqrt(size))
        taken.append(share @ (squeezed @ own["value.kernel"])[:, some] / share.sum())
    return np.tanh(squeezed[-1] + np.concatenate(taken) @ own["output.kernel"] + own["output.bias"])


def test_steps_fade_by_their_half_lives_before_attention_is_trained():
    network = NETWORKS["attention"]
    drawn = network.draw(np.random.default_rng(0), 2, SETTINGS)
    key, bias = drawn["attention_0.key.kernel"], drawn["attention_0.query.bias"]
    size = len(bias) // HEADS
    slopes = (key[-1] * bias).reshape(HEADS, size).sum(axis=1) / np.sqrt(size) / 10
    assert_allclose(np.exp(-slopes * HALF_LIVES), 0.5, rtol=1e-6)


PLAIN = {"attention": attention_of, "lstm": lstm_of, "gru": gru_of}


def test_the_pass_is_that_of_a_plain_network(network):
    weights, inputs = make_weights(network, tickers=1), make_inputs(tickers=1, windows=1)
    one = {name: array[0].astype(float) for name, array in weights.items()}
    raw = PLAIN[network.name](one, inputs[0, 0]) @ one["dense.kernel"] + one["dense.bias"]
    spreads = (raw + np.sqrt(raw**2 + 4)) / 2
    expected = [raw[5]]
    for level in range(6, 11):
        expected.append(expected[-1] + spreads[level])
    for level in (4, 3, 2, 1, 0):
        expected.insert(0, expected[0] - spreads[level])
    assert_allclose(network.quantiles(weights, inputs)[0, 0], expected, atol=1e-6)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**32), st.integers(1, 3), st.floats(0, 30), st.floats(0, 1e3))
def test_quantiles_never_cross(network, seed, layers, size, scale):
    deep = SETTINGS.model_copy(update={"layers": layers})
    weights = make_weights(network, seed, size=size, settings=deep)
    found = network.quantiles(weights, make_inputs(seed, size=scale))
    assert found.shape == (3, 2, len(QUANTILES))
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=-1) >= 0).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_no_step_knows_of_later_ones(network, layers):
    deep = SETTINGS.model_copy(update={"layers": layers})
    weights, inputs = make_weights(network, settings=deep), make_inputs()
    every = network.all_quantiles(weights, inputs)
    assert every.shape == (3, 2, 7, len(QUANTILES))
    for steps in range(1, 8):
        found = network.quantiles(weights, inputs[:, :, :steps])
        assert_allclose(every[:, :, steps - 1], found, atol=1e-5)
    later = inputs.copy()
    later[:, :, 4:] += 1
    assert_allclose(network.all_quantiles(weights, later)[:, :, :4], every[:, :, :4], atol=1e-6)
    assert np.abs(network.all_quantiles(weights, later) - every)[:, :, 4:].max() > 0.01


def test_a_ticker_does_not_depend_on_its_stack(network):
    weights, inputs = make_weights(network), make_inputs()
    own = {name: array[1:2] for name, array in weights.items()}
    alone = network.quantiles(own, inputs[1:2])
    assert_array_equal(alone[0], network.quantiles(weights, inputs)[1])
