import numpy as np
from numpy.testing import assert_array_equal

from stockbatch.config import ModelSettings
from stockbatch.engine.lstm.forward import layers
from stockbatch.engine.lstm.network import LSTM
from stockbatch.engine.weights import from_bytes, stack, to_bytes
from tests.stockbatch.engine.test_forward import make_weights


def test_a_stack_holds_the_weights_of_every_ticker():
    singles = [{"a": np.full((2, 3), ticker), "b": np.full(4, -ticker)} for ticker in range(5)]
    joined = stack(singles)
    assert joined["a"].shape == (5, 2, 3)
    assert joined["b"][:, 0].tolist() == [0, -1, -2, -3, -4]


def test_weights_survive_as_bytes():
    deep = make_weights(LSTM(), settings=ModelSettings(units=4, layers=2))
    weights = {name: array[1] for name, array in deep.items()}
    data = to_bytes(weights)
    again = from_bytes(data)
    assert again.keys() == weights.keys()
    for name, array in weights.items():
        assert again[name].dtype == np.float32
        assert_array_equal(again[name], array)
    assert to_bytes(dict(reversed(again.items()))) == data
    assert layers(again) == 2
