"""Which steps of a history are fitted, which stop the fit, and which choose the model."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import ModelSettings
from stockbatch.records import Floats, Sessions

STOPPING_BLOCKS = 5
"""One block of sessions in so many stops the training."""
EPOCH = np.datetime64("1970-01-01")

Bools = NDArray[np.bool_]


class Splits(NamedTuple):
    """Which steps are fitted, which stop the fit, and which choose the model, each (T, S).

    There are three because each is used up by what it decides: a model that was stopped where its
    loss was least on some sessions looks better on these than it is, and so a choice between it
    and its base, or the champion, takes sessions that taught and stopped neither.
    """

    fitting: Bools
    stopping: Bools
    comparing: Bools


def split(targets: Floats, sessions: Sessions, settings: ModelSettings) -> Splits:
    """Split the steps (T, S) of `sessions` whose target is known.

    The newest targets compare: they are what comes nearest to the sessions to be forecast. Of what
    is before, every fifth block of sessions stops the fit, so that calm times and wild ones both
    have a say in it. Blocks are counted in weekdays since 1970, not from the first session of a
    history, so that they are the same sessions for every ticker, for the base and whenever a model
    is trained: what stops one has taught none. Weekdays serve every calendar alike, and a holiday
    only makes a block shorter.
    """
    steps = targets.shape[1]
    # A step belongs to the side of its target, the session after it.
    compared = np.arange(steps) + 1 >= steps - settings.comparison_sessions
    block = np.busday_count(EPOCH, sessions.astype("datetime64[D]")) // settings.stopping_sessions
    stopping = block % STOPPING_BLOCKS == 0
    known = np.isfinite(targets)
    return Splits(known & ~compared & ~stopping, known & ~compared & stopping, known & compared)
