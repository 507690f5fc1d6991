"""`stockbatch api`: the REST service."""

from typing import Annotated

import typer

from jobs.commands import context


def api(
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Default: the setting `api_address`.")
    ] = None,
) -> None:
    """Answer HTTP requests for forecasts until interrupted; see /docs there."""
    context.require("stockbatch api", "fastapi", "fastapi_offline", "uvicorn", extra="api")
    from jobs.api import server
    from stockbatch.config import Address

    settings = context.settings(api_address=address)
    wanted = Address.parse(settings.api_address)
    with server.opened(settings) as service, server.listen(wanted) as listener:
        listening = Address(*listener.getsockname()[:2])  # port 0 is any that is free
        typer.echo(f"listening: http://{listening} (page: /docs, health: /health)")
        server.serve(service, listener)
