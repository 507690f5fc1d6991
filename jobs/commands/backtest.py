"""`stockbatch backtest`: forecasts of the past by the production code, scored."""

from datetime import datetime
from typing import Annotated

import typer

from jobs.commands import context


def backtest(
    first: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], metavar="DATE", help="First origin.")
    ],
    last: Annotated[
        datetime, typer.Option("--to", formats=["%Y-%m-%d"], metavar="DATE", help="Last origin.")
    ],
    exchange: Annotated[
        str | None, typer.Option(help="Exchange calendar; default: all of the watchlist.")
    ] = None,
    tickers: Annotated[str | None, typer.Option(help="Only these, separated by commas.")] = None,
    retrain_every: Annotated[
        int | None, typer.Option(help="Sessions between trainings of a ticker.")
    ] = None,
    base_every: Annotated[
        int | None, typer.Option(help="Sessions between trainings of the base model.")
    ] = None,
) -> None:
    """Walk forward over past sessions and record and score what would have been forecast."""
    from jobs.app import running
    from jobs.daily.choice import calendars_of
    from jobs.replay import backtest as job

    settings = context.settings(
        exchange=exchange, retrain_after_sessions=retrain_every, base_after_sessions=base_every
    )
    names = [t.strip() for t in tickers.split(",") if t.strip()] if tickers else None
    with running(settings) as app:
        for code in calendars_of(app, settings.exchange, names):
            for done in job.backtest(app, code, first.date(), last.date(), tickers=names):
                typer.echo(f"{done.first} to {done.last}: {done.added} forecasts added")
    typer.echo("scored; 'stockbatch status' sums it up")
