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
    if archive is not None:
        context.require("stockbatch prune --archive", "pyarrow", extra="export")
    from jobs.app import running
    from jobs.care import prune as job

    if archive is not None and (not archive.strip() or "://" in archive):
        raise typer.BadParameter("--archive takes a folder of this machine: copy it to a store")
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
        if archive is not None:
            _archive(app, Path(archive).absolute())
        context.say(f"news: {counted(job.prune_news(app), 'item')} deleted")
        for pruned in job.prune(app):
            context.say(pruned)


def _archive(app: App, folder: Path) -> None:
    """Move forecasts to files; say of every month what became of it."""
    from jobs.care import archive as job

    moved = 0
    for archived in job.archive(app, folder):
        context.say(archived)
        moved += archived.written.forecasts
    stay = f"months within {job.sessions_kept(app.settings)} sessions before the last run stay"
    context.say(f"archive: {counted(moved, 'forecast')} moved to {folder}; {stay}")
