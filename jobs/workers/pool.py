"""Orders, and the workers who are given them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, Self, TypeVar

from distributed import Client, Future, wait
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

from jobs.isolation import told
from jobs.workers.process import Desk, answer, rest
from stockbatch.exceptions import UnsuitableWorker, WorkerDied, WorkNotDone

log = logging.getLogger(__name__)

Order = TypeVar("Order")
Large = TypeVar("Large", bound="Divisible")
Answer = TypeVar("Answer")

LOOK = 0.5
"""Seconds between looks at whether anybody wants the work to end."""
GONE = "the scheduler is gone"
PATIENCE = 30.0
"""Seconds without any worker, or word of the scheduler, after which none is waited for."""
ANSWER = 5.0
"""Seconds that the scheduler has to say who is there."""


class Divisible(Protocol):
    """An order of which parts can be tried."""

    def halves(self) -> Sequence[Self]:
        """Return what to try where nobody outlives it; nothing where that is to be left out."""


@dataclass(frozen=True, slots=True)
class _Running:
    order: Any
    since: float


class _Left(Generic[Order]):
    """Orders nobody has been given yet: those put back first, then the next ones."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._again, self._next = list[Order](), iter(orders)

    def __bool__(self) -> bool:
        if not self._again:
            self._again += islice(self._next, 1)
        return bool(self._again)

    def take(self) -> Order:
        return self._again.pop()

    def put_back(self, order: Order) -> None:
        self._again.append(order)


class Workers:
    """Processes that do pieces of work, as many at a time as there are.

    Every worker has one order at a time, so that whoever dies, dies of that one. An order that is
    not answered within `silence` seconds is taken back, and its worker asked no more.
    """

    def __init__(self, client: Client, expected: Mapping[str, str], *, silence: float) -> None:
        self._client, self._expected, self._silence = client, dict(expected), silence
        self._refused: set[str] = set()
        self._heard = time.monotonic()
        self._alone = False

    def do(
        self,
        function: Callable[[Desk, Order], Answer],
        orders: Iterable[Order],
        *,
        pause: Callable[[], None],
        overdue: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[Order, Answer | Exception]]:
        """Yield each order with its answer, or with why there is none, as they come.

        An order is taken when somebody is free for it. WorkerDied is what a worker did not outlive.
        Once `overdue`, nothing is waited for any more. `pause` is called again and again; what it
        raises ends the work.
        """
        left, running = _Left(orders), dict[Future[Any], _Running]()
        # Where nobody came the last time, nobody is waited for again.
        someone = self._heard = time.monotonic() - PATIENCE * self._alone
        try:
            while running or left:
                pause()
                able = self._able()
                someone = time.monotonic() if able or running else someone
                while len(running) < len(able) and left:
                    self._give(function, left.take(), able, running)
                lost = self._lost(someone, overdue)
                self._alone = bool(lost)
                for future in self._done(running):
                    order, found = running.pop(future).order, _result(future)
                    if isinstance(found, UnsuitableWorker):
                        log.warning("%s", found)
                        self._refused.add(found.values["address"])
                        left.put_back(order)
                    else:
                        if isinstance(found, WorkNotDone):
                            log.warning("a worker could not: %s", found)
                        yield order, found
                for future, one in list(running.items()):
                    if lost or time.monotonic() - one.since > self._silence:
                        reason = lost or self._silent(future)
                        del running[future]
                        yield one.order, WorkNotDone(reason=reason)
                if lost and (running or left):
                    log.warning("%s: what is left is done without workers", lost)
                while lost and left:
                    yield left.take(), WorkNotDone(reason=lost)
        finally:
            self._client.cancel(list(running), force=True)

    def do_by_halves(
        self,
        function: Callable[[Desk, Large], Answer],
        orders: Iterable[Large],
        *,
        pause: Callable[[], None],
        overdue: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[Large, Answer | Exception]]:
        """Do as `do`, but try the halves of what a worker did not outlive, and theirs.

        Only orders of which there are no halves are yielded with WorkerDied.
        """
        while True:
            deadly: list[Large] = []
            for order, found in self.do(function, orders, pause=pause, overdue=overdue):
                if isinstance(found, WorkerDied) and order.halves():
                    log.warning("%s: its tickers are tried again, by halves", found)
                    deadly.append(order)
                else:
                    yield order, found
            if not deadly:
                return
            orders = [half for order in deadly for half in order.halves()]

    def _give(
        self,
        function: Callable[[Desk, Order], Answer],
        order: Order,
        able: list[str],
        running: dict[Future[Any], _Running],
    ) -> None:
        near = getattr(order, "near", None)
        future = self._client.submit(
            answer,
            function,
            order,
            self._expected,
            workers=[near] if near in able else able,
            allow_other_workers=False,
            pure=False,
        )
        running[future] = _Running(order, time.monotonic())

    def rest(self) -> None:
        """Let those who are free give back what they hold in memory for work that is done."""
        running = dict[Future[Any], _Running]()
        for address in self._able():
            self._give(rest, None, [address], running)
        with suppress(TimeoutError, CancelledError):
            wait(list(running), timeout=ANSWER)

    def number(self) -> int:
        """Return how many there are now, at least one: whoever asks."""
        return max(1, len(self._able()))

    def _able(self) -> list[str]:
        """Return the addresses of all who may be given orders, none where nobody answers."""
        there = self._ask("ncores")
        if there is None:
            return []
        self._heard = time.monotonic()
        return [address for address in there if address not in self._refused]

    def _done(self, running: Iterable[Future[Any]]) -> list[Future[Any]]:
        """Return who has finished, waiting for a moment until one has."""
        futures = list(running)
        if not futures:
            time.sleep(LOOK)
            return []
        with suppress(TimeoutError, CancelledError):
            wait(futures, timeout=LOOK, return_when="FIRST_COMPLETED")
        return [future for future in futures if future.done()]

    def _lost(self, someone: float, overdue: Callable[[], bool]) -> str:
        """Return why nothing is waited for any more, empty where it is."""
        if overdue():
            return "the workers are not done in time"
        if self._client.status != "running" or time.monotonic() - self._heard > PATIENCE:
            return GONE
        if time.monotonic() - someone > PATIENCE:
            return "there is no worker"
        return ""

    def _silent(self, future: Future[Any]) -> str:
        """Ask whoever has an order no more; return what to say of it."""
        given = self._ask("processing") or {}
        for address, keys in given.items():
            if future.key in keys:
                self._refused.add(address)
                return f"worker {address} has not answered for {self._silence:.0f} s"
        return f"nobody has answered for {self._silence:.0f} s"

    def _ask(self, what: str) -> Any:
        """Return what the scheduler answers, None where it does not: it may be suspended."""
        with suppress(OSError, TimeoutError):
            ask = getattr(self._client.scheduler, what)
            return self._client.sync(ask, workers=None, callback_timeout=ANSWER)
        return None


def _result(future: Future[Any]) -> Any:
    """Return what a worker answered, or why it did not."""
    try:
        return future.result(PATIENCE)
    except KilledWorker:
        return WorkerDied()
    except UnsuitableWorker as error:
        return error
    except (NoValidWorkerError, NoWorkerError):
        return WorkNotDone(reason="whoever was to do it is gone")
    except CancelledError:
        return WorkNotDone(reason=GONE)
    except Exception as error:  # noqa: BLE001 - whatever went wrong there is told here
        return WorkNotDone(reason=told(error))
