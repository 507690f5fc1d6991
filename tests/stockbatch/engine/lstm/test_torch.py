"""An exported model as a `torch.nn.LSTM`, by the lines of the guide: .ci/backends torch."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from stockbatch.config import ModelSettings
from stockbatch.engine import features
from stockbatch.engine.lstm import forward
from stockbatch.engine.lstm.network import LSTM
from tests.stockbatch.engine.lstm.test_forward import make_weights
from tests.support.places import ROOT

GUIDE = ROOT / "deployment" / "guides" / "data-science.md"


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("layers", [1, 2])
def test_the_lines_of_the_guide_predict_alike(tmp_path, monkeypatch, layers):
    pytest.importorskip("torch")
    count = len(features.NAMES)
    settings = ModelSettings(units=5, layers=layers)
    weights = make_weights(tickers=1, units=5, features=count, layers=layers, size=0.3)
    own = {name: array[0] for name, array in weights.items()}
    LSTM().export(own, settings, tmp_path / "aapl.keras")
    window = np.random.default_rng(0).normal(size=(61, count)).astype(np.float32)
    rows = pd.DataFrame(window, columns=features.NAMES).assign(scale=0.01, close=100.0)
    rows.to_csv(tmp_path / "aapl.csv", index_label="session")
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"```python\n(import keras, .*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    said = {}
    exec(lines, said)  # what a reader would run
    expected = forward.quantiles(weights, window[None, None])
    assert_allclose(said["quantiles"].detach().numpy(), expected[0], atol=1e-5)
