"""`stockbatch prune`: make room."""

from datetime import date
from typing import Annotated

import typer

from jobs.commands import context, options
from stockbatch.text import counted


def prune(
    backtests: Annotated[bool, typer.Option(help="Delete backtests as well.")] = False,
    before: Annotated[
        date | None, options.day("--before", about="Only of sessions before it.")
    ] = None,
) -> None:
    """Drop the weights of retired models (`keep_retired_models` stay), and vacuum.

    Forecasts and scores stay; those of backtests can be made again, and go if asked for.
    """
    from jobs.app import running
    from jobs.care import prune as job

    if before and not backtests:
        raise typer.BadParameter("--before goes with --backtests")
    with running(context.settings(), create=False) as app:
        if backtests:
            gone = job.prune_backtests(app, before)
            context.say(
                f"backtests: {counted(gone.forecasts, 'forecast')}, {counted(gone.scores, 'score')}"
                f" and {counted(gone.metrics, 'metric')} deleted"
            )
        for pruned in job.prune(app):
            context.say(pruned)
