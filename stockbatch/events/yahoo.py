"""Report dates from Yahoo Finance, through yfinance: the next one, and those that were.

Its next date comes from the summary of a company (`calendarEvents`), whose instants yfinance's own
`calendar` would cut to dates by the clock of this machine, a day off near midnight; the past ones
come from the page of its earnings calendar, which yfinance reads.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event as Stopped
from typing import Any

from stockbatch.events.base import (
    Answer,
    EventRequest,
    EventSource,
    SourceKind,
    SourceSetup,
    in_turn,
    is_plausible,
    now,
    symbol_at,
)
from stockbatch.events.timing import placed
from stockbatch.exceptions import ProviderError
from stockbatch.providers import registry
from stockbatch.providers.yahoo.exchanges import PROVIDER
from stockbatch.providers.yahoo.settings import YahooSettings
from stockbatch.records import Event

SUMMARY = "https://query2.finance.yahoo.com/v10/finance/quoteSummary"
MOST = 100
"""Past dates asked for: what Yahoo gives at most, 25 years."""
RECENT = timedelta(days=2)
"""How long after its day the next date of the summary is taken for news: it may stay there."""


class YahooEvents:
    """Yahoo's report dates; `session` is a PacedSession, `retry_wait` and `timeout` seconds."""

    def __init__(
        self,
        setup: SourceSetup,
        session: Any,
        *,
        retry_wait: float = 1.0,
        timeout: int = 10,
        clock: Callable[[], datetime] = now,
    ) -> None:
        from stockbatch.providers.yahoo import asking

        asking.prepare(setup.folder(PROVIDER))
        self._asking = asking
        self._session = session
        self._retry_wait = retry_wait
        self._timeout = timeout
        self._clock = clock

    def state(self) -> str:
        """Say that there is nothing to set."""
        return "asked about tickers that Yahoo feeds"

    def events(self, requests: Sequence[EventRequest]) -> Iterator[Answer]:
        """Yield one answer per request, two questions to Yahoo for each with history."""
        self._asking.forget()
        yield from in_turn(requests, self._next, self._past)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _next(self, request: EventRequest) -> list[Event]:
        """Return the next report; the first day of those it may be on, marked as projected."""
        from yfinance.data import YfData

        asked = {"modules": "calendarEvents", "formatted": "false", "symbol": request.symbol}
        url = f"{SUMMARY}/{request.symbol}"

        def summary() -> Any:
            data = YfData(session=self._session)
            return data.get_raw_json(url, params=asked, timeout=self._timeout)

        answer = self._asked(request.symbol, summary)
        try:
            earnings = answer["quoteSummary"]["result"][0]["calendarEvents"].get("earnings") or {}
            stamps = [datetime.fromtimestamp(s, UTC) for s in earnings.get("earningsDate") or []]
            guessed = bool(earnings.get("isEarningsDateEstimate")) or len(stamps) > 1
        except (
            AttributeError,
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            OverflowError,
            OSError,
        ):
            reason = "there are no calendar events in it"
            raise self._asking.unreadable(request.symbol, reason) from None
        since = self._clock() - RECENT
        told = [self._event(request, stamp, projected=guessed) for stamp in stamps if stamp > since]
        return [event for event in told if event is not None][:1]

    def _past(self, request: EventRequest) -> list[Event]:
        """Return the reports there were; the page's own dates to come are guesses of long ago."""
        import yfinance

        def page() -> Any:
            ticker = yfinance.Ticker(request.symbol, session=self._session)
            frame = ticker.get_earnings_dates(limit=MOST)
            if frame is None and self._session.last_status >= 400:  # it takes that for no dates
                raise OSError(f"HTTP status {self._session.last_status}")
            return frame

        frame = self._asked(request.symbol, page)
        stamps = [] if frame is None else [stamp.to_pydatetime() for stamp in frame.index]
        told = [self._event(request, stamp) for stamp in stamps if stamp <= self._clock()]
        return [event for event in told if event is not None]

    def _event(
        self, request: EventRequest, stamp: datetime, *, projected: bool = False
    ) -> Event | None:
        today = self._clock().date()
        if not is_plausible(stamp.date(), today):
            return None
        day, timing = placed(stamp, request.calendar, today)
        return Event(symbol=request.symbol, date=day, timing=timing, projected=projected)

    def _asked(self, symbol: str, question: Callable[[], Any]) -> Any:
        """Return what a question brings; raises a ProviderError for whatever goes wrong."""

        def ask() -> Any:
            try:
                return question()
            except ProviderError:
                raise
            except Exception as error:  # noqa: BLE001 (yfinance raises whatever the answer leads to)
                raise self._asking.told(symbol, error, known=True) from None

        return self._asking.retrying(Stopped(), self._retry_wait)(ask)


def _make(setup: SourceSetup) -> EventSource:
    # Here, because yfinance takes a second to import.
    from stockbatch.providers.pacing import TokenBucket
    from stockbatch.providers.yahoo.asking import PacedSession

    table = registry.table(PROVIDER, setup.settings)
    assert isinstance(table, YahooSettings)
    bucket = TokenBucket(table.requests_per_second, waiting=setup.waiting)
    return YahooEvents(setup, PacedSession(bucket))


KIND = SourceKind(
    make=_make,
    symbol=partial(symbol_at, PROVIDER),
    ahead=True,
    provider=PROVIDER,
    about="the next report and those that were, of tickers that Yahoo feeds",
)
