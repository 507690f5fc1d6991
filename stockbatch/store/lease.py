"""Leases: rows by which one process at a time does something in a database.

A row has a token and an expiry by the database's clock, and only the jobs' role can touch it. Its
holder renews it; killed, suspended or cut off, it loses it when it expires, for good. Who writes
under a lease confirms it last of all in the transaction, so that nothing is committed without it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from threading import Event, Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import Engine, Row, TextClause, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from stockbatch.exceptions import DatabaseBusy, DatabaseError, LockLost

log = logging.getLogger(__name__)

LENGTH, RENEWAL = 30.0, 5.0
"""Seconds that a lease lasts, and between renewals of it."""
LOOK = 0.25
"""Seconds between looks at a lease that nobody seems to renew."""
AGAIN = 1.0
"""Seconds after which what the database did not do is asked for again."""
FAREWELL = 2.0
"""Seconds that the end of a lease is waited for, at most."""

# One that lasts for longer was given by a clock that has been set back since.
_VALID = "extract(epoch FROM held.expires_at - clock_timestamp()) BETWEEN 0 AND 2 * :length"
_NEXT = "clock_timestamp() + make_interval(secs => :length)"
_MINE = f"held.name = :name AND held.token = :token AND {_VALID}"
_LOOK = text(f"""
SELECT held.token, held.expires_at,
    extract(epoch FROM held.expires_at - clock_timestamp())::float8 AS seconds
FROM stockbatch.leases AS held WHERE held.name = :name AND {_VALID}
""")
_TAKE = text(f"""
INSERT INTO stockbatch.leases AS held (name, token, expires_at) VALUES (:name, :token, {_NEXT})
ON CONFLICT (name) DO UPDATE SET token = excluded.token, expires_at = excluded.expires_at
WHERE NOT ({_VALID})
RETURNING held.token
""")
_RENEW = text(f"""
UPDATE stockbatch.leases AS held SET expires_at = {_NEXT} WHERE {_MINE} RETURNING held.token
""")
_RELEASE = text("DELETE FROM stockbatch.leases WHERE name = :name AND token = :token")
_REQUIRE = text(f"SELECT held.token FROM stockbatch.leases AS held WHERE {_MINE}")
# The token is part of a key: this lock keeps it from being changed, and lets the lease be renewed.
_CONFIRM = text(f"{_REQUIRE} FOR KEY SHARE")
_WRITTEN = text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")


_GONE = "whoever holds '%s' seems to be gone: waiting for the end of its lease, %.0f s at most"

_GONE_AWAY = (DatabaseError, SQLAlchemyError, psycopg.Error)
"""What a database that is gone raises, also while a connection is being made."""


class Lease:
    """The right to do something in a database, while it is renewed."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._over = engine, Event()
        self.name, self._values = name, {"name": name, "token": uuid4(), "length": LENGTH}
        self._thread = Thread(target=self._keep, name=f"lease of {name}", daemon=True)

    def require(self) -> None:
        """Raise LockLost where it is over, or the database does not say."""
        try:
            held = self._ask(_REQUIRE)
        except DatabaseError as error:
            raise LockLost(reason=error) from None
        if held is None:
            raise self._lost()

    def confirm(self, db: Session) -> None:
        """Keep others from taking it until a transaction that wrote ends. Raises LockLost."""
        db.flush()
        if db.scalar(_WRITTEN) and db.execute(_CONFIRM, self._values).first() is None:
            raise self._lost()

    def take(self) -> bool:
        """Take it if nobody has it, and renew it from then on."""
        try:
            taken = self._ask(_TAKE) is not None
        except DatabaseBusy:  # whoever had it is committing
            return False
        if taken:
            self._thread.start()
        return taken

    def give_back(self) -> None:
        """End it; where the database is gone, as soon as it is back."""
        self._over.set()
        self._thread.join(FAREWELL)

    def left(self) -> tuple[tuple[UUID, datetime] | None, float]:
        """Return by whom it is held until when, and the seconds until then."""
        row = self._ask(_LOOK)
        return (None, 0.0) if row is None else ((row.token, row.expires_at), row.seconds)

    def _ask(self, statement: TextClause) -> Row[Any] | None:
        with self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            result = connection.execute(statement, self._values)
            return result.first() if result.returns_rows else None

    def _keep(self) -> None:
        """Renew it until it is given back or lost; it is lost, too, where the database is gone."""
        pause = RENEWAL
        while not self._over.wait(pause):
            try:
                if self._ask(_RENEW) is None:
                    return
                pause = RENEWAL
            except _GONE_AWAY:
                pause = AGAIN
        expired = time.monotonic() + LENGTH
        while time.monotonic() < expired:
            try:
                self._ask(_RELEASE)
                return
            except _GONE_AWAY:
                time.sleep(AGAIN)

    def _lost(self) -> LockLost:
        return LockLost(reason=f"its lease '{self.name}' was not renewed for {LENGTH:g} s")


@contextmanager
def hold(
    engine: Engine, name: str, waiting: Callable[[], None] | None = None
) -> Iterator[Lease | None]:
    """Hold the lease of a name; yield None if another process does.

    With `waiting`, which is called again and again, a lease is watched until it is renewed, or ends
    because its holder was killed.
    """
    lease = Lease(engine, name)
    if not _taken(lease, waiting):
        yield None
        return
    try:
        yield lease
    finally:
        lease.give_back()


def _taken(lease: Lease, waiting: Callable[[], None] | None) -> bool:
    """Take a lease, if need be when nobody has renewed it any more."""
    (first, left), warned = lease.left(), False
    holder = first
    while holder is not None or not lease.take():
        if waiting is None or first is None or holder not in (first, None):
            return False
        if not warned and left < LENGTH - RENEWAL - AGAIN:
            warned = True
            log.warning(_GONE, lease.name, left)
        waiting()
        time.sleep(LOOK)
        holder, left = lease.left()
    return True


def only_daemon(engine: Engine) -> AbstractContextManager[Lease | None]:
    """Hold the lease of the one daemon that works in a database, as `hold` does."""
    return hold(engine, "daemon")
