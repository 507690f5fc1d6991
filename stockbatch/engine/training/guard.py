"""The limits of a training child: whatever it is stuck in, its parent goes on."""

import subprocess
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Self

import psutil

from stockbatch.engine.training.trainer import Overdue
from stockbatch.exceptions import ModelError, TrainingFailed, TrainingOverdue

INTERVAL = 0.2
"""Seconds between looks at a child."""
MIB = 2**20


class Guard:
    """Kills a child that breaks a limit while it is waited for; `error` says which."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        memory_mib: int,
        silence: float,
        overdue: Overdue,
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
        # Looked at from a thread, because the parent is stuck reading what the child does not say.
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
        used = _memory(self._child.pid) / MIB
        if 0 < self._memory_mib < used:
            limit = f"training_memory_mib = {self._memory_mib}"
            return TrainingFailed(reason=f"it took {used:.0f} MiB, more than {limit}")
        return None


def _memory(pid: int) -> int:
    """Return the bytes of memory that a process holds, 0 where there is none."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
