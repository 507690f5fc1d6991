"""`stockbatch dashboard`: the pages that people look at, in a browser."""

from __future__ import annotations

import errno
import socket
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options

if TYPE_CHECKING:
    from stockbatch.config import Address

LOADED_FIRST = (
    "jobs.pictures.headline",
    "jobs.pictures.charts",
    "stockbatch.database",
    "stockbatch.store.bi",
    "sqlalchemy.dialects.postgresql.psycopg",  # else by the first connection
)
"""What takes long to import, so that the first visitor need not wait for it."""


def dashboard(
    address: Annotated[
        str, options.address("Where to listen; there is no login: keep it to yourself.")
    ] = "127.0.0.1:8501",
) -> None:
    """Serve the dashboard until Ctrl-C."""
    context.require("stockbatch dashboard", "altair", "streamlit", extra="dashboard")
    from altair.utils import schemapi
    from streamlit import logger
    from streamlit.web import bootstrap

    logger.set_log_level("ERROR")  # it warns of pages that are imported before its server runs

    from jobs.pictures import dashboard as pages
    from jobs.pictures.dashboard import page
    from jobs.pictures.drawing import BLUE, SKY
    from stockbatch.config import LOOPBACK

    for module in LOADED_FIRST:
        import_module(module)
    schemapi.disable_debug_mode()  # it checks every part of every chart, on every visit
    page.use(context.settings())  # what is wrong with them is said here, not in the browser
    host, port = where = _address(address)
    choices = {
        "server_address": host,
        "server_port": port,
        "server_headless": True,
        "server_fileWatcherType": "none",
        "server_allowedHosts": list(LOOPBACK) if host in LOOPBACK else [],
        "browser_gatherUsageStats": False,
        "client_toolbarMode": "minimal",
        "client_showErrorDetails": "none",
        "logger_hideWelcomeMessage": True,
        "logger_level": "warning",
        "global_developmentMode": False,
        # Of both, and no base: pages are light or dark as the browser asks.
        "theme_light_primaryColor": BLUE,
        "theme_dark_primaryColor": SKY,
    }
    script = Path(pages.__file__).with_name("main.py")
    bootstrap.load_config_options(choices)
    typer.echo(f"dashboard: http://{where} (Ctrl-C ends it)")
    bootstrap.run(str(script), False, [], choices)


def _address(text: str) -> Address:
    """Return where to listen. Raises ConfigurationError where nothing can.

    The server itself says less, and says it later.
    """
    from stockbatch.config import Address
    from stockbatch.exceptions import ConfigurationError

    try:
        address = Address.parse(text)
        socket.create_server(address, family=address.family).close()
    except (ValueError, OSError) as error:
        reason = str(error)
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            reason = f"another program listens at {text}: stop it, or choose another address"
        raise ConfigurationError(source="options", key="--address", reason=reason) from None
    return address
