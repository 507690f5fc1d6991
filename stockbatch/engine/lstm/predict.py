"""Feed a model with its example: python predict.py AAPL.keras AAPL.csv; needs Keras and pandas."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd

model_file, inputs_file = sys.argv[1:]
card = json.loads(Path(model_file).with_suffix(".json").read_text("utf-8"))
rows = pd.read_csv(inputs_file, index_col="session")
window = rows[[one["name"] for one in card["inputs"]]].to_numpy("float32")
scaled = keras.saving.load_model(model_file).predict(window[np.newaxis], verbose=0)[0]
returns = scaled.astype("float64") * rows["scale"].iloc[-1]  # log returns of the next session
prices = rows["close"].iloc[-1] * np.exp(returns)  # splits and dividends of that session undone
quantiles = pd.DataFrame({"log_return": returns, "price": prices}, index=card["levels"])
print(quantiles.to_csv(index_label="level"), end="")
