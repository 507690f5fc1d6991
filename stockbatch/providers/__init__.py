"""Sources of daily bars: one client per module, behind one protocol."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Protocol

from stockbatch.config import Settings
from stockbatch.exceptions import ProviderError, UnknownProvider, UnknownTicker
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis

KNOWN = "csv:PATH, demo or yfinance"


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

    def listings(self) -> list[Listing]:
        """Return every ticker there is; raises CannotList."""
        ...

    def listing(self, ticker: str) -> Listing:
        """Return what is known of one ticker; raises UnknownTicker."""
        ...

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request, in any order; errors carry the symbol as `ticker`."""
        ...


def create(specification: str, settings: Settings) -> BarProvider:
    """Return the provider that `csv:PATH`, `demo` or `yfinance` names; raises UnknownProvider.

    Nothing is read or asked for before the provider is used.
    """
    kind, _, rest = specification.partition(":")
    if kind == "csv" and rest:
        from stockbatch.providers.csv_files import CsvFiles

        return CsvFiles(rest)
    if specification == "demo":
        from stockbatch.providers.demo import Demo

        return Demo()
    if specification == "yfinance":
        from stockbatch.providers.yahoo import Yahoo

        return Yahoo(settings.home / "yfinance")
    raise UnknownProvider(provider=specification or "''", known=KNOWN)


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
