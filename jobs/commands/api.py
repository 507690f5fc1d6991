"""`stockbatch api`: the REST service."""

from typing import Annotated

import typer

from jobs.commands import context, options


def api(
    address: Annotated[
        str | None, options.address("Where to listen; default: the setting `api_address`.")
    ] = None,
) -> None:
    """Answer HTTP requests for forecasts until interrupted; see /docs there."""
    context.require("stockbatch api", "fastapi", "fastapi_offline", "uvicorn", extra="api")
    from jobs.api import listening
    from stockbatch.config import Address

    settings = context.settings(api_address=address)
    wanted = Address.parse(settings.api_address)
    with (
        listening.opened(settings) as surroundings,
        listening.listen(wanted) as listener,
    ):
        found = Address(*listener.getsockname()[:2])  # port 0 is any that is free
        typer.echo(f"listening: http://{found} (page: /docs, health: /health)")
        listening.serve(surroundings, listener)
