import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.engine.lstm import forward
from stockbatch.records import QUANTILES


def make_weights(seed=0, tickers=3, units=4, features=2, layers=1, size=0.5):
    random = np.random.default_rng(seed)
    shapes = {"dense.kernel": (units, len(QUANTILES)), "dense.bias": (len(QUANTILES),)}
    for layer in range(layers):
        shapes[f"lstm_{layer}.kernel"] = (units if layer else features, 4 * units)
        shapes[f"lstm_{layer}.recurrent_kernel"] = (units, 4 * units)
        shapes[f"lstm_{layer}.bias"] = (4 * units,)
    return {
        name: random.normal(0, size, (tickers, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def make_inputs(seed=0, tickers=3, windows=2, steps=7, features=2, size=1.0):
    random = np.random.default_rng(seed)
    return random.normal(0, size, (tickers, windows, steps, features)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_pass_is_that_of_a_plain_lstm():
    weights = {name: array.astype(float) for name, array in make_weights(tickers=1).items()}
    names = ("kernel", "recurrent_kernel", "bias")
    kernel, recurrent, bias = (weights[f"lstm_0.{name}"][0] for name in names)
    dense, shift = weights["dense.kernel"][0], weights["dense.bias"][0]
    inputs = make_inputs(tickers=1, windows=1)
    hidden = cell = np.zeros(4)
    for step in inputs[0, 0]:
        entry, forget, candidate, leave = np.split(step @ kernel + hidden @ recurrent + bias, 4)
        cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
    raw = hidden @ dense + shift
    spreads = (raw + np.sqrt(raw**2 + 4)) / 2
    expected = [raw[5]]
    for level in range(6, 11):
        expected.append(expected[-1] + spreads[level])
    for level in (4, 3, 2, 1, 0):
        expected.insert(0, expected[0] - spreads[level])
    found = forward.quantiles(make_weights(tickers=1), inputs)
    assert_allclose(found[0, 0], expected, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.floats(0, 30), st.floats(0, 1e3))
def test_quantiles_never_cross(seed, layers, size, scale):
    weights = make_weights(seed, layers=layers, size=size)
    found = forward.quantiles(weights, make_inputs(seed, size=scale))
    assert found.shape == (3, 2, len(QUANTILES))
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=-1) >= 0).all()


def test_all_steps_end_with_the_last_one():
    weights, inputs = make_weights(layers=2), make_inputs()
    every = forward.all_quantiles(weights, inputs)
    assert every.shape == (3, 2, 7, len(QUANTILES))
    assert_allclose(every[:, :, -1], forward.quantiles(weights, inputs), atol=1e-6)
    assert_allclose(every[:, :, 3], forward.quantiles(weights, inputs[:, :, :4]), atol=1e-6)


def test_a_ticker_does_not_depend_on_its_stack():
    weights, inputs = make_weights(), make_inputs()
    alone = forward.quantiles({name: array[1:2] for name, array in weights.items()}, inputs[1:2])
    assert_array_equal(alone[0], forward.quantiles(weights, inputs)[1])
