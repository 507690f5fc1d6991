"""What a long-lived process owes to whoever runs it: signals obeyed, signs of life given."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Event, Thread
from types import FrameType

from stockbatch.config import ServiceManager

AT_ONCE = 143
"""Exit status of a process that was told twice to stop, or did not manage to in time."""


LONGEST_SILENCE = 60.0 * 15
"""Seconds without a sign of life after which the daemon is stuck.

Statements end after 10 minutes. To wait on purpose, for a provider's patience or for a training
child, is a sign of life: such waits have limits of their own.
"""


class Stop:
    """What SIGTERM and SIGINT ask for: an end after the batch, the second time an end at once.

    As a context manager it takes the two signals, and SIGALRM. `told` is called in the handler.
    """

    def __init__(self, grace_seconds: float, told: Callable[[], None]) -> None:
        self.asked = False
        self._grace = grace_seconds
        self._told = told

    def __enter__(self) -> "Stop":
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
        self._before = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise SystemExit(AT_ONCE)
        self.asked = True
        signal.setitimer(signal.ITIMER_REAL, self._grace)
        self._told()


class Beat:
    """When the process showed last that it gets on with its work.

    Its age is told by a clock that nobody sets.
    """

    def __init__(
        self, clock: Callable[[], datetime], timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._timer = clock, timer
        self.trouble = ""
        """What it has tried in vain since then."""
        self()

    def __call__(self) -> None:
        """Note that it just did."""
        self._last, self._instant, self.trouble = self._timer(), self._clock(), ""

    @property
    def age(self) -> float:
        """Return the seconds since the last one."""
        return self._timer() - self._last

    @property
    def is_overdue(self) -> bool:
        """Tell whether the process is stuck."""
        return self.age > LONGEST_SILENCE

    def last(self) -> datetime:
        """Return the instant of the last one."""
        return self._instant


class Notifier:
    """Tells systemd (`Type=notify`) how this process is; where there is none, nothing is told."""

    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager

    def tell(self, state: str) -> None:
        """Send one line such as READY=1; a service manager that does not listen is no failure."""
        address = self._manager.address
        if address:
            name = "\0" + address[1:] if address.startswith("@") else address
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(state.encode(), name)

    @contextmanager
    def watched(self, beat: Beat) -> Iterator[None]:
        """Feed the watchdog for as long as the beat is not overdue."""
        seconds = self._manager.watchdog_seconds
        if seconds is None:
            yield
            return
        done = Event()

        def feed() -> None:
            while not done.wait(seconds / 3):
                if not beat.is_overdue:
                    self.tell("WATCHDOG=1")

        thread = Thread(target=feed, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
