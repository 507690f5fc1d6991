"""Train or reuse: the base model, the tickers' own models, and the choice between them."""

from stockbatch.engine.learning.decisions import (
    MORE_TICKERS,
    TRAIN,
    configuration,
    decide,
    decide_base,
)
from stockbatch.engine.learning.fitting import train, train_base, version
from stockbatch.engine.learning.splits import split

__all__ = [
    "MORE_TICKERS",
    "TRAIN",
    "configuration",
    "decide",
    "decide_base",
    "split",
    "train",
    "train_base",
    "version",
]
