"""What a source of event dates is, what its package says of it, and what most sources need."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from stockbatch.config import Settings
from stockbatch.exceptions import KeyRefused, ProviderError, ProviderUnavailable, RateLimited
from stockbatch.market.sessions import DEFAULT_CALENDAR, FIRST_DAY
from stockbatch.providers.base import Quota
from stockbatch.providers.yahoo.exchanges import of_american_class
from stockbatch.records import Event, Instrument

IN_A_ROW = 5
"""Symbols without an answer after which nobody is expected to answer for the others."""
FARTHEST = timedelta(days=2 * 366)
"""Nobody states a date farther ahead than this: what is, is misread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """Event dates wanted of one symbol: those to come, and with `history` all that were."""

    symbol: str
    """As the source calls it."""
    calendar: str
    """Whose hours tell what an instant is: before the open, during, after the close."""
    history: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedEvents:
    """What a source stated for one request, each date once, oldest first."""

    symbol: str
    events: tuple[Event, ...]
    problem: ProviderError | None = None
    """Why the history asked for is not among them; those to come are."""


Answer = FetchedEvents | ProviderError


class EventSource(Protocol):
    """A source of event dates."""

    def state(self) -> str:
        """Say what there is to use, asking nobody; raises a StockbatchError saying what lacks."""
        ...

    def events(self, requests: Sequence[EventRequest]) -> Iterator[Answer]:
        """Yield one answer per request, in any order; errors carry the symbol as `ticker`."""
        ...

    def close(self) -> None:
        """Let go of connections; nothing is asked for afterwards."""
        ...


def now() -> datetime:
    """Return the time, where a source is given no clock."""
    return datetime.now(UTC)


def _nothing() -> None:
    pass


def _none(_day: date) -> int:
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSetup:
    """What a source is made from."""

    settings: Settings
    quota: Quota | None = None
    """Where its requests are counted; None: nowhere."""
    reserved: Callable[[date], int] = field(default=_none)
    """How many of a day's requests are kept for bars of a provider with the same quota."""
    waiting: Callable[[], None] = field(default=_nothing)
    """To be called at least every few minutes of a wait on purpose: else the daemon looks stuck."""

    def folder(self, name: str) -> Path:
        """Return a folder for caches; nobody may have made it yet."""
        return self.settings.home / name


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """What a package offers: how a source is made, and what it can be asked.

    An entry point of the group `stockbatch.events` names one, and gives it its name.
    """

    make: Callable[[SourceSetup], EventSource]
    """Makes a source that reads and asks nothing before it is used."""
    symbol: Callable[[Instrument], str | None]
    """Returns what it calls a ticker; None where it is not to be asked about it."""
    ahead: bool
    """Whether it states dates before they come; where not, it feeds history and habit only."""
    provider: str = ""
    """The provider of bars with which it shares a quota."""
    about: str = ""
    """What it gives, in a line."""


def symbol_at(provider: str, instrument: Instrument) -> str | None:
    """Return what a provider that feeds a ticker, or is its fallback, calls it; else None."""
    if instrument.demo or instrument.asset_class != "equity":
        return None
    if instrument.provider == provider:
        return instrument.symbol
    symbols = [source.symbol for source in instrument.fallbacks if source.provider == provider]
    return symbols[0] if symbols else None


def american_symbol(instrument: Instrument) -> str | None:
    """Return an American share as lists of the SEC write it, BRK-B; None for all others."""
    if instrument.demo or instrument.asset_class != "equity":
        return None
    if instrument.calendar != DEFAULT_CALENDAR:
        return None
    ticker = instrument.ticker.upper()
    return of_american_class(ticker, sure=True) or ticker


def is_plausible(day: date, today: date) -> bool:
    """Tell a date that can be meant from what is left of a misread one."""
    return FIRST_DAY <= day <= today + FARTHEST


def each_once(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return events oldest first; of several on a date, the first stated."""
    by_date: dict[date, Event] = {}
    for event in events:
        by_date.setdefault(event.date, event)
    return tuple(by_date[day] for day in sorted(by_date))


def about(error: ProviderError, symbol: str) -> ProviderError:
    """Return an error as one about a symbol: the caller knows its answers by that."""
    return type(error)(**{**error.values, "ticker": symbol})


class Named(Protocol):
    """A question about one symbol."""

    @property
    def symbol(self) -> str:
        """As the source calls it."""
        ...


Question = Callable[[EventRequest], Sequence[Event]]
Found = TypeVar("Found")
Request = TypeVar("Request", bound=Named)


class Patience:
    """Asks about one symbol after the other, until that has become pointless.

    It has after a refusal that holds for all, and after IN_A_ROW symbols that nobody answered for:
    what else would be waited for has more patience than those who wait for the forecasts.
    """

    def __init__(self) -> None:
        self._refusal: ProviderError | None = None
        self._unanswered = 0

    def ask(self, question: Callable[[Request], Found], request: Request) -> Found:
        """Return the answer; raises a ProviderError about the symbol."""
        if self._refusal is not None:
            raise about(self._refusal, request.symbol)
        try:
            answer = question(request)
        except ProviderError as error:
            self._unanswered += isinstance(error, ProviderUnavailable)
            if isinstance(error, RateLimited | KeyRefused) or self._unanswered >= IN_A_ROW:
                self._refusal = error
            raise about(error, request.symbol) from None
        self._unanswered = 0
        return answer


def in_turn(
    requests: Sequence[EventRequest], question: Question, history: Question | None = None
) -> Iterator[Answer]:
    """Yield the answers to `question`, with those to `history` where that is wanted.

    A history that cannot be had is told beside what is known without it.
    """
    # Each with its own: where the quota ends the histories, what is to come may be known already.
    patience, patience_with_history = Patience(), Patience()
    for request in requests:
        try:
            events = list(patience.ask(question, request))
        except ProviderError as error:
            yield error
            continue
        problem = None
        if history is not None and request.history:
            try:
                events += patience_with_history.ask(history, request)
            except ProviderError as error:
                problem = error
        yield FetchedEvents(symbol=request.symbol, events=each_once(events), problem=problem)


def after_one(
    requests: Sequence[EventRequest],
    first: Callable[[], Found],
    question: Callable[[EventRequest, Found], Sequence[Event]],
    history: Question | None = None,
) -> Iterator[Answer]:
    """Yield what `in_turn` does, where one answer to `first` is what every question builds on.

    Without that, nothing else is asked, and all are answered with its error.
    """
    if not requests:
        return
    try:
        found = first()
    except ProviderError as error:
        yield from (about(error, request.symbol) for request in requests)
        return
    yield from in_turn(requests, lambda request: question(request, found), history)
