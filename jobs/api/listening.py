"""The process: settings in, an HTTP server that answers until it is told to stop."""

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import uvicorn
from sqlalchemy import text
from starlette.types import ASGIApp

from jobs.api.application import create
from jobs.api.connections import Connection
from jobs.api.surroundings import Surroundings
from stockbatch import database
from stockbatch.config import Address, Settings
from stockbatch.exceptions import ConfigurationError, RoleNotAllowed

log = logging.getLogger(__name__)

ROLE = "stockbatch_api"
WAIT = 10
"""Seconds for answers under way when told to stop."""


@contextmanager
def opened(settings: Settings) -> Iterator[Surroundings]:
    """Connect to the database as role stockbatch_api.

    Raises RoleNotAllowed, SchemaOutOfDate, SchemaTooNew and what `database.engine` raises.
    """
    engine = database.engine(settings, role="api", create=False)
    try:
        with engine.connect() as connection:
            if connection.scalar(text("SELECT current_user")) != ROLE:
                raise RoleNotAllowed(url=database.redacted(engine.url), role=ROLE)
        database.require_current(engine)
        yield Surroundings(settings=settings, engine=engine, clock=lambda: datetime.now(UTC))
    finally:
        engine.dispose()


def listen(address: Address) -> socket.socket:
    """Return a socket that listens at an address. Raises ConfigurationError."""
    try:
        return socket.create_server(address, family=address.family, backlog=1024)
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]
        if error.errno == errno.EADDRINUSE:
            why = "another program listens there: stop it, or choose another address by --address"
        reason = f"cannot listen at {address}: {why}"
        raise ConfigurationError(source="settings", key="api_address", reason=reason) from None


def serve(surroundings: Surroundings, listener: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT; then finish what is under way."""
    server(create(surroundings)).run(sockets=[listener])


def server(application: ASGIApp) -> uvicorn.Server:
    """Return the server of an application."""
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http=Connection,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=WAIT,
        )
    )
