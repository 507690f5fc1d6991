"""What a source of news is, what its package says of it, and what most sources need."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stockbatch.config import Settings
from stockbatch.events.base import Patience, SourceSetup
from stockbatch.exceptions import ProviderError
from stockbatch.records import Instrument, NewsItem


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsRequest:
    """The last news wanted of one symbol."""

    symbol: str
    """As the source calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedNews:
    """What a source has of one symbol, in any order."""

    symbol: str
    items: tuple[NewsItem, ...]


Answer = FetchedNews | ProviderError


class NewsSource(Protocol):
    """A source of news."""

    def news(self, requests: Sequence[NewsRequest]) -> Iterator[Answer]:
        """Yield one answer per request, in any order; errors carry the symbol as `ticker`."""
        ...

    def close(self) -> None:
        """Let go of connections; nothing is asked for afterwards."""
        ...


def _nobody(_settings: Settings) -> Collection[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsKind:
    """What a package offers: how a source is made, and what it can be asked.

    An entry point of the group `stockbatch.news` names one, and gives it its name.
    """

    make: Callable[[SourceSetup], NewsSource]
    """Makes a source that reads and asks nothing before it is used."""
    symbol: Callable[[Instrument, Settings], str | None]
    """Returns what it calls a ticker; None where it is not to be asked about it."""
    named: Callable[[Settings], Collection[str]] = _nobody
    """Returns the tickers that the settings name for it, which belong on the watchlist."""
    provider: str = ""
    """The provider of bars with which it shares a quota."""


def in_turn(
    requests: Sequence[NewsRequest], question: Callable[[NewsRequest], Sequence[NewsItem]]
) -> Iterator[Answer]:
    """Yield the answers to `question`, until asking has become pointless."""
    patience = Patience()
    for request in requests:
        try:
            items = tuple(patience.ask(question, request))
        except ProviderError as error:
            yield error
            continue
        yield FetchedNews(symbol=request.symbol, items=items)


def number(value: Any, least: float, most: float) -> float | None:
    """Return a number that a source states; None for what is none, or beyond its range."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and least <= found <= most else None
