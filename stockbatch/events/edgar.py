"""Dates of past reports from the SEC: 8-K filings of results, with the instant of acceptance.

Never ahead: a filing is there once the report is. It feeds history and habit.

An acceptance is written with a Z, and is UTC for most companies, but the clock of New York for
about a fifth of them (measured by others against the headers of 64,936 filings, which write New
York's: finagg's issue 64 on GitHub). Which it is shows in a company's filings: EDGAR takes none at
night, and what comes after half past five is dated the next day.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from curl_cffi import requests as http

from stockbatch.config import PREFIX
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
)
from stockbatch.events.timing import placed
from stockbatch.exceptions import (
    BadAnswer,
    NoContact,
    ProviderUnavailable,
    RateLimited,
    UnknownTicker,
)
from stockbatch.providers.pacing import TokenBucket
from stockbatch.records import Event, Timing

NAME = "edgar"
TICKERS = "https://www.sec.gov/files/company_tickers.json"
SUBMISSIONS = "https://data.sec.gov/submissions"
CONTACT = f"{PREFIX}EDGAR_CONTACT"
RATE = 8.0
"""Requests a second; the SEC blocks whoever asks more often than 10 times."""
FORM, ITEM = "8-K", "2.02"
"""Results of operations. An amendment, 8-K/A, is no news."""

NEW_YORK = ZoneInfo("America/New_York")
OPENS, CLOSES = time(6), time(22)
"""The hours of EDGAR, in New York."""
SAME_DAY = time(17, 30)
"""What is accepted later has the date of the next business day."""
DATED_SO = ("8-K", "10-Q", "10-K")
"""Forms of which that is true; of insiders' trades, say, it is not."""


@dataclass(frozen=True, slots=True)
class Filing:
    """One row of a company's filings; `accepted` is what is written, without the zone."""

    form: str
    items: tuple[str, ...]
    filed: date
    accepted: datetime


class Edgar:
    """The SEC's filings of results; `timeout` is in seconds, `urls` of tickers and submissions."""

    def __init__(
        self,
        setup: SourceSetup,
        *,
        urls: tuple[str, str] = (TICKERS, SUBMISSIONS),
        timeout: float = 30.0,
        rate: float = RATE,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._contact = setup.settings.edgar_contact.strip()
        self._session: Any = http.Session()
        self._bucket = TokenBucket(rate, waiting=setup.waiting)
        self._tickers, self._submissions = urls
        self._timeout = timeout
        self._clock = clock

    def state(self) -> str:
        """Say who asks; raises NoContact."""
        self._require_contact()
        return f"asked in the name of {self._contact}; it is never ahead"

    def events(self, requests: Sequence[EventRequest]) -> Iterator[Answer]:
        """Yield one answer per request; with history, of all years, else of the last filings."""
        return after_one(requests, self._numbers, self._reports)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _require_contact(self) -> None:
        if not self._contact:
            raise NoContact(provider=NAME, ticker="", variable=CONTACT)

    def _numbers(self) -> Mapping[str, int]:
        """Return the number (CIK) of each company, by ticker."""
        self._require_contact()
        answer = self._json(self._tickers, "the list of companies")
        companies = [each for each in answer.values() if isinstance(each, dict)]
        numbers = {str(each.get("ticker")).upper(): each.get("cik_str") for each in companies}
        found = {t: n for t, n in numbers.items() if isinstance(n, int) and 0 < n < 10**10}
        if not found:
            reason = "there are no companies in it"
            raise BadAnswer(provider=NAME, ticker="the list of companies", reason=reason)
        return found

    def _reports(self, request: EventRequest, numbers: Mapping[str, int]) -> list[Event]:
        number = numbers.get(request.symbol.upper())
        if number is None:
            hint = ": the SEC lists no company under it"
            raise UnknownTicker(provider=NAME, ticker=request.symbol, hint=hint)
        answer = self._json(f"{self._submissions}/CIK{number:010d}.json", request.symbol)
        filings = answer.get("filings")
        if not isinstance(filings, dict):
            raise self._unreadable(request.symbol)
        found = _filings(filings.get("recent"))
        if found is None:
            raise self._unreadable(request.symbol)
        for page in self._pages(filings, request):
            older = _filings(self._json(f"{self._submissions}/{page}", request.symbol))
            if older is None:
                raise self._unreadable(request.symbol)
            found += older
        return self._events(request, found)

    def _pages(self, filings: Mapping[str, Any], request: EventRequest) -> list[str]:
        """Return the names of the pages with older filings."""
        files = filings.get("files")
        if not request.history or not isinstance(files, list):
            return []
        names = [str(each.get("name")) for each in files if isinstance(each, dict)]
        return [name for name in names if name.startswith("CIK") and "/" not in name]

    def _events(self, request: EventRequest, filings: Sequence[Filing]) -> list[Event]:
        zone = clock_of(filings)
        today = self._clock().date()
        events = []
        for filing in filings:
            if filing.form != FORM or ITEM not in filing.items:
                continue
            if not is_plausible(filing.accepted.date(), today):
                continue
            # Of two clocks, New York's is the later one: nothing is known before it was.
            known_at = filing.accepted.replace(tzinfo=zone or NEW_YORK).astimezone(UTC)
            day, timing = placed(known_at, request.calendar, today)
            if zone is None:
                day, timing = filing.accepted.date(), Timing.UNKNOWN
            events.append(Event(symbol=request.symbol, date=day, timing=timing, known_at=known_at))
        return sorted(events, key=lambda event: event.known_at or self._clock())

    def _json(self, url: str, what: str) -> Mapping[str, Any]:
        """Return a JSON object; raises a ProviderError for whatever is none."""
        self._bucket.take()
        told = {"provider": NAME, "ticker": what}
        try:
            answer = self._session.get(
                url,
                headers={"User-Agent": f"stockbatch {self._contact}"},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except OSError as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            raise ProviderUnavailable(**told, reason=reason) from None
        text = answer.content.decode("utf-8", "replace")
        if answer.status_code == 429 or "Request Rate Threshold Exceeded" in text[:5000]:
            raise RateLimited(**told)
        if answer.status_code == 404:
            raise UnknownTicker(**told, hint=": it has no filings")
        if answer.status_code != 200:
            hint = ", perhaps for want of a true edgar_contact" if answer.status_code == 403 else ""
            reason = f"HTTP status {answer.status_code}{hint}"
            raise ProviderUnavailable(**told, reason=reason)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            reason = "it is an HTML page" if text.lstrip()[:1] == "<" else "its JSON is broken"
            raise BadAnswer(**told, reason=reason) from None
        if not isinstance(found, dict):
            raise BadAnswer(**told, reason="it is no JSON object")
        return found

    def _unreadable(self, symbol: str) -> BadAnswer:
        return BadAnswer(provider=NAME, ticker=symbol, reason="there are no filings in it")


def clock_of(filings: Sequence[Filing]) -> tzinfo | None:
    """Return the zone in which a company's acceptances are written; None where nothing tells.

    The one that makes fewer of them impossible: at night, or of an evening and dated the same day.
    """
    utc, local = (sum(_is_impossible(filing, zone) for filing in filings)
                  for zone in (UTC, NEW_YORK))  # fmt: skip
    if utc == local:
        return None
    return UTC if utc < local else NEW_YORK


def _is_impossible(filing: Filing, zone: tzinfo) -> bool:
    there = filing.accepted.replace(tzinfo=zone).astimezone(NEW_YORK)
    if not OPENS <= there.time() < CLOSES:
        return True
    late = there.time() > SAME_DAY
    return filing.form in DATED_SO and (filing.filed > there.date()) != late


def _filings(columns: Any) -> list[Filing] | None:
    """Return the rows of a table written by columns; None where it is none.

    A row whose form or date cannot be read is left out.
    """
    names = ("form", "items", "filingDate", "acceptanceDateTime")
    if not isinstance(columns, dict):
        return None
    cells = [columns.get(name) for name in names]
    if not all(isinstance(column, list) for column in cells):
        return None
    rows = []
    for form, items, filed, accepted in zip(*cells, strict=False):
        try:
            rows.append(
                Filing(
                    form=str(form),
                    items=tuple(item.strip() for item in str(items).split(",")),
                    filed=date.fromisoformat(filed),
                    accepted=datetime.fromisoformat(accepted).replace(tzinfo=None),
                )
            )
        except (TypeError, ValueError):
            continue
    # The first and the last year there are cannot be told in every zone.
    return [row for row in rows if MINYEAR < row.accepted.year < MAXYEAR]


def _make(setup: SourceSetup) -> EventSource:
    return Edgar(setup)


KIND = SourceKind(
    make=_make,
    symbol=american_symbol,
    ahead=False,
    about="reports there were, to the minute, of American companies; with a contact",
)
