"""`stockbatch providers`: where bars can come from, and how a file of them is understood."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import words
from stockbatch.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    from stockbatch.providers.csv.header import Header
    from stockbatch.providers.csv.table import Table

FINDINGS_SHOWN = 10
TICKERS_SHOWN = 10

providers = typer.Typer(
    name="providers",
    invoke_without_command=True,
    help="List the providers of bars, or show how one understands a file.",
)


@providers.callback()
def list_(
    asked: typer.Context, layout: options.Format = "table", wide: options.Wide = False
) -> None:
    """List the providers of bars."""
    from stockbatch.providers import registry

    if asked.invoked_subcommand is None:
        columns = [words("provider"), words("gives", folds=True)]
        rows = [{"provider": name, "gives": gives} for name, gives in registry.forms()]
        title = counted(len(rows), "provider")
        tables.show(title, columns, rows, ("provider", "gives"), layout, wide=wide)


@providers.command()
def csv(
    file: Annotated[str, typer.Argument(help="A file, folder, archive or pattern.")],
    column: options.Column = None,
    decimal: options.Decimal = None,
    dates: options.Dates = None,
    basis: options.Basis = None,
    calendar: options.Calendar = None,
) -> None:
    """Show how a file of bars is understood; nothing is stored."""
    import numpy as np

    from stockbatch.exceptions import ProviderError
    from stockbatch.market.sessions import as_date
    from stockbatch.providers import registry
    from stockbatch.providers.csv.header import Reading, read_header
    from stockbatch.providers.csv.provider import CsvFiles

    chosen = options.of_file(column, decimal, dates, basis)
    specification = registry.with_options(f"csv:{file}", chosen)
    alike: dict[tuple[str, str], int] = {}
    bad: list[ProviderError] = []
    tickers, bars, days = set[str](), 0, set[date]()
    with closing(CsvFiles(specification.partition(":")[2])) as source:
        for path, table in source.tables():
            if isinstance(table, ProviderError):
                bad.append(table)
                continue
            table = table.on(calendar)
            # Of the files of a folder that are alike, one is shown, and any with odd lines.
            kind = (table.basis.value, table.understood)
            alike[kind] = alike.get(kind, 0) + 1
            tickers.update(table.tickers)
            bars += len(table.sessions)
            days |= {as_date(day(table.sessions)) for day in (np.min, np.max)}
            if alike[kind] == 1 or any(table.findings.values()):
                _show(path, table, read_header(path, Reading.of(chosen)))
    if others := sum(alike.values()) - len(alike):
        are = "file is" if others == 1 else "files are"
        typer.echo(f"{others} more {are} understood like these")
        many = f"{counted(bars, 'bar')} of {counted(len(tickers), 'ticker')}"
        typer.echo(f"in all {many}, {min(days)} to {max(days)}")
    for error in bad:
        typer.echo(f"error: {error}", err=True)
    if bad:
        raise typer.Exit(bad[0].exit_code)


def _show(path: Path, table: Table, header: Header) -> None:
    """Print what a file was understood to say."""
    names = ", ".join(table.tickers[:TICKERS_SHOWN])
    more = len(table.tickers) - TICKERS_SHOWN
    context.answer(path)
    used = {
        name: header.cells[at]
        for name, at in header.columns.items()
        if at < len(header.cells) and name != "adjusted"  # it tells splits at most, as is said
    }
    context.answer(f"  columns     {', '.join(f'{name} is {said}' for name, said in used.items())}")
    context.answer(f"  understood  {table.understood}")
    context.answer(f"  prices      {table.basis}")
    context.answer(f"  tickers     {names}{f' and {more} more' if more > 0 else ''}")
    if table.instants is not None:
        typer.echo("  days        of UTC: for those of an exchange, give --calendar")
    context.answer(f"  bars        {len(table.sessions)}")
    first, last = table.tickers[0], table.tickers[-1]
    context.answer(f"  first       {_bar(table, first, 0)}")
    context.answer(f"  last        {_bar(table, last, -1)}")
    odd = [finding for of_one in table.findings.values() for finding in of_one]
    for finding in odd[:FINDINGS_SHOWN]:
        context.answer(f"  odd         {finding.message}")
    if (hidden := len(odd) - FINDINGS_SHOWN) > 0:
        context.answer(f"  odd         and {hidden} more lines")


def _bar(table: Table, ticker: str, at: int) -> str:
    """Return a bar of a ticker in words, with all digits that its file states."""
    import numpy as np

    bars = table.bars(table.rows(ticker, None, date.max))
    values = [
        f"{name} {np.format_float_positional(getattr(bars, name)[at], trim='-')}"
        for name in ("open", "high", "low", "close", "volume")
    ]
    return f"{ticker} {bars.sessions[at]}: {', '.join(values)}"
