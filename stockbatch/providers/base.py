"""Sources of daily bars: one client per module, behind one protocol."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Protocol

from stockbatch.config import Settings
from stockbatch.exceptions import ProviderError, UnknownProvider, UnknownTicker
from stockbatch.providers.pacing import TokenBucket
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis

KNOWN = "csv:PATH, demo, yfinance or alpha_vantage"


class Quota(Protocol):
    """Counts the requests that a provider allows so many of in a day, whoever makes them."""

    def spend(self, provider: str, day: date, limit: int) -> bool:
        """Count one more request; False, and none counted, where `limit` were made that day."""
        ...


class BarProvider(Protocol):
    """A source of daily bars and corporate actions."""

    @property
    def name(self) -> str:
        """What is stored on every bar."""
        ...

    @property
    def specification(self) -> str:
        """What `create` makes the same provider from, whatever the working directory."""
        ...

    @property
    def price_basis(self) -> PriceBasis:
        """What the delivered prices are adjusted for."""
        ...

    def state(self) -> str:
        """Say what there is to use, asking nobody; raises a StockbatchError saying what lacks."""
        ...

    def listings(self) -> Sequence[Listing | ProviderError]:
        """Return every ticker there is, and why others cannot be told; raises CannotList."""
        ...

    def listing(self, ticker: str) -> Listing:
        """Return what is known of one ticker; raises UnknownTicker."""
        ...

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request, in any order; errors carry the symbol as `ticker`."""
        ...


def create(specification: str, settings: Settings, quota: Quota | None = None) -> BarProvider:
    """Return the provider that a specification names; raises UnknownProvider.

    Nothing is read or asked for before the provider is used. Without `quota`, requests are counted
    nowhere, however many the provider allows in a day.
    """
    kind, _, rest = specification.partition(":")
    if kind == "csv" and rest:
        from stockbatch.providers.csv.files import CsvFiles

        return CsvFiles(rest)
    if specification == "demo":
        from stockbatch.providers.demo import Demo

        return Demo()
    if specification == "yfinance":
        return _yahoo(settings)
    if specification == "alpha_vantage":
        return _alpha_vantage(settings, quota)
    raise UnknownProvider(provider=specification or "''", known=KNOWN)


def _yahoo(settings: Settings) -> BarProvider:
    from stockbatch.providers.yahoo.provider import PacedSession, Yahoo

    return Yahoo(
        settings.home / "yfinance",
        PacedSession(TokenBucket(settings.yfinance_requests_per_second)),
        workers=settings.yfinance_workers,
        patience=60 * settings.yfinance_patience_minutes,
    )


def _alpha_vantage(settings: Settings, quota: Quota | None) -> BarProvider:
    from stockbatch.providers.alpha_vantage.provider import AlphaVantage

    return AlphaVantage(
        settings.alpha_vantage_key,
        settings.alpha_vantage_key_file,
        quota=quota,
        requests_per_day=settings.alpha_vantage_requests_per_day,
        bucket=TokenBucket(settings.alpha_vantage_requests_per_second),
        premium=settings.alpha_vantage_premium,
        form=settings.alpha_vantage_format,
    )


def unknown_ticker(provider: str, ticker: str, known: Iterable[str]) -> UnknownTicker:
    """Return the error for a ticker that is not among `known`, with the closest that is."""
    close = get_close_matches(ticker.upper(), known, 3)
    hint = f": did you mean {' or '.join(close)}?" if close else ""
    return UnknownTicker(provider=provider, ticker=ticker, hint=hint)


def answers(
    requests: Iterable[BarRequest], fetch: Callable[[BarRequest], FetchedBars]
) -> Iterator[FetchedBars | ProviderError]:
    """Yield what `fetch` returns for every request, or the ProviderError it raises."""
    for request in requests:
        try:
            yield fetch(request)
        except ProviderError as error:
            yield type(error)(**{**error.values, "ticker": request.symbol})
