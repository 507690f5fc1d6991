"""What an error of the driver means to the user, as one of our own exceptions."""

import psycopg
from sqlalchemy import URL, Connection
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from stockbatch.database.address import redacted
from stockbatch.exceptions import (
    AccessDenied,
    DatabaseBusy,
    DatabaseFailed,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseSlow,
    DatabaseUnavailable,
    DeadlinePassed,
    StockbatchError,
)

_BY_STATE: dict[str, type[StockbatchError]] = {
    "25006": DatabaseReadOnly,
    "40P01": DatabaseBusy,
    "42501": AccessDenied,
    "53100": DatabaseFull,
    "55P03": DatabaseBusy,
    "57014": DatabaseSlow,
    "SB001": DeadlinePassed,  # by trigger judge_commit
}
_BY_CLASS = {"53": DatabaseFailed, "58": DatabaseFailed, "XX": DatabaseFailed}
"""By the first two characters of a state: too little memory, a system call, a damaged file."""


def raise_ours(context: ExceptionContext) -> None:
    """Raise the error of our own for what SQLAlchemy has caught, if there is one."""
    if context.is_pre_ping:  # the pool then replaces the connection, and nobody need know
        return
    error = context.original_exception
    lost = context.connection is None or context.is_disconnect
    address = context.engine.url if context.engine else None
    if isinstance(error, psycopg.Error) and (ours := _meaning(error, address, lost=lost)):
        raise ours from None


def of_bulk(error: psycopg.Error, connection: Connection) -> BaseException:
    """Return the error to raise for one of the driver's that SQLAlchemy has not seen."""
    driver = connection.connection.driver_connection
    lost = isinstance(driver, psycopg.Connection) and driver.closed
    if lost:
        connection.invalidate(error)  # as SQLAlchemy does, so that it is not used again
    ours = _meaning(error, connection.engine.url, lost=lost)
    return ours or DBAPIError.instance(None, None, error, psycopg.Error)


def _meaning(error: psycopg.Error, address: URL | None, *, lost: bool) -> StockbatchError | None:
    state = error.sqlstate or ""
    kind = _BY_STATE.get(state) or (DatabaseUnavailable if lost else _BY_CLASS.get(state[:2]))
    if kind is None:
        return None
    reason = (str(error).splitlines() or [state])[0].removeprefix("connection failed: ")
    return kind(url=redacted(address) if address else "the database", reason=reason)
