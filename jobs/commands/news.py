"""`stockbatch news`: what is written about tickers, and how it sounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words
from stockbatch.text import counted, printable, some_of

if TYPE_CHECKING:
    from jobs.app import App
    from jobs.news import Imported
    from stockbatch.exceptions import StockbatchError

news = typer.Typer(
    name="news", no_args_is_help=True, help="What is written about tickers, and how it sounds."
)


@news.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, or a JSON object a line: symbol, published_at, title, and if known url, "
            "source, score (-1 to 1), relevance (0 to 1)."
        ),
    ],
) -> None:
    """Keep the news of a file; what is known already stays as it is."""
    from jobs import news as job
    from jobs.app import running

    with running(context.settings()) as app:
        imported = job.import_(app, file)
        problem = _score(app)
    _tell(imported)
    if problem:
        raise typer.Exit(problem.exit_code)


def _tell(imported: Imported) -> None:
    """Say what became of the lines of a file; end with an error where some are bad."""
    done = imported.recorded
    outside = f", {done.outside} beyond the calendar" if done.outside else ""
    context.say(f"{done.new} added, {done.same} known already{outside}")
    if imported.unknown:
        named = printable(some_of(list(imported.unknown)))
        lines = sum(imported.unknown.values())
        context.warn(f"{counted(lines, 'line')} left out, not on the watchlist: {named}")
    for failure in imported.failures:
        context.warn(f"error: {failure}")
    if imported.failures:
        raise typer.Exit(imported.failures[0].exit_code)


def _score(app: App) -> StockbatchError | None:
    """Score what has no score; return, having said it, why that cannot be done."""
    from jobs import news as job

    problem = job.try_to_score(app)
    if problem:
        context.warn(f"kept without a score: {problem}")
    return problem


@news.command("list")
def list_(
    ticker: options.AnyTicker = None,
    last: Annotated[int, typer.Option(min=1, max=100_000, help="How many, the newest first.")] = 20,
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """Show the last news of one ticker, or of all."""
    from jobs.app import running
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        if ticker is not None:
            bi.instruments.require(db, ticker)
        found = bi.news.newest(db, ticker, last)
    columns = [
        words("ticker"),
        words("published", lambda row: f"{row['published_at']:%Y-%m-%d %H:%M}"),
        number("score", lambda row: None if row["score"] is None else f"{row['score']:+.2f}"),
        words("title", folds=True),
        words("source"),
        words("scored by", "scored_by", wide=True),
        words("link", "url", folds=True, wide=True),
    ]
    rows = found.rows()
    tables.show(counted(len(rows), "news item"), columns, rows, found.columns, layout, wide=wide)


@news.command()
def refresh(tickers: options.Tickers = None) -> None:
    """Ask the sources of the setting `news_sources` for the last news, of all or of some.

    Ends with status 4 if a source was asked and none answered, and with an error if what has no
    score cannot be scored.
    """
    from jobs import news as job
    from jobs.app import running
    from stockbatch.exceptions import ConfigurationError, ProviderError

    settings = context.settings()
    if not settings.news_sources:
        reason = "nobody is named: yahoo, alpha_vantage and feeds are there to be asked"
        raise ConfigurationError(source="settings", key="news_sources", reason=reason)
    if "feeds" in settings.news_sources:
        context.require("the news source feeds", "feedparser", extra="news")
    with running(settings, create=False) as app:
        done = job.refresh(app, tickers)
        strangers = job.strangers(app)
        problem = _score(app)
    for one in done:
        context.answer(one)
    if strangers:
        named = printable(some_of(strangers))
        context.warn(f"not on the watchlist, and named in the settings: {named}")
    if not done:
        typer.echo(f"none of the tickers is one that {', '.join(settings.news_sources)} covers")
    elif not any(one.answered for one in done):
        raise typer.Exit(ProviderError.exit_code)
    if problem:
        raise typer.Exit(problem.exit_code)
