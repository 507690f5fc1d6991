"""`stockbatch run`: the daily job for one session or a walk of sessions."""

from datetime import datetime
from typing import Annotated

import typer

from jobs.commands import context


def run(
    session: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Default: the last one closed."),
    ] = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], metavar="DATE", help="First of a walk."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], metavar="DATE", help="Last of a walk."),
    ] = None,
    exchange: Annotated[
        str | None, typer.Option(help="Exchange calendar; default: all of the watchlist.")
    ] = None,
    tickers: Annotated[str | None, typer.Option(help="Only these, separated by commas.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Fetch from here instead, e.g. csv:bars.csv.gz.")
    ] = None,
    retrain: Annotated[bool, typer.Option(help="Train every ticker, however fresh.")] = False,
) -> None:
    """Fetch, score, forecast and sum up; nothing later than the session is read."""
    from jobs.app import running
    from jobs.daily.choice import calendars_of
    from jobs.daily.run import RunOptions, run_session, run_sessions

    if (first is None) != (last is None) or (session and first):
        raise typer.BadParameter("give --session, or both --from and --to")
    if first and last and first > last:
        raise typer.BadParameter("--from is after --to")
    settings = context.settings(exchange=exchange)
    options = RunOptions(
        tickers=[t.strip() for t in tickers.split(",") if t.strip()] if tickers else None,
        provider=provider,
        retrain=retrain,
    )
    names = options["tickers"]
    with running(settings) as app:
        if first and last:
            summary = None
            for code in calendars_of(app, settings.exchange, names):
                for summary in run_sessions(app, code, first.date(), last.date(), **options):
                    typer.echo(summary)
            if summary is None:
                raise typer.BadParameter(f"no session from {first:%Y-%m-%d} to {last:%Y-%m-%d}")
        else:
            one = session.date() if session else None
            for code in calendars_of(app, settings.exchange, names, one):
                typer.echo(run_session(app, code, one, **options))
