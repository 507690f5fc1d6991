"""Bars from Alpha Vantage: few requests a day, each counted; for short watchlists and second looks.

Its terms bind whoever asks. Free keys get the last 100 sessions, prices as traded, no actions.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import numpy as np
from curl_cffi import requests as http
from pydantic import SecretStr
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_fixed,
    wait_random,
)

from stockbatch.exceptions import (
    BadAnswer,
    CannotList,
    KeyRefused,
    NoCalendar,
    NoData,
    NoKey,
    PremiumOnly,
    ProviderError,
    ProviderUnavailable,
    QuotaSpent,
    RateLimited,
    UnknownTicker,
)
from stockbatch.providers.base import Quota, unknown_ticker
from stockbatch.providers.csv.cells import as_number, as_session, simple_ratios
from stockbatch.providers.pacing import TokenBucket
from stockbatch.records import (
    ActionKind,
    BarRequest,
    Bars,
    CorporateAction,
    FetchedBars,
    Floats,
    Listing,
    PriceBasis,
)

URL = "https://www.alphavantage.co/query"
ZONE = ZoneInfo("America/New_York")
"""Days of the quota are counted by this clock: when exactly it resets is nowhere said."""
ATTEMPTS = 2
"""Few: each is counted."""
COMPACT_DAYS = 130
"""The short answer has 100 sessions, which are at least so many days."""

CALENDARS = {
    "LON": "XLON",
    "TRT": "XTSE",
    "TRV": "XTSE",
    "DEX": "XETR",
    "FRK": "XFRA",
    "AMS": "XAMS",
    "PAR": "XPAR",
    "BSE": "XBOM",
    "SHH": "XSHG",
    "SHZ": "XSHG",
    "SAO": "BVMF",
}
"""The calendar of an exchange, after what follows the dot of Alpha Vantage's symbols."""
KINDS = {"Equity": "equity", "ETF": "etf", "Mutual Fund": "fund"}
UNITS = {"GBX": "GBp", "ZAC": "ZAc"}
"""Sub-units, spelled as on all other bars."""

_NUMBERS = ("open", "high", "low", "close", "volume")
_FASTER = ("burst", "per second", "per minute", "sparingly")
_DAILY = ("per day", "daily rate limit", "daily limit", "daily quota")
_KEY = ("apikey", "api key is", "demo purposes")


def _now() -> datetime:
    return datetime.now(UTC)


class AlphaVantage:
    """Alpha Vantage's bars; `quota` counts the requests, of which a day has `requests_per_day`.

    0 requests a day means no limit. `retry_wait` and `timeout` are in seconds.
    """

    name = "alpha_vantage"
    specification = "alpha_vantage"
    price_basis = PriceBasis.AS_TRADED

    def __init__(
        self,
        key: SecretStr | None,
        key_file: Path | None,
        *,
        quota: Quota | None,
        requests_per_day: int,
        bucket: TokenBucket,
        premium: bool = False,
        form: str = "json",
        url: str = URL,
        retry_wait: float = 2.0,
        timeout: float = 30.0,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._key = key
        self._key_file = key_file
        self._quota = quota
        self._requests_per_day = requests_per_day
        self._bucket = bucket
        self._premium = premium
        self._form = form
        self._url = url
        self._retry_wait = retry_wait
        self._timeout = timeout
        self._clock = clock

    def state(self) -> str:
        """Say what the key allows; raises NoKey."""
        self._secret()
        kind = "premium" if self._premium else "free"
        return (
            f"has a key, taken for a {kind} one: {self._requests_per_day or 'any'} requests a day"
        )

    def listings(self) -> list[Listing]:
        """Raise CannotList: there is a list, but of what is traded in the United States only."""
        raise CannotList(provider=self.name)

    def listing(self, ticker: str) -> Listing:
        """Search for a symbol; raises UnknownTicker, NoCalendar and what a fetch meets."""
        ask = self._retrying()
        found = self._object(ask(self._ask, ticker, function="SYMBOL_SEARCH"), ticker)
        matches = found.get("bestMatches")
        if not isinstance(matches, list):
            raise BadAnswer(provider=self.name, ticker=ticker, reason="it lists no matches")
        plain = [_plain(match) for match in matches if isinstance(match, dict)]
        known = {str(match.get("symbol")): match for match in plain}
        if ticker not in known:
            raise unknown_ticker(self.name, ticker, known)
        about = known[ticker]
        currency = about.get("currency")
        return Listing(
            ticker=ticker,
            symbol=ticker,
            name=about.get("name"),
            calendar=_calendar(ticker, about),
            currency=UNITS.get(str(currency), currency),
            asset_class=KINDS.get(str(about.get("type")), "other"),
        )

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request; once the key or the quota is refused, none is made."""
        refused: ProviderError | None = None
        for request in requests:
            if refused is None:
                try:
                    yield self._retrying()(self._bars, request)
                    continue
                except ProviderError as error:
                    if not isinstance(error, QuotaSpent | KeyRefused):
                        yield error
                        continue
                    refused = error
            yield type(refused)(**{**refused.values, "ticker": request.symbol})

    def _retrying(self) -> Retrying:
        def passes(error: BaseException) -> bool:
            spent = isinstance(error, QuotaSpent)
            return isinstance(error, ProviderUnavailable | RateLimited) and not spent

        wait = wait_fixed(self._retry_wait) + wait_random(0, self._retry_wait)
        stop = stop_after_attempt(ATTEMPTS)
        return Retrying(retry=retry_if_exception(passes), stop=stop, wait=wait, reraise=True)

    def _bars(self, request: BarRequest) -> FetchedBars:
        today = self._clock().astimezone(ZONE).date()
        recent = request.first and request.first > today - timedelta(days=COMPACT_DAYS)
        text = self._ask(
            request.symbol,
            function="TIME_SERIES_DAILY_ADJUSTED" if self._premium else "TIME_SERIES_DAILY",
            outputsize="full" if self._premium and not recent else "compact",
            datatype=self._form,
        )
        fetched = self._read(text, request)
        if not len(fetched.bars) and not fetched.actions:
            first = request.first or "the beginning"
            raise NoData(provider=self.name, ticker=request.symbol, first=first, last=request.last)
        return fetched

    def _ask(self, symbol: str, **query: str) -> str:
        """Return the text of an answer; raises QuotaSpent before a request that is not allowed."""
        key = self._secret()
        about = {"provider": self.name, "ticker": symbol}
        today = self._clock().astimezone(ZONE).date()
        limit = self._requests_per_day
        if self._quota and limit and not self._quota.spend(self.name, today, limit):
            raise self._spent(symbol)
        self._bucket.take()
        asked = {"keywords" if "SEARCH" in query["function"] else "symbol": symbol}
        try:
            answer = http.get(
                self._url,
                params={**query, **asked, "apikey": key},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except OSError as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            reason = reason.replace(key, "***").replace(quote(key), "***")
            raise ProviderUnavailable(**about, reason=reason) from None
        if answer.status_code == 429:
            raise RateLimited(**about)
        if answer.status_code != 200:
            raise ProviderUnavailable(**about, reason=f"HTTP status {answer.status_code}")
        return answer.content.decode("utf-8", "replace")

    def _secret(self) -> str:
        """Return the key; raises NoKey."""
        reason = ""
        if self._key is not None:
            return self._key.get_secret_value().strip()
        if self._key_file is not None:
            try:
                if key := self._key_file.read_text(encoding="utf-8").strip():
                    return key
                reason = f", and {self._key_file} is empty"
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "no text"
                reason = f", and {self._key_file} cannot be read ({why})"
        raise NoKey(provider=self.name, ticker="", reason=reason)

    def _read(self, text: str, request: BarRequest) -> FetchedBars:
        """Read JSON or CSV, newest first or not; raises what it refuses with."""
        if text.lstrip()[:1] in ("{", "["):
            rows = self._series(self._object(text, request.symbol), request.symbol)
        else:
            rows = self._table(text, request.symbol)
        return _fetched(request, rows)

    def _object(self, text: str, symbol: str) -> Mapping[str, Any]:
        """Return a JSON answer that is no refusal; all of them have the HTTP status 200."""
        about = {"provider": self.name, "ticker": symbol}
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            page = text.lstrip()[:1] == "<"
            reason = "it is an HTML page" if page else "its JSON is broken"
            raise BadAnswer(**about, reason=reason) from None
        if not isinstance(answer, dict):
            raise BadAnswer(**about, reason="it is no JSON object")
        for name in ("Information", "Note", "Error Message"):
            if name in answer:
                raise self._refusal(str(answer[name]), symbol)
        return answer

    def _refusal(self, words: str, symbol: str) -> ProviderError:
        """Return the error a refusal stands for; those of quotas mention premium and keys, too."""
        about = {"provider": self.name, "ticker": symbol}
        said = words.lower()
        if any(word in said for word in _FASTER):
            return RateLimited(**about)
        if any(word in said for word in _DAILY):
            return self._spent(symbol)
        shown = words.replace(self._secret(), "***")[:200]
        if any(word in said for word in _KEY):
            return KeyRefused(**about, reason=shown)
        if "premium" in said:
            return PremiumOnly(**about, reason=shown)
        if "invalid api call" in said:
            return UnknownTicker(**about, hint="")
        return BadAnswer(**about, reason=shown)

    def _spent(self, symbol: str) -> QuotaSpent:
        tomorrow = self._clock().astimezone(ZONE).date() + timedelta(days=1)
        midnight = datetime.combine(tomorrow, time(), ZONE).astimezone(UTC)
        return QuotaSpent(
            provider=self.name,
            ticker=symbol,
            limit=self._requests_per_day or "allowed",
            resets_at=f"{midnight:%Y-%m-%d %H:%M} UTC (midnight in New York)",
        )

    def _series(self, answer: Mapping[str, Any], symbol: str) -> list[dict[str, Any]]:
        """Return a row per session of JSON; raises BadAnswer if it is of another symbol."""
        about = {"provider": self.name, "ticker": symbol}
        series = answer.get("Time Series (Daily)")
        meta = answer.get("Meta Data")
        if not isinstance(series, dict) or not isinstance(meta, dict):
            raise BadAnswer(**about, reason="there is no daily series in it")
        answered = _plain(meta).get("symbol")
        if str(answered).upper() != symbol.upper():
            raise BadAnswer(**about, reason=f"it is about {answered}")
        return [
            {"timestamp": day} | _plain(cells)
            for day, cells in series.items()
            if isinstance(cells, dict)
        ]

    def _table(self, text: str, symbol: str) -> list[dict[str, Any]]:
        """Return a row per session from a CSV answer; raises BadAnswer if it is cut short."""
        about = {"provider": self.name, "ticker": symbol}
        try:
            rows = list(csv.DictReader(text.splitlines(), strict=True))
        except csv.Error as error:
            raise BadAnswer(**about, reason=error) from None
        if not rows or not {"timestamp", *_NUMBERS} <= set(rows[0]):
            page = text.lstrip()[:1] == "<"
            reason = "it is an HTML page" if page else "there is no daily series in it"
            raise BadAnswer(**about, reason=reason)
        if not text.endswith("\n") or any(None in row or None in row.values() for row in rows):
            raise BadAnswer(**about, reason="its CSV is cut short or has rows of odd length")
        return [{name.replace("_", " "): cell for name, cell in row.items()} for row in rows]


def _plain(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Take the numbers off names like `1. open`."""
    return {re.sub(r"^\d+\w?\. ", "", name).lower(): cell for name, cell in cells.items()}


def _calendar(symbol: str, about: Mapping[str, Any]) -> str:
    if about.get("region") == "United States":
        return "XNYS"
    calendar = CALENDARS.get(symbol.rpartition(".")[2])
    if calendar is None:
        raise NoCalendar(ticker=symbol, exchange=about.get("region"))
    return calendar


def _fetched(request: BarRequest, rows: Iterable[Mapping[str, Any]]) -> FetchedBars:
    """Return the bars and actions asked for, oldest first; what states no number is NaN.

    A row without a date keeps its place at the end, for the checks to find.
    """
    dated = [(_session(row["timestamp"]), row) for row in rows]
    dated = [(day, row) for day, row in dated if day is None or _wanted(day, request)]
    dated.sort(key=lambda pair: pair[0] or date.max)
    bars = Bars(
        sessions=np.array([day or "NaT" for day, _ in dated], "datetime64[D]"),
        **{name: np.array([_number(row, name) for _, row in dated]) for name in _NUMBERS},
    )
    ratios = simple_ratios(np.array([_number(row, "split coefficient") for _, row in dated]))
    dividends = np.array([_number(row, "dividend amount") for _, row in dated])
    days = [day for day, _ in dated]
    return FetchedBars(
        symbol=request.symbol,
        bars=bars,
        actions=(
            *_actions(days, ActionKind.SPLIT, ratios, 1.0),
            *_actions(days, ActionKind.DIVIDEND, dividends),
        ),
    )


def _actions(
    days: Iterable[date | None], kind: ActionKind, values: Floats, nothing: float = 0.0
) -> Iterator[CorporateAction]:
    for day, value in zip(days, values.tolist(), strict=True):
        if day is not None and value not in (0.0, nothing) and not np.isnan(value):
            yield CorporateAction(session=day, kind=kind, value=value)


def _wanted(day: date, request: BarRequest) -> bool:
    return (request.first is None or day >= request.first) and day <= request.last


def _session(text: object) -> date | None:
    try:
        return as_session(str(text))
    except ValueError:
        return None


def _number(row: Mapping[str, Any], name: str) -> float:
    """Return a cell as a number; NaN where there is none, or something that is none."""
    try:
        return as_number(str(row.get(name, "")))
    except ValueError:
        return float("nan")
