"""The URL of a server that is not ours, read as PostgreSQL's own library reads it."""

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL

from stockbatch.exceptions import ConfigurationError

_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_SECRETS = ("password", "sslpassword")
_LISTS = ("host", "port")
"""Of several servers, one of which is chosen by `target_session_attrs`, a list each."""


def external(given: str) -> URL:
    """Return what a URL says. Raises ConfigurationError, which repeats nothing of it.

    Each program reads a URL with a bare `@` or `/` in its password in its own way, and takes a part
    of the password for the host's name or the database's: whoever wrote it must say which it is.
    """
    scheme, _, rest = given.partition("://")
    if scheme not in _SCHEMES:
        raise _refused(
            "not a URL of PostgreSQL: write postgresql://user:password@host:port/database"
        )
    authority, _, path = rest.partition("/")
    path, _, query = path.partition("?")
    keys = [pair.partition("=")[0] for pair in query.split("&")]
    if authority.count("@") <= 1 and "@" not in path and len(set(keys)) == len(keys):
        rest = rest.replace(" ", "%20")  # as some programs write a blank, and libpq does not
        try:
            return _read({k: str(v) for k, v in conninfo_to_dict(f"postgresql://{rest}").items()})
        except (psycopg.ProgrammingError, ValueError):
            pass  # what they say repeats parts of the URL
    raise _refused(
        "cannot be read in one way only: write postgresql://user:password@host:port/database, and"
        " in user and password %40 for @, %2F for /, %3A for :, %3F for ?, %23 for # and %25 for %;"
        " after ? names that libpq knows, once each, and in their values %3D for ="
    )


def redacted(url: URL) -> str:
    """Return the URL without any password."""
    plain = url.set(drivername="postgresql")
    return without_secrets(plain).render_as_string(hide_password=True)


def for_clients(url: URL) -> str:
    """Return the URL, password included, as PostgreSQL's own programs and BI tools take it."""
    written = url.set(drivername="postgresql").render_as_string(hide_password=False)
    # SQLAlchemy leaves blanks as they are, or in the query writes them as `+`.
    place, mark, query = written.partition("?")
    return place.replace(" ", "%20") + mark + query.replace("+", "%20")


def without_secrets(url: URL) -> URL:
    """Return the URL without the passwords of its query."""
    return url.difference_update_query(_SECRETS)


def _read(said: dict[str, str]) -> URL:
    """Return the URL of what libpq has read. Raises ValueError for a port that is none."""
    for port in said.get("port", "").split(","):
        int(port or 0)
    # SQLAlchemy knows one server, the name of a machine; any other place is an option of libpq.
    name = said.get("host", "")
    of_query = _LISTS if "," in name or name.startswith(("/", "@")) else ()
    if not said.get("port", "").strip(","):
        said.pop("port", None)
    if of_query and "," not in said.get("port", ","):
        said["port"] = ",".join([said["port"]] * len(name.split(",")))
    fields: dict[str, str | None] = {
        "username": said.pop("user", None),
        "password": said.pop("password", None),
        "database": said.pop("dbname", None),
        **{key: said.pop(key, None) for key in _LISTS if key not in of_query},
    }
    number = int(fields.pop("port", None) or 0) or None
    return URL.create("postgresql+psycopg", port=number, query=said, **fields)


def _refused(reason: str) -> ConfigurationError:
    return ConfigurationError(source="settings", key="database_url", reason=reason)
