"""The LSTM's gradient, derived by hand, is what the graph derives from a plain loop."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.support.later import Later

keras = Later("keras")
graph = Later("stockbatch.engine.lstm.graph")


def plain(raw, recurrent_kernel):
    """What `graph.recur` returns, one step after the other, in sigmoids."""
    ops = keras.ops
    units = recurrent_kernel.shape[1]
    hidden = cell = ops.zeros((*raw.shape[:2], units))
    outputs = []
    for step in range(raw.shape[2]):
        gates = raw[:, :, step] + ops.matmul(hidden, recurrent_kernel)
        entry, forget, candidate, exit_ = ops.split(gates, 4, axis=-1)
        cell = ops.sigmoid(2 * forget) * cell + ops.sigmoid(2 * entry) * ops.tanh(candidate)
        hidden = ops.sigmoid(2 * exit_) * ops.tanh(cell)
        outputs.append(hidden)
    return ops.stack(outputs, axis=2)


def gradients(function, arrays, weights):
    """Return what one step of the plainest optimizer takes off `arrays`, of the weighed sum."""
    ops = keras.ops

    class Sum(keras.Model):
        def __init__(self):
            super().__init__()
            self.given = [
                self.add_weight(array.shape, keras.initializers.Constant(array), name=f"array_{n}")
                for n, array in enumerate(arrays)
            ]
            self.built = True

        def call(self, inputs):
            outputs = function(*(ops.convert_to_tensor(one) for one in self.given))
            return ops.sum(outputs * ops.convert_to_tensor(weights)) + 0 * inputs

    model = Sum()
    model.compile(keras.optimizers.SGD(1.0), loss=lambda _, total: total, jit_compile=False)
    model.train_on_batch(*np.zeros((2, 1, 1), np.float32))
    return [a - ops.convert_to_numpy(one) for a, one in zip(arrays, model.given, strict=True)]


@pytest.mark.parametrize("size", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(
    ("tickers", "windows", "steps", "units"), [(2, 3, 1, 2), (1, 5, 9, 3), (3, 2, 6, 4)]
)
def test_the_gradient_is_that_of_a_plain_loop(tickers, windows, steps, units, size):
    random = np.random.default_rng(steps)
    raw = size * random.normal(size=(tickers, windows, steps, 4 * units))
    recurrent_kernel = random.normal(size=(tickers, units, 4 * units))
    weights = random.normal(size=(tickers, windows, steps, units)).astype(np.float32)
    arrays = [one.astype(np.float32) for one in (raw, recurrent_kernel)]
    found = gradients(graph.recur, arrays, weights)
    expected = gradients(plain, arrays, weights)
    for own, other in zip(found, expected, strict=True):
        assert_allclose(own, other, rtol=1e-4, atol=3e-6 * max(1.0, size))
    assert np.abs(expected[0]).max() > 1e-3
    assert (np.abs(expected[1]).max() > 1e-3) == (steps > 1)
