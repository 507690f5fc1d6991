"""`stockbatch tickers`: the watchlist."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context

if TYPE_CHECKING:
    from stockbatch.records import Listing

tickers = typer.Typer(name="tickers", no_args_is_help=True, help="Keep the watchlist.")
ProviderOption = Annotated[
    str | None,
    typer.Option(help="yfinance, demo or csv:PATH; default: the setting `provider`."),
]


@tickers.command()
def add(
    names: Annotated[list[str] | None, typer.Argument(metavar="TICKER")] = None,
    provider: ProviderOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every ticker the provider lists.")
    ] = False,
) -> None:
    """Put tickers on the watchlist."""
    if bool(names) == everything:
        raise typer.BadParameter("name tickers, or give --all")
    _add(list(dict.fromkeys(names or [])), provider, skip_known=everything)


@tickers.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A ticker per line, or a CSV with a column ticker.")],
    provider: ProviderOption = None,
) -> None:
    """Put the tickers of a file on the watchlist; those on it already stay as they are."""
    _add(_read(file), provider, skip_known=True)


@tickers.command()
def remove(names: Annotated[list[str], typer.Argument(metavar="TICKER")]) -> None:
    """Take tickers off the watchlist; their history stays."""
    from jobs.app import running
    from stockbatch.store import instruments

    with running(context.settings(), create=False) as app, app.transaction() as db:
        instruments.remove(db, names)
    typer.echo(f"removed: {', '.join(names)}")


@tickers.command("list")
def list_() -> None:
    """Show the watchlist."""
    from jobs.app import running
    from stockbatch.store import instruments

    with running(context.settings(), create=False) as app, app.transaction() as db:
        known = instruments.active(db)
    columns = [(c, "left") for c in ("ticker", "exchange", "currency", "provider", "name")]
    rows = [(i.ticker, i.calendar, i.currency, i.provider, i.name) for i in known]
    context.show_table(f"{len(rows)} tickers", columns, rows)


def _add(names: Sequence[str], provider: str | None, *, skip_known: bool) -> None:
    """Add the tickers named, or all the provider lists where none is."""
    from jobs.app import running
    from stockbatch.store import instruments

    settings = context.settings()
    with running(settings) as app:
        source = app.provider(provider or settings.provider)
        with app.transaction() as db:
            known = {instrument.ticker for instrument in instruments.active(db)}
        wanted = [name for name in names if not (skip_known and name in known)]
        listings: list[Listing] = (
            [source.listing(name) for name in wanted] if names else source.listings()
        )
        fresh = [one for one in listings if not (skip_known and one.ticker in known)]
        with app.transaction() as db:
            added = instruments.add(db, fresh, provider=source.specification)
    skipped = (len(names) or len(listings)) - added
    typer.echo(f"{added} added" + (f", {skipped} on the watchlist already" if skipped else ""))


def _read(file: Path) -> list[str]:
    """Return the tickers of a file. Raises UnreadableFile and BadFile."""
    from stockbatch.exceptions import BadFile, UnreadableFile

    try:
        rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise UnreadableFile(path=file, reason=error.strerror) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path=file, line=1, column=1, reason=error) from None
    filled = [row for row in rows if row and row[0].strip() and not row[0].startswith("#")]
    column = 0
    if filled and "ticker" in (header := [cell.strip().lower() for cell in filled[0]]):
        column = header.index("ticker")
        filled = filled[1:]
    names = [row[column].strip() for row in filled if len(row) > column]
    if not names:
        raise BadFile(path=file, line=1, column=1, reason="it names no ticker")
    return list(dict.fromkeys(names))
