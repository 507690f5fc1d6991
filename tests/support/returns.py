"""Made-up log returns."""

import numpy as np

from stockbatch.records import Floats


def wandering(
    tickers: int = 3, sessions: int = 900, missing: float = 0.05, seed: int = 1
) -> Floats:
    """Return returns whose volatility wanders, with holes, and one ticker that starts late."""
    random = np.random.default_rng(seed)
    volatility = 0.01 * np.exp(np.cumsum(random.normal(0, 0.05, (tickers, sessions)), axis=1))
    returns = np.clip(volatility, 0.002, 0.08) * random.standard_t(5, (tickers, sessions))
    returns[random.random(returns.shape) < missing] = np.nan
    returns[-1, : sessions // 2] = np.nan
    return returns
