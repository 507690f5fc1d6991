"""`stockbatch report`: the dashboard's tables and plots in one file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.commands import context, options


def report(
    out: Annotated[Path, typer.Option(help="File to write; its name ends in html, pdf or png.")],
    ticker: options.AnyTicker = None,
    paper: Annotated[
        Literal["a4", "letter"], typer.Option(help="Size of the pages of a PDF.")
    ] = "a4",
) -> None:
    """Write forecasts and how they did to one HTML, PDF or PNG file."""
    context.require("stockbatch report", "altair", "pypdf", "vl_convert", extra="dashboard")
    from jobs.pictures import report as job
    from stockbatch import database

    if out.suffix not in job.FORMATS:
        raise typer.BadParameter(f"the file's name must end in {', '.join(job.FORMATS)}")
    engine = database.engine(context.settings(), role="reader", create=False)
    try:
        job.report(engine, ticker, out, paper)
    finally:
        engine.dispose()
    context.say(f"{out}: written")
