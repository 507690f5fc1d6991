"""Put tickers on the watchlist, asking their providers what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jobs.app import App
from stockbatch.exceptions import (
    BadFile,
    DuplicateInstrument,
    NoCalendar,
    NoData,
    ProviderError,
    UnknownTicker,
)
from stockbatch.providers.base import BarProvider
from stockbatch.records import Listing, Source
from stockbatch.store import instruments

OF_ONE_TICKER = (UnknownTicker, NoCalendar, NoData, BadFile)
"""What keeps one ticker off the watchlist; after any other failure, nobody else is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A ticker to add; what is `told` of it, by the fields of a Listing, is not asked for."""

    ticker: str
    provider: str
    told: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """How many tickers were added, how many were there already, and why others were not."""

    added: int
    known: int
    failures: tuple[ProviderError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A provider asked where the ticker's own fails; it calls the ticker `symbol`, if that."""

    provider: str
    symbol: str | None = None


def add_tickers(
    app: App, wanted: Sequence[Wanted], fallbacks: Sequence[Fallback], *, keep_known: bool
) -> Added:
    """Add tickers, each in a transaction of its own as soon as its provider has said what it is.

    Tickers on the watchlist already are left alone. Raises UnknownProvider; unless `keep_known`,
    DuplicateInstrument for one that another provider feeds. Nothing is added then.
    """
    sources = {name: app.provider(name) for name in dict.fromkeys(w.provider for w in wanted)}
    known = _known(app)
    for one in wanted:
        fed_by = known.get(one.ticker)
        if fed_by not in (None, sources[one.provider].specification) and not keep_known:
            raise DuplicateInstrument(ticker=one.ticker, provider=fed_by)
    fresh = [one for one in wanted if one.ticker not in known]
    added, failures = 0, list[ProviderError]()
    for name, source in sources.items():
        told = [_told(one) for one in fresh if one.provider == name and "calendar" in one.told]
        added += _store(app, source, told, fallbacks)
    asked = [one for one in fresh if "calendar" not in one.told]
    with app.progress() as progress:
        for one in progress.track(asked, description="tickers"):
            source = sources[one.provider]
            try:
                listing = source.listing(one.told.get("symbol", one.ticker))
            except OF_ONE_TICKER as error:
                failures.append(error)
            except ProviderError as error:
                failures.append(error)
                break
            else:
                listing = replace(listing, **_named(one)) if one.told else listing
                added += _store(app, source, [listing], fallbacks)
    return Added(added=added, known=len(wanted) - len(fresh), failures=tuple(failures))


def add_all(app: App, provider: str, fallbacks: Sequence[Fallback]) -> Added:
    """Add every ticker a provider lists; raises CannotList, and what keeps it from listing any."""
    source = app.provider(provider)
    listed = source.listings()
    failures = tuple(one for one in listed if isinstance(one, ProviderError))
    listings = [one for one in listed if isinstance(one, Listing)]
    known = _known(app)
    fresh = [one for one in listings if one.ticker not in known]
    added = _store(app, source, fresh, fallbacks)
    return Added(added=added, known=len(listings) - len(fresh), failures=failures)


def _known(app: App) -> dict[str, str]:
    """Return the providers of the watchlist by ticker."""
    with app.transaction() as db:
        return {instrument.ticker: instrument.provider for instrument in instruments.active(db)}


def _told(one: Wanted) -> Listing:
    return Listing(**{"symbol": one.ticker, **_named(one)})


def _named(one: Wanted) -> dict[str, str]:
    return {"ticker": one.ticker, **one.told}


def _store(
    app: App, source: BarProvider, listings: Sequence[Listing], fallbacks: Sequence[Fallback]
) -> int:
    others = {
        one.ticker: [
            Source(
                provider=app.provider(other.provider).specification,
                symbol=other.symbol or one.ticker,
            )
            for other in fallbacks
        ]
        for one in listings
    }
    with app.transaction() as db:
        return instruments.add(db, listings, provider=source.specification, fallbacks=others)
