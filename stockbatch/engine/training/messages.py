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

from stockbatch.engine.training.trainer import Fitted, TrainingData

Arrays = Mapping[str, NDArray[Any]]
INITIAL, WEIGHT = "initial.", "weight."
"""How the names of weights begin, those to start from and those that were fitted."""


def send(pipe: IO[bytes], note: Any, arrays: Arrays) -> None:
    """Write a message."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = safetensors.numpy.save(whole, metadata={"note": json.dumps(note)})
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[Any, Arrays] | None:
    """Return the note and the arrays of the next message, None once the other side is gone."""
    size = int.from_bytes(pipe.read(8), "little")
    data = pipe.read(size)
    if not size or len(data) < size:
        return None
    # Safetensors begins with the length of its header; its own reader does not give metadata.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["note"]), safetensors.numpy.load(data)


def from_data(data: TrainingData) -> Arrays:
    """Return training data as arrays by name."""
    return {
        "inputs": data.inputs,
        "targets": data.targets,
        "train": data.train,
        "validation": data.validation,
        "seeds": data.seeds,
    }


def to_data(arrays: Arrays) -> TrainingData:
    """Return the training data that `from_data` made into arrays."""
    return TrainingData(
        inputs=arrays["inputs"],
        targets=arrays["targets"],
        train=arrays["train"],
        validation=arrays["validation"],
        seeds=arrays["seeds"],
    )


def from_fitted(fitted: Fitted) -> Arrays:
    """Return what training left behind as arrays by name."""
    return {
        "training_loss": fitted.training_loss,
        "validation_loss": fitted.validation_loss,
        "initial_loss": fitted.initial_loss,
        "best_epoch": fitted.best_epoch,
        **with_prefix(fitted.weights, WEIGHT),
    }


def to_fitted(arrays: Arrays) -> Fitted:
    """Return what `from_fitted` made into arrays."""
    return Fitted(
        weights=without_prefix(arrays, WEIGHT),
        training_loss=arrays["training_loss"],
        validation_loss=arrays["validation_loss"],
        initial_loss=arrays["initial_loss"],
        best_epoch=arrays["best_epoch"],
    )


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
