"""The naive forecast: tomorrow's close is today's."""

import numpy as np

from stockbatch.methods.base import Given, Method, Stated
from stockbatch.records import POINT_BASELINE


class Naive(Method):
    """States a log return of zero, and nothing of how sure it is."""

    name = POINT_BASELINE
    title = "Naive"
    sentence = "The next close is the last one: what a random walk leads one to expect."
    is_baseline = True
    states_intervals = False

    def forecast(self, given: Given) -> Stated:
        """Return zeros."""
        return Stated(log_return=np.zeros((len(given.material.instruments), given.origins)))
