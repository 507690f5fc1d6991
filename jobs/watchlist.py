"""The watchlist: put tickers on it, rename them, take them off, put them into groups."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from jobs.app import App
from stockbatch.exceptions import (
    BadFile,
    BadSymbol,
    DuplicateInstrument,
    NoCalendar,
    NoData,
    ProviderError,
    StockbatchError,
    UnknownTicker,
    WrongCalendar,
)
from stockbatch.market import calendars
from stockbatch.market.sessions import DEFAULT_CALENDAR
from stockbatch.providers.base import BarProvider
from stockbatch.records import BarRequest, GroupKind, Listing, Source
from stockbatch.store import instruments, labels

OF_ONE_TICKER = (BadSymbol, UnknownTicker, NoCalendar, WrongCalendar, NoData, BadFile)
"""What keeps one ticker off the watchlist; after any other failure, nobody else is asked for."""
DESCRIBED = (GroupKind.SECTOR, GroupKind.INDUSTRY)
"""Groups of which a ticker is in one of each kind."""
Named = TypeVar("Named")
Choose = Callable[[WrongCalendar], str | None]
"""Asks somebody for the calendar of a ticker whose bars do not fit; None: it is not added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A ticker to add; what is `told` of it, by the fields of a Listing, is not asked for."""

    ticker: str
    provider: str
    told: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

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
    """What was added, how many tickers were there already, and why others were not added."""

    listings: tuple[Listing, ...]
    known: int
    failures: tuple[StockbatchError, ...]


def add(
    app: App,
    wanted: Sequence[Wanted],
    fallbacks: Sequence[Fallback] = (),
    *,
    calendar: str | None = None,
    choose: Choose | None = None,
    keep_known: bool = False,
) -> Added:
    """Add tickers, each in a transaction of its own as soon as its provider has said what it is.

    `calendar` is that of all of them that are not told one; without it, the bars of what the
    provider names no calendar for have to fit the usual one, or `choose` is asked. Tickers on the
    watchlist already are left alone. Raises UnknownProvider; unless `keep_known`,
    DuplicateInstrument for one that another provider feeds; BadSymbol for a fallback's. Nothing is
    added then.
    """
    instruments.require_symbols(*(one.symbol for one in fallbacks if one.symbol))
    wanted, failures = _named(wanted, lambda one: (one.ticker, *_told_symbol(one)))
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
    stored: list[Listing] = []
    for name, provider in providers.items():
        listings = [
            one.over(Listing(ticker=one.ticker, symbol=one.ticker))
            for one in described
            if one.provider == name
        ]
        stored += _store(app, provider, listings, fallbacks)
    answered, silent = _asked(app, asked, calendar, fallbacks)
    failures += silent
    for name, listings in answered.items():
        stored += [one for one in listings if one.calendar is not None]
        lacking = [one for one in listings if one.calendar is None]
        placed, bad = _placed(app, providers[name], lacking, choose)
        stored += _store(app, providers[name], placed, fallbacks)
        failures += bad
    known_already = len(wanted) - len(fresh)
    return Added(listings=tuple(stored), known=known_already, failures=tuple(failures))


def _asked(
    app: App, asked: Sequence[Wanted], calendar: str | None, fallbacks: Sequence[Fallback]
) -> tuple[dict[str, list[Listing]], list[StockbatchError]]:
    """Return what providers say of tickers, by provider, and why they say nothing of others.

    Those with a calendar are stored at once: a provider may need long for all.
    """
    answered: dict[str, list[Listing]] = {}
    failures: list[StockbatchError] = []
    with app.progress() as progress:
        for one in progress.track(asked, description="tickers"):
            provider = app.provider(one.provider)
            try:
                listing = one.over(_listing(provider, one, calendar))
                instruments.require_symbols(listing.ticker, listing.symbol)
            except OF_ONE_TICKER as error:
                failures.append(error)
            except ProviderError as error:
                failures.append(error)
                break  # refused or out of reach, it would be so for the others, too
            else:
                answered.setdefault(one.provider, []).append(listing)
                if listing.calendar is not None:
                    _store(app, provider, [listing], fallbacks)
    return answered, failures


def add_all(
    app: App,
    provider: str,
    fallbacks: Sequence[Fallback] = (),
    *,
    calendar: str | None = None,
    choose: Choose | None = None,
) -> Added:
    """Add every ticker a provider lists, as `add` does.

    Raises CannotList, and what keeps it from listing any.
    """
    source = app.provider(provider)
    fallbacks = _resolved(app, fallbacks)
    listed = source.listings()
    errors = [one for one in listed if isinstance(one, ProviderError)]
    listings, failures = _named(
        [one for one in listed if isinstance(one, Listing)], lambda one: (one.ticker, one.symbol)
    )
    known = _known(app)
    fresh = [one for one in listings if one.ticker not in known]
    if calendar is not None:
        fresh = [replace(one, calendar=calendar) for one in fresh]
    placed, bad = _placed(app, source, fresh, choose)
    _store(app, source, placed, fallbacks)
    return Added(
        listings=tuple(placed),
        known=len(listings) - len(fresh),
        failures=(*errors, *failures, *bad),
    )


def group(app: App, wanted: Iterable[Wanted]) -> None:
    """Put tickers into the groups that a list names, whether it has added them or not.

    What it says nothing of stays; what is not on the watchlist is left out. Raises BadName.
    """
    with app.transaction() as db:
        ids = {instrument.ticker: instrument.id for instrument in instruments.active(db)}
        groups: dict[tuple[GroupKind, str], list[int]] = {}
        for one in wanted:
            told = [(kind, one.told[kind]) for kind in DESCRIBED if kind in one.told]
            for named in (*told, *((GroupKind.TAG, tag) for tag in one.tags)):
                if one.ticker in ids:
                    groups.setdefault(named, []).append(ids[one.ticker])
        for (kind, name), members in groups.items():
            labels.put(db, kind, name, members)


def tag(
    app: App,
    tickers: Sequence[str],
    groups: Iterable[tuple[GroupKind, str]],
    untags: Iterable[str] = (),
) -> None:
    """Put tickers into groups, by kind and name, and take tags from them, all or nothing.

    Raises UnknownInstrument, BadName, UnknownGroup.
    """
    with app.transaction() as db:
        ids = [instrument.id for instrument in instruments.find(db, tickers)]
        for kind, name in groups:
            labels.put(db, kind, name, ids)
        for name in untags:
            labels.take_away(db, GroupKind.TAG, name, tickers)


def leave(app: App, name: str, tickers: Sequence[str] | None) -> int:
    """Take tickers from a named watchlist, without any all, and return how many.

    Raises UnknownGroup.
    """
    with app.transaction() as db:
        return labels.take_away(db, GroupKind.WATCHLIST, name, tickers)


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

    Raises UnknownInstrument, BadSymbol, DuplicateInstrument and TickerTaken.
    """
    with app.transaction() as db:
        instruments.rename(db, old, new, symbol=symbol)


def remove(app: App, tickers: Sequence[str]) -> None:
    """Take tickers off the watchlist; their history stays. Raises UnknownInstrument."""
    with app.transaction() as db:
        instruments.remove(db, tickers)


def _named(
    tickers: Sequence[Named], symbols: Callable[[Named], Iterable[str]]
) -> tuple[list[Named], list[StockbatchError]]:
    """Return the tickers all of whose symbols can be some, and what is wrong with the others."""
    good, failures = list[Named](), list[StockbatchError]()
    for one in tickers:
        try:
            instruments.require_symbols(*symbols(one))
        except BadSymbol as error:
            failures.append(error)
        else:
            good.append(one)
    return good, failures


def _told_symbol(one: Wanted) -> tuple[str, ...]:
    return (one.told["symbol"],) if "symbol" in one.told else ()


def _listing(provider: BarProvider, one: Wanted, calendar: str | None) -> Listing:
    """Return what a provider says of a ticker, with `calendar` in the place of its own."""
    symbol = one.told.get("symbol", one.ticker)
    try:
        listing = provider.listing(symbol)
    except NoCalendar:
        if calendar is None:
            raise
        return Listing(ticker=one.ticker, symbol=symbol, calendar=calendar)
    return listing if calendar is None else replace(listing, calendar=calendar)


def _placed(
    app: App, provider: BarProvider, listings: Sequence[Listing], choose: Choose | None
) -> tuple[list[Listing], list[ProviderError]]:
    """Return listings with their calendars, and why others have none.

    Where nobody named one, the days of the bars have to be those of the usual calendar.
    """
    placed = [one for one in listings if one.calendar is not None]
    failures: list[ProviderError] = []
    doubts: list[tuple[Listing, calendars.Doubt | None]] = []
    by_symbol = {one.symbol: one for one in listings if one.calendar is None}
    today = app.clock().date()
    requests = [BarRequest(symbol=symbol, first=None, last=today) for symbol in by_symbol]
    if not requests:
        return placed, failures
    with app.progress() as progress:
        answers = provider.fetch(requests)
        for answer in progress.track(answers, total=len(requests), description="calendars"):
            if isinstance(answer, NoData):  # bars that are yet to come will tell
                listing = by_symbol[answer.values["ticker"]]
                placed.append(replace(listing, calendar=DEFAULT_CALENDAR))
            elif isinstance(answer, ProviderError):
                failures.append(answer)
            else:
                doubts.append((by_symbol[answer.symbol], calendars.doubt(answer.bars.sessions)))
    for listing, doubt in doubts:  # whoever is asked has to see the question, not the progress
        try:
            placed.append(_judged(listing, doubt, choose))
        except WrongCalendar as error:
            failures.append(error)
    return placed, failures


def _judged(listing: Listing, doubt: calendars.Doubt | None, choose: Choose | None) -> Listing:
    """Return a listing with the usual calendar, or the one chosen instead; raises WrongCalendar."""
    if doubt is None:
        return replace(listing, calendar=DEFAULT_CALENDAR)
    wrong = WrongCalendar(ticker=listing.ticker, doubt=doubt, advice=doubt.advice)
    chosen = choose(wrong) if choose is not None else None
    if chosen is None:
        raise wrong
    return replace(listing, calendar=chosen)


def _known(app: App) -> dict[str, str]:
    """Return the providers of the watchlist by ticker."""
    with app.transaction() as db:
        return {instrument.ticker: instrument.provider for instrument in instruments.active(db)}


def _resolved(app: App, fallbacks: Iterable[Fallback]) -> list[Fallback]:
    """Return fallbacks by what is stored of their providers. Raises UnknownProvider."""
    return [replace(one, provider=app.provider(one.provider).specification) for one in fallbacks]


def _store(
    app: App, provider: BarProvider, listings: Sequence[Listing], fallbacks: Sequence[Fallback]
) -> Sequence[Listing]:
    """Add what a provider is to feed, and return it."""
    sources = {
        listing.ticker: [
            Source(provider=one.provider, symbol=one.symbol or listing.ticker) for one in fallbacks
        ]
        for listing in listings
    }
    with app.transaction() as db:
        instruments.add(db, listings, provider=provider.specification, fallbacks=sources)
    return listings
