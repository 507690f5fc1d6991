"""The superuser of an embedded server, for what no command of the program does."""

from sqlalchemy import URL

from stockbatch.database.embedded_logins import SUPERUSER
from stockbatch.database.embedded_server import EmbeddedServer


def superuser(server: EmbeddedServer) -> URL:
    """Return the URL that connects to its database as nobody but tests does."""
    return server.url("reader").set(username=SUPERUSER, password=server.passwords[SUPERUSER])
