"""`stockbatch dashboard`: the pages that people look at, in a browser."""

from __future__ import annotations

import socket
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context

if TYPE_CHECKING:
    from stockbatch.config import Address

LOADED_FIRST = (
    "jobs.pictures.headline",
    "jobs.pictures.charts",
    "stockbatch.database",
    "stockbatch.store.bi",
)
"""What takes long to import, so that the first visitor need not wait for it."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def dashboard(
    host: Annotated[
        str, typer.Option(help="Address to listen on; there is no login: keep it to yourself.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
) -> None:
    """Serve the dashboard until Ctrl-C."""
    context.require("stockbatch dashboard", "altair", "streamlit", extra="dashboard")
    from streamlit.web import bootstrap

    from jobs.pictures import dashboard as pages
    from jobs.pictures.dashboard import page
    from jobs.pictures.drawing import BLUE, SKY
    from stockbatch.config import Address

    for module in LOADED_FIRST:
        import_module(module)
    page.use(context.settings())  # what is wrong with them is said here, not in the browser
    options = {
        "server_address": host,
        "server_port": port,
        "server_headless": True,
        "server_fileWatcherType": "none",
        "server_allowedHosts": list(LOOPBACK) if host in LOOPBACK else [],
        "browser_gatherUsageStats": False,
        "client_toolbarMode": "minimal",
        "client_showErrorDetails": "none",
        "logger_hideWelcomeMessage": True,
        "global_developmentMode": False,
        # Of both, and no base: pages are light or dark as the browser asks.
        "theme_light_primaryColor": BLUE,
        "theme_dark_primaryColor": SKY,
    }
    script = Path(pages.__file__).with_name("main.py")
    bootstrap.load_config_options(options)
    address = Address(host, port)
    _require_free(address)
    typer.echo(f"dashboard: http://{address} (Ctrl-C ends it)")
    bootstrap.run(str(script), False, [], options)


def _require_free(address: Address) -> None:
    """Raise ConfigurationError where nothing can listen; the server itself says less."""
    from stockbatch.exceptions import ConfigurationError

    try:
        socket.create_server(address, family=address.family).close()
    except OSError as error:
        raise ConfigurationError(
            source="options", key="--host, --port", reason=str(error)
        ) from None
