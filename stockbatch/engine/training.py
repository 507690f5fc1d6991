"""Training in a process of its own, thrown away afterwards: TensorFlow never gives memory back.

Messages in both directions are a length (eight bytes, little-endian) and that many bytes in the
safetensors format, with one JSON value as their metadata. `python -m stockbatch.engine.training` is
the child: it ends as soon as its standard input closes, whatever it is doing. A child that takes
too much memory, has been silent for too long, or is overdue, is killed: whatever it is stuck in,
its parent goes on.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from signal import Signals
from threading import Event, Thread
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import psutil
import safetensors.numpy
from numpy.typing import NDArray

from stockbatch.config import ModelSettings, child_environment
from stockbatch.engine.inference import Bools, Fitted, Progress, Weights
from stockbatch.exceptions import ModelError, TrainingFailed, TrainingOverdue
from stockbatch.records import Floats

Arrays = Mapping[str, NDArray[Any]]
CHILD = (sys.executable, "-m", "stockbatch.engine.training")
WEIGHT = "weight."
INITIAL = "initial."
PATIENCE = 10
"""Seconds a child may take to end by itself."""
INTERVAL = 0.2
"""Seconds between looks at a child."""
MIB = 2**20


class _Guard:
    """Kills a child that breaks a limit while it is waited for; `error` says which."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        memory_mib: int,
        silence: float,
        overdue: Callable[[], bool],
        waiting: Callable[[], None],
    ) -> None:
        self.error: ModelError | None = None
        self._child = child
        self._memory_mib = memory_mib
        self._silence = silence
        self._overdue = overdue
        self._waiting = waiting
        self._done = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self.heard()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def heard(self) -> None:
        """Note that the child has just said something."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL):
            self.error = self._broken()
            if self.error:
                self._child.kill()
                return
            self._waiting()

    def _broken(self) -> ModelError | None:
        """Return what is wrong with the child, if anything is."""
        if self._overdue():
            return TrainingOverdue()
        if time.monotonic() - self._last > self._silence:
            return TrainingFailed(reason=f"it finished no epoch for {self._silence:g} s")
        used = memory(self._child.pid) / MIB
        if 0 < self._memory_mib < used:
            limit = f"training_memory_mib = {self._memory_mib}"
            return TrainingFailed(reason=f"it took {used:.0f} MiB, more than {limit}")
        return None


class TrainingProcess:
    """Fits networks in a child process, started when first needed and after it has died.

    A child that takes more than `memory_mib` (0: no limit), or finishes no epoch for `silence`
    seconds, is killed.
    """

    def __init__(
        self, threads: int = 0, *, memory_mib: int = 0, silence: float = float("inf")
    ) -> None:
        self._threads = threads or _cores()
        self._memory_mib = memory_mib
        self._silence = silence
        self.waiting: Callable[[], None] = lambda: None
        """Called again and again while a child is waited for that breaks no limit."""
        self._child: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child:
            self._end(self._child, kill=error is not None)

    def discard(self) -> None:
        """End the child with all it has built; the next fit starts another."""
        if self._child:
            self._end(self._child, kill=False)

    @property
    def pid(self) -> int | None:
        """Return the process id of the child, None while there is none."""
        return self._child.pid if self._child else None

    def fit(
        self,
        inputs: NDArray[np.float32],
        targets: Floats,
        train: Bools,
        validation: Bools,
        seeds: NDArray[np.uint64],
        settings: ModelSettings,
        initial: Weights | None = None,
        progress: Progress | None = None,
        overdue: Callable[[], bool] | None = None,
    ) -> Fitted:
        """Do what `lstm.fit` does, in the child.

        Raises TrainingFailed if the child ends before it has answered, and TrainingOverdue as soon
        as `overdue` returns true; the next call starts anew.
        """
        return self._ask(
            "fit",
            {
                "inputs": inputs,
                "targets": targets,
                "train": train,
                "validation": validation,
                "seeds": seeds,
                **{INITIAL + name: array for name, array in (initial or {}).items()},
            },
            settings,
            progress,
            overdue,
        )

    def fit_pooled(
        self,
        inputs: NDArray[np.float32],
        targets: Floats,
        train: Bools,
        validation: Bools,
        seeds: NDArray[np.uint64],
        settings: ModelSettings,
        progress: Progress | None = None,
        overdue: Callable[[], bool] | None = None,
    ) -> Fitted:
        """Do what `lstm.fit_pooled` does, in the child. Raises what `fit` raises."""
        arrays: Arrays = {
            "inputs": inputs,
            "targets": targets,
            "train": train,
            "validation": validation,
            "seeds": seeds,
        }
        return self._ask("fit_pooled", arrays, settings, progress, overdue)

    def _ask(
        self,
        function: str,
        arrays: Arrays,
        settings: ModelSettings,
        progress: Progress | None,
        overdue: Callable[[], bool] | None,
    ) -> Fitted:
        """Send an order and return the answer."""
        order = {
            "function": function,
            "settings": settings.model_dump(mode="json"),
            "workers": self._threads,
        }
        overdue = overdue or (lambda: False)
        if overdue():
            raise TrainingOverdue
        child = self._child = self._child or self._start()
        assert child.stdin
        assert child.stdout
        try:
            with _Guard(child, self._memory_mib, self._silence, overdue, self.waiting) as guard:
                with suppress(BrokenPipeError):
                    _send(child.stdin, order, arrays)
                while answer := _receive(child.stdout):
                    guard.heard()
                    note, results = answer
                    if note == "fitted":
                        return _fitted(results)
                    if progress:
                        progress(*note)
        except BaseException:
            self._end(child, kill=True)
            raise
        failure = self._failure(child)
        raise guard.error or failure

    def _start(self) -> subprocess.Popen[bytes]:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        return subprocess.Popen(
            CHILD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=child_environment(self._threads),
            start_new_session=True,  # Ctrl-C is for the parent, which then ends the child
        )

    def _end(self, child: subprocess.Popen[bytes], kill: bool) -> str:
        """End the child, close its pipes and return the last line it logged."""
        self._child = None
        if kill:
            child.kill()
        for pipe in (child.stdin, child.stdout):
            assert pipe
            with suppress(BrokenPipeError):
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE)
        child.kill()
        child.wait()
        assert self._log
        with self._log as log:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _failure(self, child: subprocess.Popen[bytes]) -> TrainingFailed:
        """Return why the child, which has closed its pipe, ended."""
        last_words = self._end(child, kill=False)
        if child.returncode < 0:
            return TrainingFailed(reason=f"killed by {Signals(-child.returncode).name}")
        return TrainingFailed(reason=last_words or f"exit status {child.returncode}")


def main() -> None:
    """Answer orders from standard input until it closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no message
    with suppress(OSError):  # where memory runs out, this process is the one to end
        Path("/proc/self/oom_score_adj").write_text("500")
    orders: SimpleQueue[tuple[Any, Arrays]] = SimpleQueue()
    Thread(target=_listen, args=(orders,), daemon=True).start()

    from stockbatch.engine import lstm

    while True:
        order, arrays = orders.get()
        given: dict[str, Any] = {
            **{name: array for name, array in arrays.items() if not name.startswith(INITIAL)},
            "settings": ModelSettings.model_validate(order["settings"]),
            "progress": lambda done, total: _send(answers, [done, total], {}),
        }
        if order["function"] == "fit_pooled":
            fitted = lstm.fit_pooled(**given)
        else:
            initial = _named(arrays, INITIAL) or None
            fitted = lstm.fit(**given, initial=initial, workers=order["workers"])
        _send(answers, "fitted", _arrays(fitted))


def _listen(orders: "SimpleQueue[tuple[Any, Arrays]]") -> None:
    """Hand on the parent's orders; end the process once the parent is gone."""
    pipe = os.fdopen(os.dup(0), "rb")  # an end of Python while sys.stdin is read would abort it
    while message := _receive(pipe):
        orders.put(message)
    os._exit(0)


def _send(pipe: IO[bytes], note: Any, arrays: Arrays) -> None:
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = safetensors.numpy.save(whole, metadata={"note": json.dumps(note)})
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[Any, Arrays] | None:
    """Return the next message, None once the other side is gone."""
    size = int.from_bytes(pipe.read(8), "little")
    data = pipe.read(size)
    if not size or len(data) < size:
        return None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["note"]), safetensors.numpy.load(data)


def _arrays(fitted: Fitted) -> Arrays:
    return {
        "training_loss": fitted.training_loss,
        "validation_loss": fitted.validation_loss,
        "initial_loss": fitted.initial_loss,
        "best_epoch": fitted.best_epoch,
        **{WEIGHT + name: array for name, array in fitted.weights.items()},
    }


def _fitted(arrays: Arrays) -> Fitted:
    return Fitted(
        weights=_named(arrays, WEIGHT),
        training_loss=arrays["training_loss"],
        validation_loss=arrays["validation_loss"],
        initial_loss=arrays["initial_loss"],
        best_epoch=arrays["best_epoch"],
    )


def _named(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with `prefix`, by the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def memory(pid: int | None) -> int:
    """Return the bytes of memory that a process holds, 0 where there is none."""
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.Error:
        return 0


def _cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


if __name__ == "__main__":
    main()
