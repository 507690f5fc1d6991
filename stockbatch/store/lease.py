"""The lock that lets one daemon at a time work in a database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from stockbatch.exceptions import DatabaseError, LockLost

_KEY = {"key": "stockbatch daemon"}
_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
_HELD = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
)


@contextmanager
def only_daemon(engine: Engine) -> Iterator[Callable[[], None] | None]:
    """Be the only daemon; yield what raises LockLost once that is over, None if another is.

    The lock is the server's, held by a connection of its own: it ends with the process, with the
    connection, and with the server.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # it is closed at the end, never given back with a lock on it
        if not connection.scalar(_LOCK, _KEY):
            yield None
            return

        def require() -> None:
            try:
                held = connection.scalar(_HELD)
            except DatabaseError as error:
                raise LockLost(reason=error) from None
            if not held:
                raise LockLost(reason="the server does not know of it")

        yield require
