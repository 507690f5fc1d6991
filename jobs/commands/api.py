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
    from jobs.api import listening

    settings = context.settings(api_address=address)
    with (
        listening.opened(settings) as surroundings,
        listening.listen(settings.api_address) as listener,
    ):
        host, port = listener.getsockname()[:2]
        typer.echo(f"listening: http://{host}:{port} (page: /docs, health: /health)")
        listening.serve(surroundings, listener)
