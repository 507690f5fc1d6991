"""Weights: float32 arrays by name, of one network or, with a leading ticker axis, of a stack."""

from collections.abc import Mapping, Sequence

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Weights = Mapping[str, Singles]


def stack(weights: Sequence[Weights]) -> dict[str, Singles]:
    """Join the weights of single networks along a new leading ticker axis."""
    return {name: np.stack([one[name] for one in weights]) for name in weights[0]}


def to_bytes(weights: Weights) -> bytes:
    """Return `weights` in the safetensors format; equal weights give equal bytes."""
    data: bytes = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in weights.items()}
    )
    return data


def from_bytes(data: bytes) -> dict[str, Singles]:
    """Return the weights that `to_bytes` made into `data`."""
    weights: dict[str, Singles] = safetensors.numpy.load(data)
    return weights
