"""The URL of a server that is not ours, read as PostgreSQL's own library reads it."""

from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL

from stockbatch.exceptions import ConfigurationError

_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_SECRETS = (
    *("password", "sslpassword"),
    *("scram_client_key", "scram_server_key", "oauth_client_secret"),
)
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


def shown(given: str) -> str:
    """Return what a URL says without any password; of what cannot be read, nothing."""
    try:
        return redacted(external(given))
    except ConfigurationError:
        return "***"


def secrets(given: str) -> set[str]:
    """Return the passwords in a URL, as they are and as they are written there."""
    try:
        url = external(given)
    except ConfigurationError:
        return set()  # nothing connects with any part of it
    found = {str(url.query[key]) for key in _SECRETS if key in url.query}
    found |= {str(url.password)} if url.password else set()
    return found | {written for secret in found if (written := _written(secret)) in given}


def redacted(url: URL) -> str:
    """Return the URL without any password."""
    hidden = without_secrets(url)
    return for_clients(hidden if hidden.password is None else hidden.set(password="***"))  # noqa: S106


def for_clients(url: URL) -> str:
    """Return the URL, password included, as libpq reads it: its programs and BI tools do."""
    # SQLAlchemy writes some blanks as they are, others as `+`, which libpq takes for a plus.
    user = None if url.username is None else _written(url.username)
    word = None if url.password is None else _written(url.password)
    login = "" if user is None and word is None else f"{user or ''}{'' if word is None else ':'}"
    login += f"{word or ''}@" if login else ""
    host = url.host or ""
    place = f"[{quote(host, safe=':')}]" if ":" in host else _written(host)
    port = "" if url.port is None else f":{url.port}"
    name = "" if url.database is None else f"/{_written(url.database)}"
    pairs = "&".join(f"{key}={_written(str(value))}" for key, value in url.query.items())
    return f"postgresql://{login}{place}{port}{name}{'?' if pairs else ''}{pairs}"


def _written(part: str) -> str:
    """Return a part of a URL so that nothing in it has a meaning for the whole."""
    return quote(part, safe="*", errors="surrogateescape")


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
