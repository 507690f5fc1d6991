"""What a training child and its parent tell each other.

A message is a length (eight bytes, little-endian) and that many bytes in the safetensors format,
with one JSON value, the note, as their metadata. Neither side unpickles anything.
"""

import json
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

Note = Any
"""Whatever JSON can say: an order, the epochs that are done, that all are."""
Arrays = Mapping[str, NDArray[Any]]
DATA, INITIAL, WEIGHT, CURVE = "data.", "initial.", "weight.", "curve."
"""How names begin of what is learned from, of weights to start from and fitted, of losses."""


def send(pipe: IO[bytes], note: Note, arrays: Arrays) -> None:
    """Write a message."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = safetensors.numpy.save(whole, metadata={"note": json.dumps(note)})
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[Note, Arrays] | None:
    """Return the note and the arrays of the next message, None once the other side is gone."""
    size = int.from_bytes(pipe.read(8), "little")
    data = pipe.read(size)
    if not size or len(data) < size:
        return None
    # Safetensors begins with the length of its header; its own reader does not give metadata.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["note"]), safetensors.numpy.load(data)


def with_prefix(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    """Return arrays by longer names."""
    return {prefix + name: array for name, array in arrays.items()}


def without_prefix(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with `prefix`, by the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
