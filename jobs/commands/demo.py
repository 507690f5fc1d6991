"""`stockbatch demo`: the whole job on real index bars, with no network and nothing set up."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jobs.commands import accuracy, context
from jobs.commands.forecasts import views_table

if TYPE_CHECKING:
    from stockbatch.providers.base import BarProvider

WALK = 20
"""Sessions walked after the first, so that there are scores."""
PROVIDER = "demo"


def demo() -> None:
    """Load real bars, train, forecast, walk on 20 sessions, and show what the database holds."""
    from jobs import watchlist
    from jobs.app import running
    from jobs.daily.run import run_sessions
    from stockbatch import database
    from stockbatch.market import sessions
    from stockbatch.store import bi

    settings = context.settings()
    typer.echo("database: starting")
    with running(settings) as app:
        typer.echo(f"database: {database.redacted(app.engine.url)}")
        listings = watchlist.add_demo(app, PROVIDER)
        tickers = [listing.ticker for listing in listings]
        calendar = sessions.load(
            listings[0].calendar or sessions.DEFAULT_CALENDAR, app.clock().date()
        )
        last = _last_session(app.provider(PROVIDER), tickers, app.clock().date())
        first = calendar.previous(last, WALK)
        typer.echo(f"bars of {', '.join(tickers)}: real, shipped with the package arch")
        for summary in run_sessions(app, calendar.code, first, last, tickers=tickers):
            context.say(summary)
        with app.transaction() as db:
            forecasts = bi.forecasts.chosen(db, tickers, None).rows()
            good = accuracy.summary(accuracy.found(db, tickers, WALK))
    typer.echo("")
    views_table(forecasts)
    for row in forecasts:
        if row["why"]:
            context.answer(f"{row['ticker']}: {row['why']}")
    for line in good:
        context.answer(line)
    if settings.database_url is None:  # whoever configured another has its password already
        typer.echo("connect:  " + database.for_clients(database.url(settings, "reader")))
    me = _as_typed()
    typer.echo(f"look on:  {me} dashboard, forecasts ^GSPC, accuracy or status")
    typer.echo(f"your own: {me} tickers add AAPL MSFT && {me} run")
    typer.echo(f"stop it:  {me} db stop")


def _as_typed() -> str:
    """Return how a shell in this folder calls the program."""
    program = Path(sys.argv[0]).absolute()
    here = Path.cwd()
    return str(program.relative_to(here)) if program.is_relative_to(here) else "stockbatch"


def _last_session(source: BarProvider, tickers: list[str], today: date) -> date:
    """Return the last session that all tickers have a bar of."""
    from stockbatch.market.sessions import as_date
    from stockbatch.records import BarRequest, FetchedBars

    requests = [BarRequest(symbol=ticker, first=None, last=today) for ticker in tickers]
    answers = [one for one in source.fetch(requests) if isinstance(one, FetchedBars)]
    return min(as_date(answer.bars.sessions.max()) for answer in answers)
