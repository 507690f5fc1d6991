"""Locks of the server's that let one process at a time do something in a database."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from sqlalchemy import Engine, text

from stockbatch.exceptions import DatabaseError, LockLost

# Hashed, because the server's locks have numbers for names. It is only tried: who waits could not
# tell its user why.
_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))")
_HELD = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
)


@contextmanager
def hold(engine: Engine, key: str) -> Iterator[Callable[[], None] | None]:
    """Hold the lock of a name; yield what raises LockLost once that is over, None if another does.

    It is held by a connection of its own, and ends with the process, the connection or the server.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # whatever happens, it is never given back with a lock on it
        if not connection.scalar(_LOCK, {"key": key}):
            yield None
            return

        def require() -> None:
            try:
                held = not connection.invalidated and connection.scalar(_HELD)
            except DatabaseError as error:
                raise LockLost(reason=error) from None
            if not held:
                raise LockLost(reason="the server does not know of it")

        try:
            yield require
        finally:
            if not connection.invalidated:
                with suppress(DatabaseError):  # the lock went with the connection
                    connection.execute(_UNLOCK, {"key": key})


def only_daemon(engine: Engine) -> AbstractContextManager[Callable[[], None] | None]:
    """Hold the lock of the one daemon that works in a database, as `hold` does."""
    return hold(engine, "stockbatch daemon")
