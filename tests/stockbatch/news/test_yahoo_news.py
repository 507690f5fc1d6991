"""yfinance's own code against a loopback Yahoo; the bodies are composed, none is recorded."""

import json
from datetime import UTC, datetime

import pytest

from stockbatch.config import Settings
from stockbatch.events.base import SourceSetup
from stockbatch.exceptions import BadAnswer, ProviderUnavailable, RateLimited
from stockbatch.news.base import NewsRequest
from stockbatch.news.yahoo import YahooNews
from stockbatch.providers.pacing import TokenBucket
from stockbatch.records import NewsItem
from tests.support.loopback import Reply, YahooServer, forget_yahoo, serving

PAGE = "<html>We are sorry</html>"


class NewsServer(YahooServer):
    """Answers every question about news with one reply."""

    reply_of_news = Reply("{}")

    def answer(self, path):
        if path.startswith("/xhr/ncp"):
            self.asked.append(("news", {}))
            return self.reply_of_news
        return super().answer(path)


def stream(*contents):
    told = [{"id": str(n), "content": content} for n, content in enumerate(contents)]
    return Reply(json.dumps({"data": {"tickerStream": {"stream": told}}}))


def content(title="Apple does well", **more):
    told = {"title": title, "pubDate": "2024-06-14T12:00:00Z", "provider": {"displayName": "Wire"}}
    return told | {"canonicalUrl": {"url": "https://e.com/a"}} | more


@pytest.fixture
def server():
    made = NewsServer()
    with serving(made.answer) as port:
        made.port = port
        yield made


@pytest.fixture
def yahoo(server, tmp_path):
    setup = SourceSetup(settings=Settings(home=tmp_path))
    with server.session(TokenBucket(1e6)) as session:
        yield YahooNews(setup, session, retry_wait=0.01)
    forget_yahoo()


def asked(yahoo, *symbols):
    return list(yahoo.news([NewsRequest(symbol=symbol) for symbol in symbols]))


def test_the_last_news_of_a_ticker(yahoo, server):
    server.reply_of_news = stream(
        content(), content("<b>", canonicalUrl=None, pubDate="2024-06-13")
    )
    (apple,) = asked(yahoo, "AAPL")
    assert apple.items == (
        NewsItem(
            symbol="AAPL",
            published_at=datetime(2024, 6, 14, 12, tzinfo=UTC),
            title="Apple does well",
            source="yahoo",
            url="https://e.com/a",
        ),
        NewsItem(
            symbol="AAPL",
            published_at=datetime(2024, 6, 13, tzinfo=UTC),
            title="<b>",
            source="yahoo",
        ),
    )


def test_what_cannot_be_read_is_left_out(yahoo, server):
    told = None, 7, {}, content(None), content(" "), content(pubDate=None), content(pubDate="soon")
    server.reply_of_news = stream(*told, content("Good", canonicalUrl=7))
    (apple,) = asked(yahoo, "AAPL")
    assert [item.title for item in apple.items] == ["Good"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply("Too Many Requests\r\n", 429, "text/html"), RateLimited),
        (Reply(PAGE, 503, "text/html"), ProviderUnavailable),
        (Reply(PAGE, 200, "text/html"), BadAnswer),
        (Reply('{"data": {"tickerStream": {"stream": 7}}}'), BadAnswer),
        (Reply("[]"), BadAnswer),
        (Reply('{"data": {"tickerStream": {"stream": [7]}}}'), BadAnswer),
        (Reply('{"data": null}'), BadAnswer),
    ],
)
def test_a_hostile_answer_is_an_error_of_its_symbol(yahoo, server, reply, kind):
    server.reply_of_news = reply
    (bad,) = asked(yahoo, "AAPL")
    assert isinstance(bad, kind)
    assert bad.values["ticker"] == "AAPL"
