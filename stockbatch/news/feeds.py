"""News from RSS and Atom feeds: those that the setting `news_feeds` names for a ticker."""

import calendar
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import quote

from curl_cffi import CurlOpt
from curl_cffi import requests as http

from stockbatch.config import Settings
from stockbatch.events.base import SourceSetup
from stockbatch.exceptions import BadAnswer, MissingExtra, ProviderUnavailable, RateLimited
from stockbatch.news.base import Answer, NewsKind, NewsRequest, NewsSource, in_turn
from stockbatch.providers.pacing import TokenBucket
from stockbatch.records import Instrument, NewsItem
from stockbatch.text import without_secrets

NAME = "feeds"
RATE = 2.0
"""Requests a second."""
LARGEST = 8 * 2**20
"""Bytes of a feed that are read; the rest is not waited for."""
PLACE = "{ticker}"


class Feeds:
    """Feeds of RSS or Atom; `timeout` is in seconds, of a whole answer."""

    def __init__(self, setup: SourceSetup, *, timeout: float = 30.0, rate: float = RATE) -> None:
        try:
            import feedparser
        except ImportError:
            raise MissingExtra(what="the source feeds", extra="news") from None
        self._parse = feedparser.parse
        self._feeds = setup.settings.news_feeds
        # Of a stream, the timeout of a request bounds only how long nothing comes.
        self._session: Any = http.Session(curl_options={CurlOpt.TIMEOUT_MS: int(timeout * 1000)})
        self._bucket = TokenBucket(rate, waiting=setup.waiting)
        self._timeout = timeout

    def news(self, requests: Sequence[NewsRequest]) -> Iterator[Answer]:
        """Yield one answer per request, of all feeds of the ticker; of none it is empty."""
        return in_turn(requests, self._news)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _news(self, request: NewsRequest) -> list[NewsItem]:
        urls = urls_of(self._feeds, request.symbol)
        return [item for url in urls for item in self._items(request.symbol, url)]

    def _items(self, ticker: str, url: str) -> list[NewsItem]:
        # As a stream: a text would be opened where it names a file or an address.
        found = self._parse(BytesIO(self._body(ticker, url)))
        if not found.entries and not found.get("version"):
            raise BadAnswer(
                provider=NAME,
                ticker=ticker,
                reason=f"{without_secrets(url)} is no RSS or Atom feed",
            )
        told = [_item(ticker, entry) for entry in found.entries]
        return [item for item in told if item is not None]

    def _body(self, ticker: str, url: str) -> bytes:
        """Return what a URL answers with; raises a ProviderError."""
        self._bucket.take()
        told, shown = {"provider": NAME, "ticker": ticker}, without_secrets(url)
        try:
            answer = self._session.get(
                url, timeout=self._timeout, allow_redirects=False, stream=True
            )
            body = b""
            try:
                for part in answer.iter_content():
                    body += part
                    if len(body) > LARGEST:
                        reason = f"{shown} has more than {LARGEST // 2**20} MiB"
                        raise BadAnswer(**told, reason=reason)
            finally:
                answer.close()
        except OSError as error:
            reason = f"{shown}: {type(error).__name__}: {error}".partition("\n")[0][:300]
            raise ProviderUnavailable(**told, reason=reason) from None
        if answer.status_code == 429:
            raise RateLimited(**told)
        if answer.status_code != 200:
            moved = answer.headers.get("Location")
            hint = f", it has moved to {without_secrets(moved)[:200]}" if moved else ""
            reason = f"{shown}: HTTP status {answer.status_code}{hint}"
            raise ProviderUnavailable(**told, reason=reason)
        return body


def urls_of(feeds: Sequence[str], ticker: str) -> list[str]:
    """Return the addresses of a ticker's feeds: those of all tickers, and its own."""
    found = []
    for owner, url in map(_owned, feeds):
        if owner is None:
            found.append(url.replace(PLACE, quote(ticker, safe="")))
        elif owner == ticker:
            found.append(url)
    return found


def _owned(feed: str) -> tuple[str | None, str]:
    """Return the ticker that a feed is of, None where it is one of all, and its address."""
    owner, equals, url = feed.partition("=")
    return (owner, url) if equals and "://" not in owner else (None, feed)


def _item(ticker: str, entry: Any) -> NewsItem | None:
    """Return an item; None where it has no title or no instant."""
    stamp = entry.get("published_parsed") or entry.get("updated_parsed")
    title = entry.get("title")
    if stamp is None or not title or not title.strip():
        return None
    try:
        published_at = datetime.fromtimestamp(calendar.timegm(stamp), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return NewsItem(
        symbol=ticker, published_at=published_at, title=title, source=NAME, url=entry.get("link")
    )


def _make(setup: SourceSetup) -> NewsSource:
    return Feeds(setup)


def _symbol(instrument: Instrument, settings: Settings) -> str | None:
    ticker = instrument.ticker
    return ticker if not instrument.demo and urls_of(settings.news_feeds, ticker) else None


def _named(settings: Settings) -> list[str]:
    owners = (_owned(feed)[0] for feed in settings.news_feeds)
    return [owner for owner in owners if owner is not None]


KIND = NewsKind(make=_make, symbol=_symbol, named=_named)
