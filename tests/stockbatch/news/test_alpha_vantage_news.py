"""Alpha Vantage's news from a loopback server; bodies composed in the shapes it documents."""

import json
from datetime import UTC, date, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from stockbatch.config import Settings
from stockbatch.events.alpha_vantage import EVENTS
from stockbatch.events.base import SourceSetup
from stockbatch.exceptions import BadAnswer, KeyRefused, NoKey, QuotaSpent, RateLimited
from stockbatch.news import registry
from stockbatch.news.alpha_vantage import AlphaVantageNews
from stockbatch.news.base import NewsRequest
from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.records import Instrument, NewsItem
from tests.support.loopback import Reply, serving

KEY = "S3CR3T"
NOW = datetime(2024, 6, 14, 16, tzinfo=UTC)


def article(title="IBM does well", stamp="20240614T120000", ticker="IBM", **more):
    about = {
        "ticker": ticker,
        "relevance_score": "0.75",
        "ticker_sentiment_score": "0.251",
        "ticker_sentiment_label": "Somewhat-Bullish",
    }
    told = {"title": title, "url": "https://e.com/a", "time_published": stamp, "source": "Wire"}
    other = {"ticker": "MSFT", "relevance_score": "1", "ticker_sentiment_score": "-1"}
    return told | {"ticker_sentiment": [other, about]} | more


def feed(*articles):
    return Reply(json.dumps({"items": str(len(articles)), "feed": list(articles)}))


class Vantage:
    def __init__(self):
        self.port = 0
        self.asked = []
        self.replies = {}

    def answer(self, path):
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        assert query.pop("apikey") == KEY
        self.asked.append(query)
        return self.replies.get(query["tickers"], feed())


@pytest.fixture
def vantage():
    made = Vantage()
    with serving(made.answer) as port:
        made.port = port
        yield made


@pytest.fixture
def make(vantage, tmp_path):
    def source(quota=None, reserved=0, key=KEY):
        setup = SourceSetup(
            settings=Settings(home=tmp_path), quota=quota, reserved=lambda day: reserved
        )
        own = AlphaVantageSettings(key=key, requests_per_second=100)
        url = f"http://127.0.0.1:{vantage.port}/query"
        return AlphaVantageNews(setup, own, url=url, clock=lambda: NOW)

    return source


def asking(*symbols):
    return [NewsRequest(symbol=symbol) for symbol in symbols]


def test_an_item_has_the_score_of_its_ticker(make, vantage):
    vantage.replies["IBM"] = feed(article())
    ibm, nobody = make().news(asking("IBM", "XYZ"))
    assert ibm.items == (
        NewsItem(
            symbol="IBM",
            published_at=datetime(2024, 6, 14, 12, tzinfo=UTC),
            title="IBM does well",
            source="alpha_vantage",
            url="https://e.com/a",
            relevance=0.75,
            score=0.251,
            scored_by="alpha_vantage",
        ),
    )
    assert nobody.items == ()
    asked = {"function": "NEWS_SENTIMENT", "sort": "LATEST", "limit": "200"}
    assert vantage.asked == [asked | {"tickers": symbol} for symbol in ("IBM", "XYZ")]


@pytest.mark.parametrize(
    "told",
    [
        None,
        7,
        {},
        article(title=None),
        article(title="  "),
        article(title=["x"]),
        article(stamp="yesterday"),
        article(stamp=None),
        article(ticker="OTHER"),
        article(ticker_sentiment=7),
        article(ticker_sentiment=[7, None]),
    ],
)
def test_what_cannot_be_read_is_left_out(make, vantage, told):
    vantage.replies["IBM"] = feed(told, article(title="Good"))
    (ibm,) = make().news(asking("IBM"))
    assert [item.title for item in ibm.items] == ["Good"]


def test_a_score_that_is_none_is_no_score(make, vantage):
    about = {"ticker": "IBM", "relevance_score": "7", "ticker_sentiment_score": "nan"}
    vantage.replies["IBM"] = feed(article(ticker_sentiment=[about], url=None))
    (ibm,) = make().news(asking("IBM"))
    (item,) = ibm.items
    assert (item.score, item.scored_by, item.relevance, item.url) == (None, None, None, None)


class Ledger:
    """Counts in memory what is spent under each name."""

    def __init__(self, **spent):
        self.spent = dict(spent)

    def spend(self, provider, day, limit):
        assert day == date(2024, 6, 14)
        used = self.spent.get(provider, 0)
        if used >= limit:
            return False
        self.spent[provider] = used + 1
        return True


def test_news_and_events_together_spend_only_what_bars_leave(make, vantage):
    ledger = Ledger(**{"alpha_vantage": 2, EVENTS: 2})
    answers = list(make(ledger, reserved=21).news(asking("A", "B", "C", "D")))
    # of 25 requests 21 are kept for bars, and events have had two of the other four
    assert [isinstance(one, QuotaSpent) for one in answers] == [False, False, True, True]
    assert ledger.spent == {"alpha_vantage": 4, EVENTS: 4}
    assert len(vantage.asked) == 2


@pytest.mark.parametrize(
    ("reply", "kind", "asked"),
    [
        (Reply('{"feed": 7}'), BadAnswer, 2),
        (Reply("<html>sorry</html>"), BadAnswer, 2),
        (Reply('{"Information": "the parameter apikey is invalid"}'), KeyRefused, 1),
        (Reply("slow down", 429), RateLimited, 1),
    ],
)
def test_a_hostile_answer_is_an_error_of_its_symbol(make, vantage, reply, kind, asked):
    vantage.replies = {"BAD": reply, "IBM": feed(article())}
    bad, ibm = make().news(asking("BAD", "IBM"))
    assert type(bad) is kind
    assert bad.values["ticker"] == "BAD"
    assert len(vantage.asked) == asked  # after a refusal that holds for all, nobody is asked
    assert isinstance(ibm, kind) == (asked == 1)


def test_without_a_key_nobody_is_asked(make, vantage):
    assert [type(answer) for answer in make(key=None).news(asking("IBM"))] == [NoKey]
    assert vantage.asked == []


def test_american_shares_are_asked_about_whoever_feeds_them():
    one = Instrument(id=1, ticker="BRK.B", symbol="brk", provider="csv:/b.csv", calendar="XNYS")
    assert registry.kind("alpha_vantage").symbol(one, Settings()) == "BRK-B"
