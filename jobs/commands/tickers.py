"""`stockbatch tickers`: the watchlist."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer

from jobs.commands import context

Row = dict[str, str]
"""What is said of one ticker: `ticker`, and some of COLUMNS."""

tickers = typer.Typer(name="tickers", no_args_is_help=True, help="Keep the watchlist.")
ProviderOption = Annotated[
    str | None,
    typer.Option(
        help="yfinance, alpha_vantage, csv:PATH or demo; default: the setting `provider`."
    ),
]
FallbackOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PROVIDER", help="Asked where the provider fails; may be repeated."),
]
TOLD = ("name", "calendar", "currency", "asset_class", "symbol")
COLUMNS = (*TOLD, "provider")
"""What a file of tickers may say beside `ticker`; what it does not say the provider is asked."""
ALSO_CALLED = {"ticker": ("symbol",), "name": ("security", "company")}
"""What lists of constituents call a column, where none has the name it has here."""


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
    _add(rows, provider, fallback, symbols, keep_known=everything)


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
    _add(_read(file), provider, fallback or [], [], keep_known=True)


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
    keep_known: bool,
) -> None:
    """Add the tickers of `rows`, or all the provider lists where there is none, and say so."""
    from jobs.app import running
    from jobs.watchlist import Fallback, Wanted, add_all, add_tickers

    settings = context.settings()
    usual = provider or settings.provider
    wanted = [
        Wanted(
            ticker=row["ticker"],
            provider=row.get("provider") or usual,
            told={name: row[name] for name in TOLD if row.get(name)},
        )
        for row in rows
    ]
    with running(settings) as app:
        others = [
            Fallback(provider=app.provider(name).specification, symbol=symbol)
            for name, symbol in zip_longest(fallbacks, symbols)
        ]
        if wanted:
            result = add_tickers(app, wanted, others, keep_known=keep_known)
        else:
            result = add_all(app, usual, others)
    if result.added or result.known or not result.failures:
        known = f", {result.known} on the watchlist already" if result.known else ""
        typer.echo(f"{result.added} added{known}")
    for failure in result.failures:
        typer.echo(f"error: {failure}", err=True)
    if result.failures:
        raise typer.Exit(result.failures[0].exit_code)


def _read(file: Path) -> list[Row]:
    """Return the rows of a file, one per ticker. Raises UnreadableFile and BadFile."""
    from stockbatch.exceptions import BadFile, UnknownCalendar, UnreadableFile
    from stockbatch.market import sessions

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
    if filled and {"ticker", "symbol"} & set(cells := [cell.lower() for cell in filled[0][1]]):
        header, filled = _headings(cells), filled[1:]
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


def _headings(cells: Sequence[str]) -> list[str]:
    """Return the headings of a file by the names they have here."""
    headings = list(cells)
    for name, others in ALSO_CALLED.items():
        called = next((other for other in others if other in headings), None)
        if name not in headings and called:
            headings[headings.index(called)] = name
    return headings
