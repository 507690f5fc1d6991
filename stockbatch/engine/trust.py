"""How far inputs are from those a model was trained on.

The Mahalanobis distance of one session's inputs from all those seen in training, divided by the
distance that 99 % of these do not exceed: above 1 the model is asked about something new.
Mahalanobis, "On the generalised distance in statistics", Proceedings of the National Institute of
Sciences of India 2 (1936).
"""

from collections.abc import Mapping

import numpy as np

from stockbatch.engine.weights import Singles
from stockbatch.records import Floats

USUAL = 0.99
LEAST_VARIANCE = 1e-3
"""Added to every variance, so that inputs that never varied do not decide alone."""
SEEN = "seen."
"""How the names of what is kept beside a base's weights begin."""
MEAN, PRECISION, LIMIT = f"{SEEN}mean", f"{SEEN}precision", f"{SEEN}limit"


def moments(inputs: Singles) -> dict[str, Singles]:
    """Return what is to be kept of the inputs (samples, features) trained on, by name."""
    from sklearn.covariance import EmpiricalCovariance  # slow to import, and forecasts need none

    # In doubles: a sum of a million singles is wrong in the digits that small variances have.
    seen = EmpiricalCovariance(store_precision=False).fit(inputs.astype(np.float64))
    mean = seen.location_
    covariance = seen.covariance_ + LEAST_VARIANCE * np.eye(inputs.shape[1])
    precision = np.linalg.inv(covariance)
    limit = np.quantile(_distance(inputs, mean, precision), USUAL)
    return {
        MEAN: mean.astype(np.float32),
        PRECISION: precision.astype(np.float32),
        LIMIT: np.maximum([limit], LEAST_VARIANCE).astype(np.float32),
    }


def dissimilarity(seen: Mapping[str, Singles], inputs: Singles) -> Floats:
    """Return the relative distance of `inputs` (…, features) from what was `seen`, shape (…)."""
    distance = _distance(inputs, seen[MEAN].astype(np.float64), seen[PRECISION].astype(np.float64))
    return distance / np.float64(seen[LIMIT][0])


def _distance(inputs: Singles, mean: Floats, precision: Floats) -> Floats:
    centred = inputs - mean
    # Of each row x the number x P x, without the matrix of all pairs of rows.
    squared: Floats = np.einsum("...i,ij,...j->...", centred, precision, centred)
    return np.sqrt(np.maximum(squared, 0.0))
