"""`stockbatch portfolios`: what is held, whose risk is told each night."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words
from stockbatch.text import counted

if TYPE_CHECKING:
    from jobs.portfolios import Imported

portfolios = typer.Typer(
    name="portfolios", no_args_is_help=True, help="What is held: its risk is told each night."
)


@portfolios.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV: portfolio, ticker, quantity (below 0: owed), from (the day from which on it "
            "is held). Of each day all that is held, and 0 of what is not any more."
        ),
    ],
) -> None:
    """Keep the statements of a file: what it says of a day replaces what a file said before."""
    from jobs import portfolios as job
    from jobs.app import running

    with running(context.settings()) as app:
        imported = job.import_(app, file)
    _tell(imported)


def _tell(imported: Imported) -> None:
    """Say what became of the lines of a file; end with an error where some are bad."""
    done = imported
    context.say(f"{done.new} added, {done.changed} changed, {done.same} known already")
    if done.new or done.changed:
        context.say("the next session's run tells the risk, 'stockbatch backtest' that of the past")
    for failure in imported.failures:
        context.warn(f"error: {failure}")
    if imported.left_out:
        names = ", ".join(imported.left_out)
        context.warn(f"{counted(len(imported.left_out), 'portfolio')} left as before: {names}")
    if imported.failures:
        raise typer.Exit(imported.failures[0].exit_code)


@portfolios.command("list")
def list_(layout: options.Format = "table", wide: options.Wide = False) -> None:
    """Show what every portfolio holds now, at the last close."""
    from jobs.app import running
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        found = bi.portfolios.held(db)
    columns = [
        words("portfolio"),
        words("ticker"),
        number("quantity", lambda row: f"{row['quantity']:,.15g}"),
        number("close", lambda row: _price(row["close"])),
        number("value", lambda row: _price(row["value"])),
        words("currency"),
        number("% of exposure", lambda row: _share(row["exposure_pct"])),
        words("session"),
        words("from", "from_day", wide=True),
    ]
    rows = found.rows()
    held = counted(len({row["portfolio"] for row in rows}), "portfolio")
    tables.show(held, columns, rows, found.columns, layout, wide=wide)


def _price(value: float | None) -> str | None:
    return None if value is None else f"{value:,.2f}"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"
