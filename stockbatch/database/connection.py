"""The way into the database: URLs, engines, roles and the revision of the schema.

A process works with the least privilege that its role allows. On the embedded server every role is
a login of its own. An external server has the one login of `STOCKBATCH_DATABASE_URL`: a connection
made for the writer, the reader or the REST service does `SET ROLE stockbatch_writer`,
`stockbatch_reader` or `stockbatch_api` if that role exists and the login may, and keeps the login's
own rights otherwise. The owner is the login itself: it migrates.

An embedded server that was killed is started again by whoever needs a connection.

Every connection speaks UTC and UTF-8, has time limits, and sees only `public` unqualified, whatever
the database or the login has by default. Session settings are used, so a pooler in between must
pool by session: one that does not is refused.
"""

import shutil
from typing import Any

import psycopg
from sqlalchemy import URL, Engine, create_engine, event

from stockbatch.config import Settings
from stockbatch.database import address as addresses
from stockbatch.database import embedded_server, errors
from stockbatch.database.address import redacted
from stockbatch.database.embedded_logins import Role
from stockbatch.database.revival import Revival
from stockbatch.exceptions import (
    DatabaseNotCreated,
    DatabaseUnavailable,
)

OLDEST_SERVER = 15
STATEMENT_TIMEOUT = {"owner": "0", "writer": "10min", "reader": "60s", "api": "30s"}
IDLE_TIMEOUT = {"owner": "0", "writer": "5min", "reader": "0", "api": "0"}
"""In a transaction: whoever is suspended in one holds what the next has to write no longer."""
PLANS = {"api": "auto"} | dict.fromkeys(("owner", "writer", "reader"), "force_custom_plan")
"""From its eleventh time on a question may be answered by a plan for any values. Where all bars are
final, such a plan takes those that are not quarantined for none: a second became a quarter of an
hour. The service asks the same of one ticker after the other, and chooses as PostgreSQL does."""
LOCK_TIMEOUT = "10s"
KEEPALIVES = {"idle": "30", "interval": "10", "count": "3"}
"""Seconds, seconds and number: a machine or a network that is gone is noticed within a minute, by
this side, and by the server, which then gives its locks to others."""
_PATIENCE = {"connect_timeout": "10", **{f"keepalives_{k}": v for k, v in KEEPALIVES.items()}}
ENCODINGS = ("UTF8", "SQL_ASCII")
"""Of a database that takes every character there is; the second one looks at none."""
_PINNED = {
    "timezone": "UTC",
    "search_path": "public",
    "lock_timeout": LOCK_TIMEOUT,
    # Values are written and read as PostgreSQL does unless told otherwise.
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    **{f"tcp_keepalives_{name}": value for name, value in KEEPALIVES.items()},
}

_CONFIGURE = """\
SELECT set_config(name, value, false)
FROM unnest(%s::text[], %s::text[]) AS settings (name, value)
WHERE current_setting(name, true) IS NOT NULL"""  # not every version has all of them

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
        return addresses.external(settings.database_url.get_secret_value())
    if not create and not embedded_server.exists(settings.home):
        raise DatabaseNotCreated(home=settings.home)
    return embedded_server.start(settings.home).url(role).set(query={"sslmode": "disable"})


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

    event.listen(made, "handle_error", errors.raise_ours)
    if settings.database_url is None:
        event.listen(made, "do_connect", Revival(settings.home, redacted(address)).connect)
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
    address = url(settings, role, create=create)
    secrets = {"PGPASSWORD": str(address.password)} if address.password else {}
    public = addresses.without_secrets(address)._replace(password=None)
    if settings.database_url is None:
        file = embedded_server.start(settings.home).password_file
        # The password file is there already, and no variable need carry a secret.
        public, secrets = public.update_query_dict({"passfile": str(file)}), {}
    return addresses.for_clients(public), secrets


def _prepare(connection: psycopg.Connection[Any], role: Role, address: URL) -> None:
    """Give a new connection its settings and its role."""
    if reason := _unsuitable(connection):
        connection.close()
        raise DatabaseUnavailable(url=redacted(address), reason=reason)
    values = {
        **_PINNED,
        "statement_timeout": STATEMENT_TIMEOUT[role],
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT[role],
        "plan_cache_mode": PLANS[role],
    }
    connection.execute(_CONFIGURE, [list(values), list(values.values())])
    # Once, when the connection is made: every transaction on it then has that role.
    if role != "owner":
        connection.execute(_TAKE_ROLE, [f"stockbatch_{role}"])
    connection.commit()


def _unsuitable(connection: psycopg.Connection[Any]) -> str | None:
    """Return why a server cannot serve, before anything is set in a session of it."""
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        return f"it is PostgreSQL {version}, this program needs {OLDEST_SERVER} or later"
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in ENCODINGS:
        return (
            f"its encoding is {encoding}, this program needs UTF8: make it by"
            " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    if _changes_sessions(connection):
        return (
            "a pooler in between (PgBouncer or the like) gives each transaction another session:"
            " let it pool by session (pool_mode = session), or name the server itself"
        )
    return None


def _changes_sessions(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether a pooler lets two connections share one session of the server."""

    def process(of: psycopg.Connection[Any]) -> int:
        (pid,) = of.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        return int(pid)

    info = connection.info
    connection.autocommit = True  # a pooler by statement refuses every transaction
    first = process(connection)
    try:
        # Without a pooler, the server itself has said when connecting what its process is.
        if first == info.backend_pid:
            return False
        with psycopg.connect(info.dsn, password=info.password or None, autocommit=True) as other:
            # Where sessions are shared, the second one is given what the first has given back.
            return any(process(other) == first or process(connection) != first for _ in range(3))
    finally:
        connection.autocommit = False
