"""Report dates from Alpha Vantage: those to come in one request for all, the past one by one.

Both spend the quota of the bars, and only what is left of it beyond what bars need on the day.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import StringIO
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from stockbatch.events.base import (
    Answer,
    EventRequest,
    EventSource,
    SourceKind,
    SourceSetup,
    after_one,
    american_symbol,
    is_plausible,
    now,
    symbol_at,
)
from stockbatch.exceptions import BadAnswer, ProviderUnavailable
from stockbatch.providers import registry
from stockbatch.providers.alpha_vantage.client import NAME, URL, Client
from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.providers.base import Quota
from stockbatch.records import Event, Instrument, Timing
from stockbatch.text import counted

ATTEMPTS = 2
"""Few: each is counted."""
HORIZON = "12month"
"""How far ahead dates are asked for, the most there is: one request, however many they are."""
TIMINGS = {"pre-market": Timing.BEFORE_OPEN, "post-market": Timing.AFTER_CLOSE}
EVENTS = f"{NAME}:events"
"""The name under which requests for events are counted a second time."""


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A quota of which so many requests of a day are kept for bars, whoever comes first."""

    quota: Quota
    reserved: Callable[[date], int]

    def spend(self, provider: str, day: date, limit: int) -> bool:
        """Count one more request; False where bars may need what is left."""
        # The own count goes first: where it refuses, the common one has lost nothing.
        own = max(0, limit - self.reserved(day))
        return self.quota.spend(EVENTS, day, own) and self.quota.spend(provider, day, limit)


class AlphaVantageEvents:
    """Alpha Vantage's report dates; `retry_wait` and `timeout` are in seconds."""

    def __init__(
        self,
        setup: SourceSetup,
        settings: AlphaVantageSettings,
        *,
        url: str = URL,
        retry_wait: float = 2.0,
        timeout: float = 30.0,
        clock: Callable[[], datetime] = now,
    ) -> None:
        quota = setup.quota and LeftOver(setup.quota, setup.reserved)
        self._client = Client(
            settings, quota, url=url, timeout=timeout, waiting=setup.waiting, clock=clock
        )
        self._settings = settings
        self._retry_wait = retry_wait
        self._clock = clock

    def state(self) -> str:
        """Say what the key allows; raises NoKey."""
        self._client.key()
        most = self._settings.requests_per_day
        allowed = counted(most, "request") if most else "any requests"
        return f"has a key: of {allowed} a day, the rest"

    def events(self, requests: Sequence[EventRequest]) -> Iterator[Answer]:
        """Yield one answer per request; without the calendar of all, nothing else is asked."""
        return after_one(requests, self._calendar, _coming, self._past)

    def close(self) -> None:
        """Do nothing: each request has had a connection of its own."""

    def _calendar(self) -> Mapping[str, Sequence[Event]]:
        """Return what is to come of every symbol there is, by symbol."""
        everything = "all symbols"
        text = self._retrying()(
            self._client.table, everything, function="EARNINGS_CALENDAR", horizon=HORIZON
        )
        rows = csv.DictReader(StringIO(text), restval="")
        if not {"symbol", "reportDate"} <= set(rows.fieldnames or ()):
            reason = "it has no columns symbol and reportDate"
            raise BadAnswer(provider=NAME, ticker=everything, reason=reason)
        coming = defaultdict(list)
        try:
            for row in rows:
                event = self._event(row["symbol"], row["reportDate"], row.get("timeOfTheDay"))
                if event is not None:
                    coming[event.symbol.upper()].append(event)
        except csv.Error as error:
            raise BadAnswer(provider=NAME, ticker=everything, reason=str(error)) from None
        return coming

    def _past(self, request: EventRequest) -> list[Event]:
        """Return the reports of one symbol that there were."""
        answer = self._retrying()(
            self._client.ask, request.symbol, function="EARNINGS", symbol=request.symbol
        )
        quarters = answer.get("quarterlyEarnings")
        # A symbol it does not know is answered with an empty object.
        if not answer:
            return []
        if not isinstance(quarters, list):
            reason = "it lists no quarterly earnings"
            raise BadAnswer(provider=NAME, ticker=request.symbol, reason=reason)
        told = [
            self._event(request.symbol, quarter.get("reportedDate"), quarter.get("reportTime"))
            for quarter in quarters
            if isinstance(quarter, dict)
        ]
        return [event for event in told if event is not None]

    def _event(self, symbol: str, day: Any, timing: Any) -> Event | None:
        """Return a report; None where there is no date, or none that can be meant."""
        try:
            when = date.fromisoformat(str(day).strip())
        except ValueError:
            return None
        if not is_plausible(when, self._clock().date()):
            return None
        known = TIMINGS.get(str(timing).strip().lower(), Timing.UNKNOWN)
        return Event(symbol=symbol, date=when, timing=known)

    def _retrying(self) -> Retrying:
        def passes(error: BaseException) -> bool:
            # Of an answer that came whole, the next would be the same.
            return isinstance(error, ProviderUnavailable) and not isinstance(error, BadAnswer)

        stop, wait = stop_after_attempt(ATTEMPTS), wait_fixed(self._retry_wait)
        return Retrying(retry=retry_if_exception(passes), stop=stop, wait=wait, reraise=True)


def _coming(request: EventRequest, everything: Mapping[str, Sequence[Event]]) -> Sequence[Event]:
    return everything.get(request.symbol.upper(), ())


def _make(setup: SourceSetup) -> EventSource:
    table = registry.table(NAME, setup.settings)
    assert isinstance(table, AlphaVantageSettings)
    return AlphaVantageEvents(setup, table)


def _symbol(instrument: Instrument) -> str | None:
    return symbol_at(NAME, instrument) or american_symbol(instrument)


KIND = SourceKind(
    make=_make,
    symbol=_symbol,
    ahead=True,
    provider=NAME,
    about="what is to come of all in one request, what was one by one; with a key",
)
