import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from stockbatch.config import ModelSettings
from stockbatch.engine.lstm import forward
from stockbatch.engine.lstm.network import LSTM
from tests.stockbatch.engine.lstm.test_forward import make_weights


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow")
def test_an_exported_file_needs_nothing_but_keras(tmp_path):
    settings = ModelSettings(units=5, layers=2)
    weights = make_weights(tickers=1, units=5, features=3, layers=2, size=0.3)
    own = {name: array[0] for name, array in weights.items()}
    LSTM().export(own, settings, tmp_path / "model.keras")
    inputs = np.random.default_rng(0).normal(size=(4, 70, 3)).astype(np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    program = (
        "import sys, keras, numpy; model = keras.models.load_model('model.keras');"
        "numpy.save('outputs.npy', model.predict(numpy.load('inputs.npy'), verbose=0));"
        "assert not [name for name in sys.modules if name.startswith('stockbatch')];"
        "print(*{type(layer).__module__.split('.')[0] for layer in model.layers});"
        "print(keras.backend.backend())"
    )
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    assert done.stdout.split() == ["keras", backend], done.stderr
    expected = forward.quantiles(weights, inputs[None])
    assert_allclose(np.load(tmp_path / "outputs.npy"), expected[0], atol=1e-5)
