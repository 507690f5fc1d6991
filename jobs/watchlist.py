"""The watchlist: put tickers on it, one by one or from a file, rename them, take them off."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobs.app import App
from stockbatch.exceptions import (
    BadFile,
    DuplicateInstrument,
    NoCalendar,
    NoData,
    ProviderError,
    UnknownCalendar,
    UnknownTicker,
    UnreadableFile,
)
from stockbatch.market import sessions
from stockbatch.providers.base import BarProvider
from stockbatch.records import Listing, Source
from stockbatch.store import instruments

OF_ONE_TICKER = (UnknownTicker, NoCalendar, NoData, BadFile)
"""What keeps one ticker off the watchlist; after any other failure, nobody else is asked for."""
TOLD = ("name", "calendar", "currency", "asset_class", "symbol")
COLUMNS = (*TOLD, "provider")
"""What a file of tickers may say beside `ticker`; what it does not say the provider is asked."""
ALSO_CALLED = {"ticker": ("symbol",), "name": ("security", "company")}
"""What lists of constituents call a column, where none has the name it has here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A ticker to add; what is `told` of it, by the fields of a Listing, is not asked for."""

    ticker: str
    provider: str
    told: Mapping[str, Any] = field(default_factory=dict)

    def over(self, listing: Listing) -> Listing:
        """Return a listing with what is told in the place of what it says."""
        return replace(listing, ticker=self.ticker, **self.told) if self.told else listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A provider asked where the ticker's own fails; it calls the ticker `symbol`, if that."""

    provider: str
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """How many tickers were added, how many were there already, and why others were not."""

    added: int
    known: int
    failures: tuple[ProviderError, ...]
    listings: tuple[Listing, ...] = ()
    """What was added."""


def add(
    app: App,
    wanted: Sequence[Wanted],
    fallbacks: Sequence[Fallback] = (),
    *,
    keep_known: bool = False,
) -> Added:
    """Add tickers, each in a transaction of its own as soon as its provider has said what it is.

    Tickers on the watchlist already are left alone. Raises UnknownProvider; unless `keep_known`,
    DuplicateInstrument for one that another provider feeds. Nothing is added then.
    """
    providers = {one.provider: app.provider(one.provider) for one in wanted}
    fallbacks = _resolved(app, fallbacks)
    known = _known(app)
    for one in wanted:
        # Left alone without a word, it would go on with a provider that nobody asked for.
        fed_by = known.get(one.ticker)
        if fed_by not in (None, providers[one.provider].specification) and not keep_known:
            raise DuplicateInstrument(ticker=one.ticker, provider=fed_by)
    fresh = [one for one in wanted if one.ticker not in known]
    # The calendar is all a run cannot do without: of whom it is told, nobody is asked.
    described = [one for one in fresh if "calendar" in one.told]
    asked = [one for one in fresh if "calendar" not in one.told]
    added, failures, stored = 0, list[ProviderError](), list[Listing]()
    for name, provider in providers.items():
        listings = [
            one.over(Listing(ticker=one.ticker, symbol=one.ticker))
            for one in described
            if one.provider == name
        ]
        added += _store(app, provider, listings, fallbacks)
        stored += listings
    with app.progress() as progress:
        for one in progress.track(asked, description="tickers"):
            provider = providers[one.provider]
            try:
                listing = provider.listing(one.told.get("symbol", one.ticker))
            except OF_ONE_TICKER as error:
                failures.append(error)
            except ProviderError as error:
                failures.append(error)
                break  # refused or out of reach, it would be so for the others, too
            else:
                added += _store(app, provider, [one.over(listing)], fallbacks)
                stored.append(one.over(listing))
    return Added(
        added=added,
        known=len(wanted) - len(fresh),
        failures=tuple(failures),
        listings=tuple(stored),
    )


def add_all(app: App, provider: str, fallbacks: Sequence[Fallback] = ()) -> Added:
    """Add every ticker a provider lists; raises CannotList, and what keeps it from listing any."""
    source = app.provider(provider)
    fallbacks = _resolved(app, fallbacks)
    listed = source.listings()
    failures = tuple(one for one in listed if isinstance(one, ProviderError))
    listings = [one for one in listed if isinstance(one, Listing)]
    known = _known(app)
    fresh = [one for one in listings if one.ticker not in known]
    added = _store(app, source, fresh, fallbacks)
    return Added(
        added=added,
        known=len(listings) - len(fresh),
        failures=failures,
        listings=tuple(fresh),
    )


def add_demo(app: App, provider: str) -> list[Listing]:
    """Add every ticker a provider lists, marked as for show, and return them all."""
    source = app.provider(provider)
    listings = [one for one in source.listings() if isinstance(one, Listing)]
    known = _known(app)
    fresh = [one for one in listings if one.ticker not in known]
    with app.transaction() as db:
        # Marked: bars that end years ago would be due for ever, and spoil metrics of all tickers.
        instruments.add(db, fresh, provider=source.specification, demo=True)
    return listings


def rename(app: App, old: str, new: str, *, symbol: str | None = None) -> None:
    """Give a ticker its new name, and the one its provider has for it; its history goes on.

    Raises UnknownInstrument, DuplicateInstrument and TickerTaken.
    """
    with app.transaction() as db:
        instruments.rename(db, old, new, symbol=symbol)


def remove(app: App, tickers: Sequence[str]) -> None:
    """Take tickers off the watchlist; their history stays. Raises UnknownInstrument."""
    with app.transaction() as db:
        instruments.remove(db, tickers)


def read(file: Path, provider: str) -> list[Wanted]:
    """Return the tickers a file names, each once, of `provider` where it names no other.

    It has a ticker per line, or is a CSV whose first line has the headings `ticker` and COLUMNS, in
    any order; lines that begin with # are left out. Raises UnreadableFile and BadFile.
    """
    lines = _lines(file)
    headings = ["ticker"]
    if lines:
        first = [cell.lower() for cell in lines[0][1]]
        if {"ticker", "symbol"} & set(first):
            headings, lines = _headings(first), lines[1:]
    wanted: dict[str, Wanted] = {}
    for number, cells in lines:
        row = {name: cell for name, cell in zip(headings, cells, strict=False) if cell}
        if "calendar" in row:
            try:
                row["calendar"] = sessions.canonical(row["calendar"])
            except UnknownCalendar as error:
                column = headings.index("calendar") + 1
                raise BadFile(path=file, line=number, column=column, reason=error) from None
        if "ticker" in row:
            told = {name: row[name] for name in TOLD if name in row}
            one = Wanted(ticker=row["ticker"], provider=row.get("provider", provider), told=told)
            wanted.setdefault(one.ticker, one)
    if not wanted:
        raise BadFile(path=file, line=1, column=1, reason="it names no ticker")
    return list(wanted.values())


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """Return the cells of every line that says something, with its number."""
    try:
        # Spreadsheets begin a file with a byte-order mark, which is no part of the first heading.
        lines = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise UnreadableFile(path=file, reason=error.strerror) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path=file, line=1, column=1, reason=error) from None
    return [
        (number, [cell.strip() for cell in line])
        for number, line in enumerate(lines, 1)
        if line and line[0].strip() and not line[0].startswith("#")
    ]


def _headings(cells: Sequence[str]) -> list[str]:
    """Return the headings of a file by the names they have here."""
    headings = list(cells)
    for name, others in ALSO_CALLED.items():
        called = next((other for other in others if other in headings), None)
        if name not in headings and called:
            headings[headings.index(called)] = name
    return headings


def _known(app: App) -> dict[str, str]:
    """Return the providers of the watchlist by ticker."""
    with app.transaction() as db:
        return {instrument.ticker: instrument.provider for instrument in instruments.active(db)}


def _resolved(app: App, fallbacks: Iterable[Fallback]) -> list[Fallback]:
    """Return fallbacks by what is stored of their providers. Raises UnknownProvider."""
    return [replace(one, provider=app.provider(one.provider).specification) for one in fallbacks]


def _store(
    app: App, provider: BarProvider, listings: Sequence[Listing], fallbacks: Sequence[Fallback]
) -> int:
    sources = {
        listing.ticker: [
            Source(provider=one.provider, symbol=one.symbol or listing.ticker) for one in fallbacks
        ]
        for listing in listings
    }
    with app.transaction() as db:
        return instruments.add(db, listings, provider=provider.specification, fallbacks=sources)
