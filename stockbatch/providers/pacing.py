"""How fast a provider is asked, and how long it is left alone after it refused."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 1800.0
"""Seconds: each pause is twice as long as the one before, up to the longest."""
BREATH = 60.0
"""Seconds of a wait after which `waiting` is called, so that nobody takes it for being stuck."""


def _nothing() -> None:
    pass


class TokenBucket:
    """Hands out `rate` tokens a second, evenly spaced, to all threads together."""

    def __init__(
        self,
        rate: float,
        *,
        waiting: Callable[[], None] = _nothing,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._interval = 1 / rate
        self._waiting = waiting
        self._clock = clock
        self._sleep = sleep
        self._next = clock()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Wait for a token."""
        with self._lock:
            now = self._clock()
            # Turns are handed out under the lock and waited for outside of it: threads queue up,
            # evenly spaced.
            turn = max(now, self._next)
            self._next = turn + self._interval
        while turn > now:
            self._sleep(min(turn - now, BREATH))
            self._waiting()
            now += BREATH


class Pauses:
    """Holds back every worker of one pass while the provider refuses to answer.

    All pauses together last `patience` seconds at most; `stopped` ends them early.
    """

    def __init__(
        self,
        provider: str,
        patience: float,
        stopped: threading.Event,
        *,
        first: float = FIRST_PAUSE,
        waiting: Callable[[], None] = _nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._left = patience
        self._stopped = stopped
        self._waiting = waiting
        self._clock = clock
        self._length = first
        self._until = clock()
        self._begun = 0
        self._lock = threading.Lock()
        self.exhausted = False
        """Whether the provider still refused after the last pause there was patience for."""

    def wait(self) -> int:
        """Return when no pause is on, with the number of pauses there have been."""
        while not self._stopped.is_set() and (left := self._until - self._clock()) > 0:
            self._stopped.wait(min(left, BREATH))
            self._waiting()
        return self._begun

    def begin(self, known: int) -> None:
        """Begin a pause after a refusal; `known` is what `wait` returned before the request.

        Refusals of requests that were under way when a pause began do not prolong it.
        """
        with self._lock:
            if known != self._begun or self.exhausted:
                return
            if self._left <= 0:
                self.exhausted = True
                return
            length = min(self._length, self._left)
            self._left -= length
            self._length = min(2 * self._length, LONGEST_PAUSE)
            self._until = self._clock() + length
            self._begun += 1
            log.warning("%s refuses: too many requests; asking again in %.0f s",
                        self._provider, length)  # fmt: skip
