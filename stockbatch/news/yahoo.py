"""News from Yahoo Finance, through yfinance: the last of each ticker that Yahoo feeds."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Event as Stopped
from typing import Any

from stockbatch.config import Settings
from stockbatch.events.base import SourceSetup, symbol_at
from stockbatch.exceptions import ProviderError
from stockbatch.news.base import Answer, NewsKind, NewsRequest, NewsSource, in_turn
from stockbatch.providers import registry
from stockbatch.providers.yahoo.exchanges import PROVIDER
from stockbatch.providers.yahoo.settings import YahooSettings
from stockbatch.records import Instrument, NewsItem

NAME = "yahoo"
MOST = 50
"""Items asked for of a ticker."""


class YahooNews:
    """Yahoo's news; `session` is a PacedSession, `retry_wait` in seconds."""

    def __init__(self, setup: SourceSetup, session: Any, *, retry_wait: float = 1.0) -> None:
        from stockbatch.providers.yahoo import asking

        asking.prepare(setup.folder(PROVIDER))
        self._asking = asking
        self._session = session
        self._retry_wait = retry_wait

    def news(self, requests: Sequence[NewsRequest]) -> Iterator[Answer]:
        """Yield one answer per request."""
        self._asking.forget()
        yield from in_turn(requests, self._news)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _news(self, request: NewsRequest) -> list[NewsItem]:
        import yfinance

        symbol = request.symbol

        def ask() -> Any:
            try:
                found = yfinance.Ticker(symbol, session=self._session).get_news(count=MOST)
                if self._session.last_status >= 400:  # yfinance reads such an answer, too
                    raise OSError(f"HTTP status {self._session.last_status}")
            except ProviderError:
                raise
            except Exception as error:  # noqa: BLE001 (yfinance raises whatever the answer leads to)
                raise self._asking.told(symbol, error, known=True) from None
            return found

        stream = self._asking.retrying(Stopped(), self._retry_wait)(ask)
        told = [_item(symbol, each) for each in stream]
        return [item for item in told if item is not None]


def _item(symbol: str, told: Any) -> NewsItem | None:
    """Return an item; None where it has no title or no instant."""
    content = told.get("content") if isinstance(told, dict) else None
    if not isinstance(content, dict):
        return None
    title = content.get("title")
    try:
        published_at = datetime.fromisoformat(str(content.get("pubDate")))
    except ValueError:
        return None
    if not isinstance(title, str) or not title.strip():
        return None
    if published_at.tzinfo is None:
        published_at = published_at.replace(tzinfo=UTC)
    return NewsItem(
        symbol=symbol,
        published_at=published_at.astimezone(UTC),
        title=title,
        source=NAME,
        url=_url(content),
    )


def _url(content: dict[str, Any]) -> str | None:
    for name in ("canonicalUrl", "clickThroughUrl"):
        place = content.get(name)
        if isinstance(place, dict) and isinstance(place.get("url"), str):
            return str(place["url"])
    return None


def _make(setup: SourceSetup) -> NewsSource:
    # Here, because yfinance takes a second to import.
    from stockbatch.providers.pacing import TokenBucket
    from stockbatch.providers.yahoo.asking import PacedSession

    table = registry.table(PROVIDER, setup.settings)
    assert isinstance(table, YahooSettings)
    bucket = TokenBucket(table.requests_per_second, waiting=setup.waiting)
    return YahooNews(setup, PacedSession(bucket))


def _symbol(instrument: Instrument, _settings: Settings) -> str | None:
    return symbol_at(PROVIDER, instrument)


KIND = NewsKind(make=_make, symbol=_symbol, provider=PROVIDER)
