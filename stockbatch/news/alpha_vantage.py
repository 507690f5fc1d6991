"""News from Alpha Vantage, with its own scores: one request a ticker.

They spend the quota of the bars, and with event dates only what bars leave of it on the day.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from stockbatch.config import Settings
from stockbatch.events.alpha_vantage import LeftOver
from stockbatch.events.base import SourceSetup, american_symbol, now, symbol_at
from stockbatch.exceptions import BadAnswer
from stockbatch.news.base import Answer, NewsKind, NewsRequest, NewsSource, in_turn, number
from stockbatch.providers import registry
from stockbatch.providers.alpha_vantage.client import NAME, URL, Client
from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.records import Instrument, NewsItem

MOST = "200"
"""Items asked for of a ticker; the default would be 50."""
STAMPS = ("%Y%m%dT%H%M%S", "%Y%m%dT%H%M")


class AlphaVantageNews:
    """Alpha Vantage's news; `timeout` is in seconds."""

    def __init__(
        self,
        setup: SourceSetup,
        settings: AlphaVantageSettings,
        *,
        url: str = URL,
        timeout: float = 30.0,
        clock: Callable[[], datetime] = now,
    ) -> None:
        quota = setup.quota and LeftOver(setup.quota, setup.reserved)
        self._client = Client(
            settings, quota, url=url, timeout=timeout, waiting=setup.waiting, clock=clock
        )

    def news(self, requests: Sequence[NewsRequest]) -> Iterator[Answer]:
        """Yield one answer per request; each is counted, so none is asked for twice."""
        return in_turn(requests, self._news)

    def close(self) -> None:
        """Do nothing: each request has had a connection of its own."""

    def _news(self, request: NewsRequest) -> list[NewsItem]:
        symbol = request.symbol
        asked = {"function": "NEWS_SENTIMENT", "tickers": symbol, "sort": "LATEST", "limit": MOST}
        answer = self._client.ask(symbol, **asked)
        feed = answer.get("feed")
        if not isinstance(feed, list):
            raise BadAnswer(provider=NAME, ticker=symbol, reason="there is no feed in it")
        told = [_item(symbol, each) for each in feed if isinstance(each, dict)]
        return [item for item in told if item is not None]


def _item(symbol: str, told: dict[str, Any]) -> NewsItem | None:
    """Return an item; None where it has no title, no instant, or is not about the symbol."""
    published_at, title = _instant(told.get("time_published")), told.get("title")
    tickers = told.get("ticker_sentiment")
    about = [
        one
        for one in (tickers if isinstance(tickers, list) else [])
        if isinstance(one, dict) and str(one.get("ticker")).upper() == symbol.upper()
    ]
    if published_at is None or not isinstance(title, str) or not title.strip() or not about:
        return None
    score = number(about[0].get("ticker_sentiment_score"), -1, 1)
    return NewsItem(
        symbol=symbol,
        published_at=published_at,
        title=title,
        source=NAME,
        url=str(told["url"]) if told.get("url") else None,
        relevance=number(about[0].get("relevance_score"), 0, 1),
        score=score,
        scored_by=None if score is None else NAME,
    )


def _instant(stamp: Any) -> datetime | None:
    for form in STAMPS:
        try:
            return datetime.strptime(str(stamp), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _make(setup: SourceSetup) -> NewsSource:
    table = registry.table(NAME, setup.settings)
    assert isinstance(table, AlphaVantageSettings)
    return AlphaVantageNews(setup, table)


def _symbol(instrument: Instrument, _settings: Settings) -> str | None:
    return symbol_at(NAME, instrument) or american_symbol(instrument)


KIND = NewsKind(make=_make, symbol=_symbol, provider=NAME)
