"""Training: what is given to a trainer, and the trainer that works in a process of its own.

Nothing here imports Keras; the trainer of that process, in `local`, does.
"""

from stockbatch.engine.training.process import TrainingProcess, cores
from stockbatch.engine.training.trainer import Fitted, OnEpoch, Overdue, Trainer, TrainingData

__all__ = ["Fitted", "OnEpoch", "Overdue", "Trainer", "TrainingData", "TrainingProcess", "cores"]
