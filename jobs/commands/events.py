"""`stockbatch events`: report dates and other events that move prices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import words
from stockbatch.text import counted, some_of

if TYPE_CHECKING:
    from jobs.commands.tables import Row
    from jobs.events import Imported

events = typer.Typer(
    name="events", no_args_is_help=True, help="Report dates and other events that move prices."
)


@events.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV: symbol, date, and if known time, timing (before_open, during, after_close), "
            "kind, known_at."
        ),
    ],
) -> None:
    """Keep the events of a file: what it says anew replaces what a file said before."""
    from jobs import events as job
    from jobs.app import running

    with running(context.settings()) as app:
        imported = job.import_(app, file)
    _tell(imported)


def _tell(imported: Imported) -> None:
    """Say what became of the lines of a file; end with an error where some are bad."""
    done = imported.recorded
    context.say(f"{done.new} added, {done.changed} changed, {done.same} known already")
    if imported.unknown:
        named = some_of(list(imported.unknown))
        lines = sum(imported.unknown.values())
        context.warn(f"{counted(lines, 'line')} left out, not on the watchlist: {named}")
    if imported.projected:
        context.say(f"{imported.projected} next reports projected from the rhythm of past years")
    for failure in imported.failures:
        context.warn(f"error: {failure}")
    if imported.failures:
        raise typer.Exit(imported.failures[0].exit_code)


@events.command("list")
def list_(
    ticker: options.AnyTicker = None,
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """Show what is ahead, or all that was ever stated of one ticker, the newest first."""
    from jobs.app import running
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        if ticker is None:
            found = bi.events.ahead(db, app.clock().date())
        else:
            bi.instruments.require(db, ticker)
            found = bi.events.of_ticker(db, ticker)
    columns = [
        words("ticker", lambda row: row["ticker"] or row["calendar"]),
        words("date", "event_date"),
        words("event", folds=True),
        words("moves", "session"),
        words("source"),
        words("known", _known, wide=True),
        words("", lambda row: None if row["is_current"] else _why_not(row["withdrawn_at"])),
    ]
    rows = found.rows()
    title = counted(len(rows), "event") + (" ahead" if ticker is None else "")
    tables.show(title, columns, rows, found.columns, layout, wide=wide)


def _known(row: Row) -> str:
    return "assumed" if row["is_assumed"] else f"{row['known_at']:%Y-%m-%d %H:%M}"


def _why_not(withdrawn_at: object) -> str:
    return "another source counts" if withdrawn_at is None else f"until {withdrawn_at:%Y-%m-%d}"


@events.command()
def refresh(
    tickers: options.Tickers = None,
) -> None:
    """Ask the sources of the setting `event_sources` for dates of reports, of all or of some.

    The daemon does it by itself. Ends with status 4 if a source was asked and none answered.
    """
    from jobs import refresh as job
    from jobs.app import running
    from stockbatch.exceptions import ConfigurationError, ProviderError

    settings = context.settings()
    if not settings.event_sources:
        reason = "nobody is named: yahoo, alpha_vantage and edgar are there to be asked"
        raise ConfigurationError(source="settings", key="event_sources", reason=reason)
    with running(settings, create=False) as app:
        done = job.refresh_events(app, tickers=tickers)
    for one in done:
        context.answer(one)
    job.require_sources(settings)  # one that nobody can ask keeps no other from being asked
    if not done:
        typer.echo(f"none of the tickers is one that {', '.join(settings.event_sources)} covers")
    elif not any(one.answered for one in done):
        raise typer.Exit(ProviderError.exit_code)
