"""Questions to Alpha Vantage: with the key, at one pace, each counted; and what it refuses.

All answers have the HTTP status 200: that one is a refusal is told by its words alone.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from curl_cffi import requests as http

from stockbatch.config import PREFIX
from stockbatch.exceptions import (
    BadAnswer,
    KeyRefused,
    NoKey,
    PremiumOnly,
    ProviderError,
    ProviderUnavailable,
    QuotaSpent,
    RateLimited,
    UnknownTicker,
)
from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.providers.base import Quota
from stockbatch.providers.pacing import TokenBucket

NAME = "alpha_vantage"
URL = "https://www.alphavantage.co/query"
ZONE = ZoneInfo("America/New_York")
"""Days of the quota are counted by this clock: when exactly it resets is nowhere said."""
KEY = f"{PREFIX}PROVIDERS__ALPHA_VANTAGE__KEY"

_FASTER = ("burst", "per second", "per minute", "sparingly")
_DAILY = ("per day", "daily rate limit", "daily limit", "daily quota")
_KEY = ("apikey", "api key is", "demo purposes")


class Client:
    """Asks one question at a time; `quota` counts them, `timeout` is in seconds."""

    def __init__(
        self,
        settings: AlphaVantageSettings,
        quota: Quota | None,
        *,
        url: str,
        timeout: float,
        waiting: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._quota = quota
        self._bucket = TokenBucket(settings.requests_per_second, waiting=waiting)
        self._url = url
        self._timeout = timeout
        self._clock = clock

    def key(self) -> str:
        """Return the key, read anew each time from where it is; raises NoKey."""
        reason, file = "", self._settings.key_file
        if self._settings.key is not None:
            return self._settings.key.get_secret_value().strip()
        if file is not None:
            try:
                if key := file.read_text(encoding="utf-8").strip():
                    return key
                reason = f", and {file} is empty"
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "no text"
                reason = f", and {file} cannot be read ({why})"
        raise NoKey(provider=NAME, ticker="", reason=reason, variable=KEY)

    def today(self) -> date:
        """Return the day whose quota a request spends now."""
        return self._clock().astimezone(ZONE).date()

    def ask(self, symbol: str, /, **query: str) -> Mapping[str, Any]:
        """Return an answer about a symbol.

        Raises QuotaSpent before a request that is not allowed, and after one a ProviderError for
        whatever is no answer.
        """
        return self.read(self._asked(symbol, query), symbol)

    def table(self, symbol: str, /, **query: str) -> str:
        """Return an answer that is a CSV table; raises what `ask` raises."""
        text = self._asked(symbol, query)
        if text.lstrip()[:1] in ("{", "[", "<", ""):
            # Refusals are JSON whatever was asked for; all else that is no table cannot be read.
            self.read(text, symbol)
            raise BadAnswer(provider=NAME, ticker=symbol, reason="it is no table")
        return text

    def _asked(self, symbol: str, query: Mapping[str, str]) -> str:
        """Return the text of an answer; the request is counted first."""
        key, limit = self.key(), self._settings.requests_per_day
        if self._quota and limit and not self._quota.spend(NAME, self.today(), limit):
            raise self._spent(symbol)
        self._bucket.take()
        return self._text(symbol, {**query, "apikey": key}, key)

    def _text(self, symbol: str, query: Mapping[str, str], key: str) -> str:
        about = {"provider": NAME, "ticker": symbol}
        try:
            answer = http.get(
                self._url, params=dict(query), timeout=self._timeout, allow_redirects=False
            )
        except OSError as error:
            # The URL that curl complains about has the key in it, plain or quoted.
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            reason = reason.replace(key, "***").replace(quote(key), "***")
            raise ProviderUnavailable(**about, reason=reason) from None
        if answer.status_code == 429:
            raise RateLimited(**about)
        if answer.status_code != 200:
            raise ProviderUnavailable(**about, reason=f"HTTP status {answer.status_code}")
        return answer.content.decode("utf-8", "replace")

    def read(self, text: str, symbol: str) -> Mapping[str, Any]:
        """Return the JSON object in the text of an answer; raises the refusal it is instead."""
        about = {"provider": NAME, "ticker": symbol}
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):  # brackets nested too deep are broken, too
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
        """Return the error a refusal stands for.

        The order matters: those of the pace mention the day's limit as well, those of the day the
        key, and nearly all advertise premium keys.
        """
        about = {"provider": NAME, "ticker": symbol}
        said = words.lower()
        if any(word in said for word in _FASTER):
            return RateLimited(**about)
        if any(word in said for word in _DAILY):
            return self._spent(symbol)
        shown = words.replace(self.key(), "***")[:200]
        if any(word in said for word in _KEY):
            return KeyRefused(**about, reason=shown)
        if "premium" in said:
            return PremiumOnly(**about, reason=shown)
        if "invalid api call" in said:
            return UnknownTicker(**about, hint="")
        return BadAnswer(**about, reason=shown)

    def _spent(self, symbol: str) -> QuotaSpent:
        midnight = datetime.combine(self.today() + timedelta(days=1), time(), ZONE).astimezone(UTC)
        return QuotaSpent(
            provider=NAME,
            ticker=symbol,
            limit=self._settings.requests_per_day or "allowed",
            resets_at=f"{midnight:%Y-%m-%d %H:%M} UTC (midnight in New York)",
        )
