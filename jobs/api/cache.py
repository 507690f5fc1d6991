"""What was read from the database, kept until anything there changes."""

import hashlib
import threading
import time
from collections.abc import Callable, Hashable, Sized
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from stockbatch.store import serving

FRESH = 1.0
"""Seconds for which nobody asks whether the data have changed."""
LONGEST = 60.0
"""Seconds after which everything is read again: some columns depend on the time of day."""
MOST = 64 * 2**20
"""Bytes kept at most, about."""
OVERHEAD = 1024
"""Bytes a value takes besides its length."""

Value = TypeVar("Value", bound=Sized)


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an answer, and the tag that tells it from any other."""

    content: bytes
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.content).hexdigest()
        object.__setattr__(self, "etag", f'"{digest[:32]}"')

    def __len__(self) -> int:
        return len(self.content)


class Cache:
    """Values by key, made when first asked for; at most FRESH seconds behind the database."""

    def __init__(self, engine: Engine, timer: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # fewer round trips
        self._timer = timer
        self._kept: dict[Hashable, Any] = {}
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._size = 0
        self._version: object = None
        self._failure: Exception | None = None
        self._asked_at = self._begun_at = float("-inf")

    async def get(self, key: Hashable, make: Callable[[Session], Value]) -> Value:
        """Return the value of `key`, made by `make` where none is kept.

        Only what must ask the database takes a thread.
        """
        kept, is_fresh = self._kept, self._is_fresh()
        if is_fresh and key in kept:
            value: Value = kept[key]
            return value
        # A thread of its own: neither the database nor who waits for it may hold up other requests.
        return await anyio.to_thread.run_sync(self._get, key, make)

    def _get(self, key: Hashable, make: Callable[[Session], Value]) -> Value:
        """Return a value, which is made once at a time."""
        # This mapping is of the data as they were when it was taken: if they change while the value
        # is made, it goes where nobody asks any more, never among values of the new data.
        kept = self._current()
        if key not in kept:
            with self._lock:
                making = self._making.setdefault(key, threading.Lock())
            with making:
                if key not in kept:
                    with Session(self._engine) as db:
                        kept[key] = made = make(db)
                    self._size += len(made) + OVERHEAD
        value: Value = kept[key]
        return value

    def _is_fresh(self) -> bool:
        return self._failure is None and self._timer() - self._asked_at < FRESH

    def _current(self) -> dict[Hashable, Any]:
        """Return what is kept of the data as they are now: another mapping after every change.

        Where the database does not answer, one thread finds out for all that wait.
        """
        with self._lock:
            if self._timer() - self._asked_at >= FRESH:
                try:
                    self._ask()
                except Exception as error:
                    self._failure = error
                    raise
                finally:
                    self._asked_at = self._timer()
            if self._failure is not None:
                raise self._failure
            return self._kept

    def _ask(self) -> None:
        with Session(self._engine) as db:
            version = serving.data_version(db)
        now = self._timer()
        # Nothing is thrown out one by one: where it gets too much, all of it is read again.
        is_old = now - self._begun_at >= LONGEST or self._size >= MOST
        if version != self._version or is_old:
            self._kept, self._making, self._size = {}, {}, 0
            self._version, self._begun_at = version, now
        self._failure = None
