"""What a source of daily bars is, what its package says of it, and what most sources need."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stockbatch.exceptions import NoData, ProviderError, UnknownTicker
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis, Sessions


class BarProvider(Protocol):
    """A source of daily bars and corporate actions."""

    @property
    def name(self) -> str:
        """What is stored on every bar."""
        ...

    @property
    def specification(self) -> str:
        """What `registry.create` makes the same provider from, whatever the working directory."""
        ...

    @property
    def price_basis(self) -> PriceBasis:
        """What the delivered prices are adjusted for."""
        ...

    @property
    def corrects_overnight(self) -> bool:
        """Whether the newest bar may still change before the exchange opens again.

        Such a bar is stored as provisional and asked for once more after that.
        """
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

    def close(self) -> None:
        """Let go of connections, files and memory; nothing is asked for afterwards."""
        ...


class Quota(Protocol):
    """Counts the requests that a provider allows so many of in a day, whoever makes them."""

    def spend(self, provider: str, day: date, limit: int) -> bool:
        """Count one more request; False, and none counted, where `limit` were made that day."""
        ...


class ProviderSettings(BaseModel):
    """What is set of a provider, in the table `[providers.NAME]`: nothing, but for subclasses.

    A secret among it is a `SecretStr`: it is hidden wherever settings are shown or logged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a provider is made from."""

    argument: str
    """What follows the colon of its specification; empty for a kind that takes none."""
    settings: Any
    """Its table of the settings, an instance of its kind's model."""
    folder: Path
    """Its own, for caches; nobody has made it yet."""
    quota: Quota | None
    """Where its requests are counted; None: nowhere."""
    waiting: Callable[[], None] = lambda: None
    """To be called at least every few minutes of a wait on purpose: else the daemon looks stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderKind:
    """What a package offers: how a provider is made, and what can be set of it.

    An entry point of the group `stockbatch.providers` names one, and gives it its name.
    """

    make: Callable[[Setup], BarProvider]
    """Makes a provider that reads and asks nothing before it is used."""
    settings: type[ProviderSettings] = ProviderSettings
    argument: str = ""
    """What a specification must have after a colon, in capitals: PATH for csv:PATH."""
    about: str = ""
    """What it gives, in a line."""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What may follow a # behind the argument, and its values; none where it may be any text."""


def identity(specification: str) -> str:
    """Return which source a specification names: options behind a # only say how it is read."""
    source, _, options = specification.rpartition("#")
    return source if source and "=" in options else specification


def wanted(sessions: Sessions, request: BarRequest) -> NDArray[np.bool_]:
    """Tell which sessions a request asks for, shape (sessions,)."""
    asked = sessions <= np.datetime64(request.last, "D")
    if request.first is not None:
        asked &= sessions >= np.datetime64(request.first, "D")
    return asked


def no_data(provider: str, request: BarRequest) -> NoData:
    """Return the error for a request that nothing is there for."""
    first = request.first or "the beginning"
    return NoData(provider=provider, ticker=request.symbol, first=first, last=request.last)


def unknown_ticker(provider: str, ticker: str, known: Iterable[str]) -> UnknownTicker:
    """Return the error for a ticker that is not among `known`, with the closest that is."""
    known = list(known)
    close = get_close_matches(ticker.upper(), known, 3)
    hint = f": did you mean {' or '.join(close)}?" if close else ""
    if not close and len(known) == 1:
        hint = f": it has {known[0]} only"
    return UnknownTicker(provider=provider, ticker=ticker, hint=hint)


def answers(
    requests: Iterable[BarRequest], fetch: Callable[[BarRequest], FetchedBars]
) -> Iterator[FetchedBars | ProviderError]:
    """Yield what `fetch` returns for every request, or the ProviderError it raises."""
    for request in requests:
        try:
            yield fetch(request)
        except ProviderError as error:
            # The caller knows its answers by their symbol, which a deeper error may not have.
            yield type(error)(**{**error.values, "ticker": request.symbol})
