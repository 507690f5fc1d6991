"""Training in a process of its own, thrown away afterwards: TensorFlow never gives memory back.

A child that takes too much memory, has been silent for too long, or is overdue, is killed. The next
fit starts another.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from signal import Signals
from types import TracebackType
from typing import IO, ClassVar, Self

from stockbatch.config import ModelSettings, child_environment
from stockbatch.engine.network import Network
from stockbatch.engine.training import messages
from stockbatch.engine.training.guard import Guard
from stockbatch.engine.training.messages import Arrays
from stockbatch.engine.training.trainer import Fitted, OnEpoch, Overdue, TrainingData
from stockbatch.engine.weights import Weights
from stockbatch.exceptions import TrainingFailed, TrainingOverdue

PATIENCE = 10
"""Seconds a child may take to end by itself."""


class TrainingProcess:
    """Fits networks in a child process, started when first needed, or ahead, and after it has died.

    A child that takes more than `memory_mib` (0: no limit), or finishes no epoch for `silence`
    seconds, is killed.
    """

    program: ClassVar = (sys.executable, "-m", "stockbatch.engine.training.child")

    def __init__(
        self, threads: int = 0, *, memory_mib: int = 0, silence: float = float("inf")
    ) -> None:
        self._threads = threads or cores()
        self._memory_mib = memory_mib
        self.silence = silence
        """For a fit that begins from now on."""
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

    def start(self) -> subprocess.Popen[bytes]:
        """Have a child load TensorFlow, which takes seconds, while something else is done."""
        self._child = self._child or self._start()
        return self._child

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
        network: Network,
        data: TrainingData,
        settings: ModelSettings,
        *,
        initial: Weights | None = None,
        on_epoch: OnEpoch | None = None,
        overdue: Overdue | None = None,
    ) -> Fitted:
        """Train a network per ticker, in the child.

        Raises TrainingFailed if the child ends before it has answered, and TrainingOverdue as soon
        as `overdue` returns true; the next call starts anew.
        """
        order = _order(network, settings, pooled=False)
        start = messages.with_prefix(initial or {}, messages.INITIAL)
        return self._ask(order, {**_arrays(data), **start}, on_epoch, overdue)

    def fit_pooled(
        self,
        network: Network,
        data: TrainingData,
        settings: ModelSettings,
        *,
        on_epoch: OnEpoch | None = None,
        overdue: Overdue | None = None,
    ) -> Fitted:
        """Train one network on all tickers, in the child. Raises what `fit` raises."""
        order = _order(network, settings, pooled=True)
        return self._ask(order, _arrays(data), on_epoch, overdue)

    def _ask(
        self,
        order: messages.Note,
        arrays: Arrays,
        on_epoch: OnEpoch | None,
        overdue: Overdue | None,
    ) -> Fitted:
        """Send an order and return the answer."""
        overdue = overdue or (lambda: False)
        if overdue():
            raise TrainingOverdue
        child = self.start()
        assert child.stdin
        assert child.stdout
        try:
            with Guard(child, self._memory_mib, self.silence, overdue, self.waiting) as guard:
                with suppress(BrokenPipeError):  # what it died of is told below
                    messages.send(child.stdin, order, arrays)
                while answer := messages.receive(child.stdout):
                    guard.heard()
                    note, results = answer
                    if note == "fitted":
                        return _fitted(results)
                    if on_epoch:
                        on_epoch(*note)
        except BaseException:
            self._end(child, kill=True)
            raise
        # Asked for first, because it waits for the child; the limit that was broken says more, if
        # one was.
        failure = self._failure(child)
        raise guard.error or failure

    def _start(self) -> subprocess.Popen[bytes]:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        return subprocess.Popen(
            (*self.program, str(self._threads)),
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
            # Whatever the child printed; its last line is usually the exception it died of.
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _failure(self, child: subprocess.Popen[bytes]) -> TrainingFailed:
        """Return why the child, which has closed its pipe, ended."""
        last_words = self._end(child, kill=False)
        if child.returncode < 0:
            return TrainingFailed(reason=f"killed by {Signals(-child.returncode).name}")
        return TrainingFailed(reason=last_words or f"exit status {child.returncode}")


def _order(network: Network, settings: ModelSettings, *, pooled: bool) -> messages.Note:
    return {
        "network": network.name,
        "settings": settings.model_dump(mode="json"),
        "pooled": pooled,
    }


def _arrays(data: TrainingData) -> Arrays:
    named = {field.name: getattr(data, field.name) for field in fields(data)}
    return messages.with_prefix(named, messages.DATA)


def _fitted(arrays: Arrays) -> Fitted:
    return Fitted(
        weights=messages.without_prefix(arrays, messages.WEIGHT),
        **messages.without_prefix(arrays, messages.CURVE),
    )


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
