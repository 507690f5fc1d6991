"""`stockbatch prune`: make room."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options
from stockbatch.text import counted

if TYPE_CHECKING:
    from jobs.app import App


def prune(
    backtests: Annotated[bool, typer.Option(help="Delete backtests as well.")] = False,
    before: Annotated[
        date | None, options.day("--before", about="Only of sessions before it.")
    ] = None,
    archive: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Move baselines' forecasts of long ago to files here."),
    ] = None,
) -> None:
    """Drop old news (`keep_news_days`) and weights of retired models (`keep_retired_models` stay).

    Then vacuum.

    Forecasts and scores stay; those of backtests can be made again, and go if asked for. Of the
    methods that are there to be compared with, those that no metric reads any more can be moved to
    Parquet files, month by month.
    """
    folder = None if archive is None else _folder(archive)
    from jobs.app import running
    from jobs.care import prune as job

    if before and not backtests:
        raise typer.BadParameter("--before goes with --backtests")
    with running(context.settings(), create=False) as app:
        if backtests:
            gone = job.prune_backtests(app, before)
            context.say(
                f"backtests: {counted(gone.forecasts, 'forecast')}, {counted(gone.scores, 'score')}"
                f" and {counted(gone.metrics, 'metric')} deleted;"
                f" {counted(gone.risk, 'forecast')} of risk with them"
            )
        if folder is not None:
            _archive(app, folder)
        context.say(f"news: {counted(job.prune_news(app), 'item')} deleted")
        for pruned in job.prune(app):
            context.say(pruned)


def _folder(text: str) -> Path:
    """Return the folder that is meant; of a URL no folder is made that is called like it."""
    from stockbatch.places import is_url, named

    context.require("stockbatch prune --archive", "pyarrow", extra="export")
    try:
        name = named(text)
    except ValueError as error:
        raise typer.BadParameter(f"--archive {text}: {error}") from None
    if is_url(name) or not text:
        reason = "give a folder of this machine: its files are read again before rows are deleted"
        raise typer.BadParameter(f"--archive '{text}': {reason}")
    return Path(name)


def _archive(app: App, folder: Path) -> None:
    """Move forecasts to files; say of every month what became of it."""
    from jobs.care import archive as job

    moved = 0
    for archived in job.archive(app, folder):
        context.say(archived)
        moved += archived.written.forecasts
    stay = f"months within {job.sessions_kept(app.settings)} sessions before the last run stay"
    context.say(f"archive: {counted(moved, 'forecast')} moved to {folder}; {stay}")
