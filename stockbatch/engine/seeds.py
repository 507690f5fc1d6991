"""Everything random comes from the seed of a fit, and that from the name of what is fitted."""

import hashlib
from datetime import date

import numpy as np

from stockbatch.config import Settings


def seed(name: str, origin: date, settings: Settings) -> np.uint64:
    """Return the seed of one fit: it depends on its name, its origin and the settings alone."""
    # A hash, not a sum: neighbouring sessions and names that are alike get numbers that are not.
    digest = hashlib.sha256(f"{settings.model.seed} {name} {origin}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "big"))


def generator(seed: np.uint64, epoch: int) -> np.random.Generator:
    """Return the random numbers of one ticker and epoch; epoch 0 draws its initial weights.

    Philox is keyed by both, so that an epoch's numbers do not depend on how many were drawn before
    it (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11, 2011).
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
