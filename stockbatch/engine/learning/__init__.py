"""Train or reuse: the base model, the tickers' own models, and the choice between them."""

from stockbatch.engine.learning.decisions import TRAIN, configuration, decide, decide_base
from stockbatch.engine.learning.fitting import garch_model, train, train_base
from stockbatch.engine.learning.splits import split

__all__ = [
    "TRAIN",
    "configuration",
    "decide",
    "decide_base",
    "garch_model",
    "split",
    "train",
    "train_base",
]
