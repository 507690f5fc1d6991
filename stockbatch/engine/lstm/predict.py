"""Feed a model with its example: python predict.py AAPL.keras AAPL.csv; needs Keras and pandas."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

try:
    model_file, inputs_file = sys.argv[1:]
    card = json.loads(Path(model_file).with_suffix(".json").read_text("utf-8"))
    rows = pd.read_csv(inputs_file, index_col="session")
    window = rows[[one["name"] for one in card["inputs"]]].to_numpy("float32")
    scale, close = rows["scale"].iloc[-1], rows["close"].iloc[-1]
    import keras  # takes seconds: only now

    model = keras.saving.load_model(model_file)
except (OSError, ValueError, LookupError) as error:
    sys.exit(f"usage: python predict.py MODEL.keras INPUTS.csv ({' '.join(str(error).split())})")

scaled = model.predict(window[np.newaxis], verbose=0)[0]
returns = scaled.astype("float64") * scale  # log returns of the next session
prices = close * np.exp(returns)  # splits and dividends of that session undone
quantiles = pd.DataFrame({"log_return": returns, "price": prices}, index=card["levels"])
print(quantiles.to_csv(index_label="level"), end="")
