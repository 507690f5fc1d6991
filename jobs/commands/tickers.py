"""`stockbatch tickers`: the watchlist."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context

if TYPE_CHECKING:
    from stockbatch.providers import BarProvider
    from stockbatch.records import Listing

Row = dict[str, str]
"""What is said of one ticker: `ticker`, and some of COLUMNS."""

tickers = typer.Typer(name="tickers", no_args_is_help=True, help="Keep the watchlist.")
ProviderOption = Annotated[
    str | None,
    typer.Option(help="yfinance, demo or csv:PATH; default: the setting `provider`."),
]
FallbackOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PROVIDER", help="Asked where the provider fails; may be repeated."),
]
COLUMNS = ("name", "calendar", "currency", "asset_class", "provider", "symbol")
"""What a file of tickers may say beside `ticker`; what it does not say the provider is asked."""


@tickers.command()
def add(
    names: Annotated[list[str] | None, typer.Argument(metavar="TICKER")] = None,
    provider: ProviderOption = None,
    fallback: FallbackOption = None,
    fallback_symbol: Annotated[
        list[str] | None,
        typer.Option(metavar="SYMBOL", help="What each fallback calls the one ticker named."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every ticker the provider lists.")
    ] = False,
) -> None:
    """Put tickers on the watchlist."""
    if bool(names) == everything:
        raise typer.BadParameter("name tickers, or give --all")
    fallback, symbols = fallback or [], fallback_symbol or []
    if symbols and (len(symbols) != len(fallback) or len(names or []) != 1):
        raise typer.BadParameter("name one ticker, and a --fallback-symbol for each --fallback")
    rows = [{"ticker": name} for name in dict.fromkeys(names or [])]
    _add(rows, provider, fallback, symbols, skip_known=everything)


@tickers.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help=f"A ticker per line, or a CSV: ticker, {', '.join(COLUMNS)}."),
    ],
    provider: ProviderOption = None,
    fallback: FallbackOption = None,
) -> None:
    """Put the tickers of a file on the watchlist; those on it already stay as they are."""
    _add(_read(file), provider, fallback or [], [], skip_known=True)


@tickers.command()
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD")],
    new: Annotated[str, typer.Argument(metavar="NEW")],
    symbol: Annotated[
        str | None, typer.Option(help="What its provider calls it now; default: NEW.")
    ] = None,
) -> None:
    """Give a ticker its new name; bars, models, forecasts and scores go on under it."""
    from jobs.app import running
    from stockbatch.store import instruments

    with running(context.settings(), create=False) as app, app.transaction() as db:
        instruments.rename(db, old, new, symbol=symbol)
    typer.echo(f"{old} is {new} from now on")


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


def _add(
    rows: Sequence[Row],
    provider: str | None,
    fallbacks: Sequence[str],
    symbols: Sequence[str],
    *,
    skip_known: bool,
) -> None:
    """Add the tickers of `rows`, or all the provider lists where there is none."""
    from jobs.app import running
    from stockbatch.records import Source
    from stockbatch.store import instruments

    settings = context.settings()
    with running(settings) as app:
        specifications = [app.provider(name).specification for name in fallbacks]
        with app.transaction() as db:
            known = {instrument.ticker for instrument in instruments.active(db)}
        wanted = [row for row in rows if not (skip_known and row["ticker"] in known)]
        by_provider: dict[str, list[Listing]] = {}
        for row in wanted:
            source = app.provider(row.get("provider") or provider or settings.provider)
            by_provider.setdefault(source.specification, []).append(_listing(source, row))
        if not rows:
            source = app.provider(provider or settings.provider)
            by_provider[source.specification] = source.listings()
        found, added = 0, 0
        with app.transaction() as db:
            for specification, listings in by_provider.items():
                fresh = [one for one in listings if not (skip_known and one.ticker in known)]
                others = {
                    one.ticker: [
                        Source(provider=name, symbol=symbol)
                        for name, symbol in zip(
                            specifications, symbols or [one.ticker] * len(fallbacks), strict=True
                        )
                    ]
                    for one in fresh
                }
                found += len(listings)
                added += instruments.add(db, fresh, provider=specification, fallbacks=others)
    skipped = (len(rows) or found) - added
    typer.echo(f"{added} added" + (f", {skipped} on the watchlist already" if skipped else ""))


def _listing(source: BarProvider, row: Row) -> Listing:
    """Return what a row says of its ticker; the provider is asked unless the calendar is told."""
    from stockbatch.records import Listing

    told = {name: row[name] for name in COLUMNS if name != "provider" and row.get(name)}
    if "calendar" in told:
        return Listing(**{"ticker": row["ticker"], "symbol": row["ticker"], **told})
    listing = source.listing(told.get("symbol", row["ticker"]))
    return replace(listing, **({"ticker": row["ticker"], **told} if told else {}))


def _read(file: Path) -> list[Row]:
    """Return the rows of a file, one per ticker. Raises UnreadableFile and BadFile."""
    from stockbatch import sessions
    from stockbatch.exceptions import BadFile, UnknownCalendar, UnreadableFile

    try:
        lines = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise UnreadableFile(path=file, reason=error.strerror) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path=file, line=1, column=1, reason=error) from None
    filled = [
        (number, [cell.strip() for cell in line])
        for number, line in enumerate(lines, 1)
        if line and line[0].strip() and not line[0].startswith("#")
    ]
    header = ["ticker"]
    if filled and "ticker" in (cells := [cell.lower() for cell in filled[0][1]]):
        header, filled = cells, filled[1:]
    rows: dict[str, Row] = {}
    for number, cells in filled:
        row = dict(zip(header, cells, strict=False))
        if calendar := row.get("calendar"):
            try:
                row["calendar"] = sessions.canonical(calendar)
            except UnknownCalendar as error:
                column = header.index("calendar") + 1
                raise BadFile(path=file, line=number, column=column, reason=error) from None
        if row.get("ticker"):
            rows.setdefault(row["ticker"], row)
    if not rows:
        raise BadFile(path=file, line=1, column=1, reason="it names no ticker")
    return list(rows.values())
