"""`stockbatch fetch`: bars alone, also the whole history of new tickers."""

from datetime import datetime
from typing import Annotated

import typer

from jobs.commands import context


def fetch(
    tickers: Annotated[list[str] | None, typer.Argument(metavar="TICKER")] = None,
    session: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Default: the last one closed."),
    ] = None,
    exchange: Annotated[
        str | None, typer.Option(help="Exchange calendar; default: all of the watchlist.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Fetch from here instead, e.g. csv:bars.csv.gz.")
    ] = None,
) -> None:
    """Fetch and check bars, of new tickers all there are; train and forecast nothing.

    Interrupted, the same command goes on where it stopped.
    """
    from jobs.app import running
    from jobs.daily.choice import calendars_of
    from jobs.daily.fetch_only import fetch_session

    settings = context.settings(exchange=exchange)
    with running(settings) as app:
        day = session.date() if session else None
        for code in calendars_of(app, settings.exchange, tickers, day):
            typer.echo(fetch_session(app, code, day, tickers=tickers, provider=provider))
