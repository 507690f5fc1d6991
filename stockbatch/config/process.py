"""What surrounds the process: its environment, its children's, and who runs it."""

import getpass
import os
from collections.abc import Mapping

from stockbatch.config.schema import PREFIX

KERAS = {
    "KERAS_BACKEND": "tensorflow",
    # Neither the user's keras.json is read, with its own types of numbers, nor one written: no file
    # can be in what is no folder, and Keras goes on with its defaults.
    "KERAS_HOME": os.devnull,
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""What Keras is to be here, whatever it is for the user's other programs."""


# TensorFlow says that oneDNN is on before its log can be told to be quiet. Where nothing is
# computed it need not be on; a training child, whose words are not shown, does not inherit this:
# oneDNN adds up in another order, and weights are to be the same to the last bit.
QUIET = {"TF_ENABLE_ONEDNN_OPTS": "0"}
"""What keeps TensorFlow silent in a process that only writes files of models."""

MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
"""What is not set otherwise; by itself it waits for minutes for a server that is down."""


def choose_keras() -> None:
    """Make this process import the Keras that the training child has, and print nothing by it."""
    os.environ.update(KERAS | QUIET)


def choose_mlflow() -> None:
    """Let MLflow tell nobody of this process, print nothing, and soon say that nobody answers."""
    for name, value in MLFLOW.items():
        os.environ.setdefault(name, value)


def child_environment(threads: int) -> dict[str, str]:
    """Return the environment of a training child: no database, quiet, this many threads."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((PREFIX, "KERAS_")) and name not in QUIET
    }
    return {
        **inherited,
        **KERAS,
        "TF_NUM_INTEROP_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": "1",  # stacks train side by side, operations do not split
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def user() -> str:
    """Return the name of whoever runs this program, as the system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of this process with `variables` set as well."""
    return {**os.environ, **variables}
