"""Starts an embedded server again that somebody killed: whoever needs a connection does it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from stockbatch.database import embedded_server
from stockbatch.exceptions import (
    DatabaseNotCreated,
    DatabaseUnavailable,
    EmbeddedServerFailed,
    StockbatchError,
)

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds after a start in vain until the next; every further one doubles them."""


class Revival:
    """Connects to the embedded server of `home`, and starts it where it is gone.

    One thread of one process at a time starts it, the others are told so. One that was stopped by
    `stockbatch db stop` is left alone: the next command starts it.
    """

    def __init__(
        self, home: Path, url: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._home, self._url, self._clock = home, url, clock
        self._starting = threading.Lock()
        self._failure: StockbatchError | None = None
        self._pause, self._again = FIRST_PAUSE, clock()

    def connect(
        self, dialect: Any, _record: object, given: Sequence[Any], named: Mapping[str, Any]
    ) -> Any:
        """Return a connection of the driver's, as SQLAlchemy's event `do_connect` wants it.

        Raises what the driver does, EmbeddedServerFailed and what else a start does.
        """
        try:
            return dialect.connect(*given, **named)
        except psycopg.OperationalError:
            if embedded_server.running(self._home):  # it answers, and has its reasons
                raise
            self._start()
        return dialect.connect(*given, **named)

    def _start(self) -> None:
        if not embedded_server.exists(self._home):
            raise DatabaseNotCreated(home=self._home)
        if embedded_server.was_stopped(self._home):
            reason = "it was stopped by 'stockbatch db stop', 'stockbatch db start' starts it"
            raise DatabaseUnavailable(url=self._url, reason=reason)
        if not self._starting.acquire(blocking=False):
            self._tell_failure()
            raise EmbeddedServerFailed(home=self._home, reason="it is being started again")
        try:
            if self._clock() < self._again:
                self._tell_failure()
            log.warning("the embedded PostgreSQL in %s is gone: starting it again", self._home)
            try:
                embedded_server.start(self._home)
            except StockbatchError as error:
                self._failure, self._again = error, self._clock() + self._pause
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
                raise
            self._failure, self._pause = None, FIRST_PAUSE
        finally:
            self._starting.release()

    def _tell_failure(self) -> None:
        """Raise what the last start failed of, once for each who asks."""
        if self._failure is not None:
            raise type(self._failure)(**self._failure.values)
