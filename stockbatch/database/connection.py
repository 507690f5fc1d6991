"""The way into the database: URLs, engines, roles and the revision of the schema.

A process works with the least privilege that its role allows. On the embedded server every role is
a login of its own. An external server has the one login of `STOCKBATCH_DATABASE_URL`: a connection
made for the writer, the reader or the REST service does `SET ROLE stockbatch_writer`,
`stockbatch_reader` or `stockbatch_api` if that role exists and the login may, and keeps the login's
own rights otherwise. The owner is the login itself: it migrates.

Every connection speaks UTC and UTF-8, has time limits, and sees only `public` unqualified. Session
settings and advisory locks are used, so a pooler in between must pool by session.
"""

import shutil
from typing import Any

import psycopg
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError

from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.database.embedded_server import Role
from stockbatch.exceptions import (
    AccessDenied,
    ConfigurationError,
    DatabaseBusy,
    DatabaseFull,
    DatabaseNotCreated,
    DatabaseSlow,
    DatabaseUnavailable,
    StockbatchError,
)

OLDEST_SERVER = 15
STATEMENT_TIMEOUT = {"owner": "0", "writer": "10min", "reader": "60s", "api": "30s"}
LOCK_TIMEOUT = "10s"
KEEPALIVES = {"idle": "30", "interval": "10", "count": "3"}
"""Seconds, seconds and number: a machine or a network that is gone is noticed within a minute, by
this side, and by the server, which then gives its locks to others."""
_PATIENCE = {"connect_timeout": "10", **{f"keepalives_{k}": v for k, v in KEEPALIVES.items()}}
_SECRETS = ("password", "sslpassword")

_CONFIGURE = """\
SELECT set_config(name, value, false)
FROM unnest(%s::text[], %s::text[]) AS settings (name, value)"""

# From version 16 on, being a member of a role and being allowed to take it are two things.
_TAKE_ROLE = """\
SELECT set_config('role', rolname, false)
FROM pg_roles
WHERE rolname = %s
  AND pg_has_role(session_user, oid, CASE
        WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)"""


def url(settings: Settings, role: Role = "writer", *, create: bool = True) -> URL:
    """Return the URL, password included, that connects as `role`; start the embedded server.

    With `create` false a cluster is never made: raises DatabaseNotCreated.
    """
    if settings.database_url is not None:
        return _external(settings.database_url.get_secret_value())
    if not create and not embedded_server.exists(settings.home):
        raise DatabaseNotCreated(home=settings.home)
    return embedded_server.start(settings.home).url(role).set(query={"sslmode": "disable"})


def for_clients(url: URL) -> str:
    """Return the URL, password included, as psql and BI tools take it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def redacted(url: URL) -> str:
    """Return the URL without any password."""
    plain = url.set(drivername="postgresql").difference_update_query(_SECRETS)
    return plain.render_as_string(hide_password=True)


def engine(settings: Settings, role: Role = "writer", *, create: bool = True) -> Engine:
    """Return an engine whose connections act as `role`.

    Using it raises DatabaseUnavailable, AccessDenied and DatabaseBusy in place of driver errors.
    """
    address = url(settings, role, create=create)
    made = create_engine(
        address,
        pool_size=2,
        max_overflow=4,
        pool_pre_ping=True,
        connect_args={
            "application_name": f"stockbatch {role}",
            "client_encoding": "utf8",
            **{name: value for name, value in _PATIENCE.items() if name not in address.query},
        },
    )

    # First of all listeners, so that SQLAlchemy finds the search path in place.
    @event.listens_for(made, "connect", insert=True)
    def prepare(connection: psycopg.Connection[Any], _record: object) -> None:
        _prepare(connection, role, address)

    event.listen(made, "handle_error", _explain)
    return made


def psql(
    settings: Settings, role: Role = "owner", *, create: bool = True
) -> tuple[list[str], dict[str, str]]:
    """Return the arguments of a psql that connects as `role`, and the variables it needs."""
    address, variables = for_programs(settings, role, create=create)
    return [programs(settings, "psql")[0], address], variables


def programs(settings: Settings, name: str) -> list[str]:
    """Return where a program of PostgreSQL is, the one to prefer first.

    The carried ones have no TLS: they are the last resort for a server that is not embedded.
    """
    carried = str(embedded_server.binaries() / name)
    found = None if settings.database_url is None else shutil.which(name)
    return [found, carried] if found else [carried]


def for_programs(
    settings: Settings, role: Role = "owner", *, create: bool = True
) -> tuple[str, dict[str, str]]:
    """Return the URL by which a program of PostgreSQL connects, and the variables it needs.

    The password is in a file or in a variable, never in an argument.
    """
    address = url(settings, role, create=create).set(drivername="postgresql")
    secrets = {"PGPASSWORD": str(address.password)} if address.password else {}
    public = address.difference_update_query(_SECRETS)._replace(password=None)
    if settings.database_url is None:
        file = embedded_server.start(settings.home).password_file
        # The password file is there already, and no variable need carry a secret.
        public, secrets = public.update_query_dict({"passfile": str(file)}), {}
    return public.render_as_string(), secrets


def _external(given: str) -> URL:
    try:
        address = make_url(given)
    except (ArgumentError, ValueError):
        reason = "not a URL: write postgresql://user:password@host:port/database"
    else:
        if address.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
            return address.set(drivername="postgresql+psycopg")
        reason = f"{address.drivername}:// is not supported: write postgresql://…"
    raise ConfigurationError(source="settings", key="database_url", reason=reason)


def _prepare(connection: psycopg.Connection[Any], role: Role, address: URL) -> None:
    """Give a new connection its settings and its role."""
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        connection.close()
        reason = f"it is PostgreSQL {version}, this program needs {OLDEST_SERVER} or later"
        raise DatabaseUnavailable(url=redacted(address), reason=reason)
    values = {
        "timezone": "UTC",
        "search_path": "public",
        "statement_timeout": STATEMENT_TIMEOUT[role],
        "lock_timeout": LOCK_TIMEOUT,
        **{f"tcp_keepalives_{name}": value for name, value in KEEPALIVES.items()},
    }
    connection.execute(_CONFIGURE, [list(values), list(values.values())])
    # Once, when the connection is made: every transaction on it then has that role.
    if role != "owner":
        connection.execute(_TAKE_ROLE, [f"stockbatch_{role}"])
    connection.commit()


def _explain(context: ExceptionContext) -> None:
    """Raise the error of our own that says what a driver error means to the user."""
    if context.is_pre_ping:  # the pool then replaces the connection, and nobody need know
        return
    error = context.original_exception
    kind: type[StockbatchError]
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        kind = AccessDenied
    elif isinstance(error, psycopg.errors.LockNotAvailable):
        kind = DatabaseBusy
    elif isinstance(error, psycopg.errors.QueryCanceled):
        kind = DatabaseSlow
    elif isinstance(error, psycopg.errors.DiskFull):
        kind = DatabaseFull
    elif context.connection is None or context.is_disconnect:
        kind = DatabaseUnavailable
    else:
        return
    address = context.engine.url if context.engine else None
    reason = str(error).splitlines()[0].removeprefix("connection failed: ")
    if address is not None and address.password:
        reason = reason.replace(str(address.password), "***")
    raise kind(url=redacted(address) if address else "the database", reason=reason) from None
