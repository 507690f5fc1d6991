"""What a worker process has, and how it does what is asked of it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, TypeVar, cast

from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from jobs import logs, memory
from jobs.app import App
from jobs.workers import agreement
from stockbatch.config import Settings
from stockbatch.exceptions import UnsuitableWorker

Kept = TypeVar("Kept")
Order = TypeVar("Order")
Answer = TypeVar("Answer")
Open = Callable[[Settings], AbstractContextManager[App]]


class Desk(WorkerPlugin):
    """A worker's own settings and database, and what it keeps from one order to the next.

    `open` opens what a job is given, once, in the process that works.
    """

    name = "stockbatch"

    def __init__(self, settings: Settings, open_app: Open) -> None:
        self._settings, self._open = settings, open_app

    def setup(self, worker: Worker) -> None:
        """Open the database; Ctrl-C is for whoever started this process, who ends it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logs.configure(logging.WARNING)
        # Kept, because it would close itself when nobody has it; this process ends without that.
        self._opened = self._open(self._settings)
        self.app = self._opened.__enter__()
        self.address = worker.address
        self.agreed = agreement.agreed(self.app.settings, self.app.engine)
        self._kept: dict[str, tuple[Hashable, Any]] = {}

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 (Dask's signature)
        """End as if killed: then nothing more of an order under way is committed.

        Dask would let it go on without what it works with, so that its tickers look as if they
        could not be trained. A training child ends with this process.
        """
        os._exit(0)

    def with_settings(self, settings: Mapping[str, Any]) -> App:
        """Return what a job is given, with other settings."""
        return replace(self.app, settings=self.app.settings.model_copy(update=settings))

    def rest(self) -> None:
        """Give back what is held in memory: the training child, and what is kept."""
        self._kept.clear()
        self.app.trainer.discard()
        memory.give_back()

    def kept(self, name: str, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return what was made for `key` before, if that was the last key of this name."""
        if name not in self._kept or self._kept[name][0] != key:
            self._kept[name] = key, make()
        found: Kept = self._kept[name][1]
        return found


def introduced(dask_worker: Worker) -> tuple[str, dict[str, str]]:
    """Return a worker's name and what it has to have alike; Dask gives it what has this name."""
    desk = cast(Desk, dask_worker.plugins[Desk.name])
    return str(dask_worker.name), desk.agreed


def rest(desk: Desk, _order: None) -> None:
    """Let a worker rest, whose next work may be a day away."""
    desk.rest()


def answer(
    function: Callable[[Desk, Order], Answer], order: Order, expected: Mapping[str, str]
) -> Answer:
    """Do what is asked, in a worker. Raises UnsuitableWorker where it would not be the same."""
    worker = get_worker()
    desk = cast(Desk, worker.plugins[Desk.name])
    if reason := agreement.unlike(desk.agreed, expected):
        raise UnsuitableWorker(worker=worker.name, address=worker.address, reason=reason)
    return function(desk, order)
