"""How Yahoo is asked, through yfinance: as a browser, at one pace; and what its refusals mean."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import yfinance
from curl_cffi import requests as http
from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)
from yfinance.data import YfData
from yfinance.exceptions import YFRateLimitError, YFTzMissingError

from stockbatch.exceptions import (
    BadAnswer,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnknownTicker,
)
from stockbatch.providers.pacing import TokenBucket
from stockbatch.providers.yahoo.exchanges import PROVIDER

ATTEMPTS = 3
"""Of a request that met the network's failures or an unreadable answer."""
LONGEST_RETRY_WAIT = 30.0


class PacedSession(http.Session[http.Response]):
    """An HTTP session that looks like a browser and takes a token before every request."""

    def __init__(self, bucket: TokenBucket) -> None:
        super().__init__(impersonate="chrome")
        self._bucket = bucket
        self.last_status = 0
        """Of the newest answer: yfinance takes some refusals for empty answers."""

    def request(self, method: Any, url: str, *args: Any, **options: Any) -> http.Response:
        """Wait for a token, then ask."""
        self._bucket.take()
        response = super().request(method, url, *args, **options)
        self.last_status = response.status_code
        return response


def prepare(cache: Path) -> None:
    """Have yfinance raise what it meets, and keep its time zones and cookies in a folder."""
    yfinance.config.debug.hide_exceptions = False
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # what it says is raised, too
    yfinance.set_tz_cache_location(str(cache))


def forget() -> None:
    """Drop what yfinance would go on with: error replies, and a refusal taken for a crumb."""
    YfData.cache_get.cache_clear()
    YfData()._crumb = None


def retrying(stopped: Event, wait: float, forget: Callable[[], None] = forget) -> Retrying:
    """Return what asks again, after about `wait` seconds and then longer, until `stopped`."""
    return Retrying(
        retry=retry_if_exception_type(ProviderUnavailable),
        stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(stopped),
        wait=wait_random_exponential(wait, LONGEST_RETRY_WAIT),
        sleep=sleep_using_event(stopped),
        before_sleep=lambda _: forget(),
        reraise=True,
    )


def told(symbol: str, error: Exception, *, known: bool) -> ProviderError:
    """Return our exception for one that came out of yfinance; `known`: it took the symbol."""
    if isinstance(error, YFRateLimitError) or "Too Many Requests" in getattr(error, "doc", ""):
        return RateLimited(provider=PROVIDER, ticker=symbol)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, YFTzMissingError) or status == 404:
        return unknown(symbol)
    if not known and isinstance(error, ValueError):  # it is no symbol at all
        return unknown(symbol, f": {error}")
    if isinstance(error, json.JSONDecodeError):
        page = error.doc.lstrip()[:1] == "<"
        return unreadable(symbol, "it is an HTML page" if page else "its JSON is broken")
    reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    reason = reason.partition(" See https://curl")[0]
    if isinstance(error, OSError):
        return ProviderUnavailable(provider=PROVIDER, ticker=symbol, reason=reason)
    return unreadable(symbol, reason)


def unknown(symbol: str, hint: str = "") -> UnknownTicker:
    """Return the error for a symbol that Yahoo does not have."""
    return UnknownTicker(provider=PROVIDER, ticker=symbol, hint=hint)


def unreadable(symbol: str, reason: str) -> BadAnswer:
    """Return the error for an answer that cannot be used."""
    return BadAnswer(provider=PROVIDER, ticker=symbol, reason=reason)
