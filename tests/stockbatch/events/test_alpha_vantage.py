"""Alpha Vantage's dates from a loopback server; bodies composed in the shapes it documents."""

import json
from datetime import UTC, date, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from stockbatch.config import Settings
from stockbatch.events import registry
from stockbatch.events.alpha_vantage import EVENTS, AlphaVantageEvents
from stockbatch.events.base import EventRequest, SourceSetup
from stockbatch.exceptions import (
    BadAnswer,
    KeyRefused,
    NoKey,
    ProviderUnavailable,
    QuotaSpent,
    RateLimited,
)
from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.records import Event, Instrument, Source, Timing
from tests.support.loopback import Reply, serving

KEY = "S3CR3T"
NOW = datetime(2024, 6, 14, 16, tzinfo=UTC)
DAY = date(2024, 6, 14)
CALENDAR = """symbol,name,reportDate,fiscalDateEnding,estimate,currency,timeOfTheDay
IBM,International Business Machines,2024-07-24,2024-06-30,2.2,USD,post-market
MSFT,"Microsoft, Inc.",2024-07-30,2024-06-30,2.9,USD,
GE,GE Aerospace,2024-07-23,2024-06-30,,USD,pre-market
OLD,No Such Year,0000-00-00,2024-06-30,,USD,
"""
SPENT = json.dumps(
    {"Information": "We have detected your API key; our standard limit is 25 requests per day"}
)


def quarter(day, timing, **more):
    return {"fiscalDateEnding": "2024-03-31", "reportedDate": day, "reportTime": timing} | more


EARNINGS = {
    "symbol": "IBM",
    "annualEarnings": [{"fiscalDateEnding": "2023-12-31", "reportedEPS": "9.62"}],
    "quarterlyEarnings": [
        quarter("2024-04-24", "post-market", reportedEPS="1.68", surprise="0.08"),
        quarter("2024-01-24", "PRE-MARKET"),
        quarter("2023-10-25", None),
    ],
}


class Ledger:
    """Counts in memory what is spent under each name."""

    def __init__(self, **spent):
        self.spent = dict(spent)

    def spend(self, provider, day, limit):
        assert day == DAY
        used = self.spent.get(provider, 0)
        if used >= limit:
            return False
        self.spent[provider] = used + 1
        return True


class Vantage:
    def __init__(self):
        self.port = 0
        self.asked = []
        self.calendar = Reply(CALENDAR, kind="text/csv")
        self.earnings = {"IBM": Reply(json.dumps(EARNINGS))}

    def answer(self, path):
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        assert query.pop("apikey") == KEY
        self.asked.append(query)
        if query["function"] == "EARNINGS_CALENDAR":
            return self.calendar
        return self.earnings.get(query["symbol"], Reply("{}"))


@pytest.fixture
def vantage():
    made = Vantage()
    with serving(made.answer) as port:
        made.port = port
        yield made


@pytest.fixture
def make(vantage, tmp_path):
    def source(quota=None, reserved=0, key=KEY, **limits):
        setup = SourceSetup(
            settings=Settings(home=tmp_path), quota=quota, reserved=lambda day: reserved
        )
        own = AlphaVantageSettings(key=key, requests_per_second=100, **limits)
        url = f"http://127.0.0.1:{vantage.port}/query"
        return AlphaVantageEvents(setup, own, url=url, retry_wait=0.001, clock=lambda: NOW)

    return source


def asking(*symbols, history=True):
    return [EventRequest(symbol=s, calendar="XNYS", history=history) for s in symbols]


def test_what_is_to_come_costs_one_request_and_each_history_another(make, vantage):
    ibm, microsoft, nobody = make().events(asking("IBM", "MSFT", "XYZ"))
    assert ibm.events == (
        Event(symbol="IBM", date=date(2023, 10, 25)),
        Event(symbol="IBM", date=date(2024, 1, 24), timing=Timing.BEFORE_OPEN),
        Event(symbol="IBM", date=date(2024, 4, 24), timing=Timing.AFTER_CLOSE),
        Event(symbol="IBM", date=date(2024, 7, 24), timing=Timing.AFTER_CLOSE),
    )
    assert [event.date for event in microsoft.events] == [date(2024, 7, 30)]
    assert microsoft.events[0].timing is Timing.UNKNOWN
    assert (nobody.events, nobody.problem) == ((), None)
    assert vantage.asked == [
        {"function": "EARNINGS_CALENDAR", "horizon": "12month"},
        *({"function": "EARNINGS", "symbol": symbol} for symbol in ("IBM", "MSFT", "XYZ")),
    ]


def test_without_history_all_symbols_cost_one_request(make, vantage):
    answers = list(make().events(asking("IBM", "GE", "MSFT", history=False)))
    assert [len(answer.events) for answer in answers] == [1, 1, 1]
    assert len(vantage.asked) == 1


@pytest.mark.parametrize("spent_by_bars", [0, 4, 20])
def test_events_spend_only_what_bars_leave(make, vantage, spent_by_bars):
    ledger = Ledger(alpha_vantage=spent_by_bars)
    answers = list(make(ledger, reserved=21).events(asking("IBM", "MSFT", "GE", "XYZ")))
    # of 25 requests 21 are kept: the calendar and three histories are made, whoever was first
    assert ledger.spent == {"alpha_vantage": spent_by_bars + 4, EVENTS: 4}
    assert [type(answer.problem) for answer in answers] == [type(None)] * 3 + [QuotaSpent]
    assert [event.date for event in answers[2].events] == [date(2024, 7, 23)]
    assert len(vantage.asked) == 4


def test_bars_that_need_all_leave_nothing(make, vantage):
    answers = list(make(Ledger(), reserved=25).events(asking("IBM", "MSFT")))
    assert [type(answer) for answer in answers] == [QuotaSpent] * 2
    assert [answer.values["ticker"] for answer in answers] == ["IBM", "MSFT"]
    assert vantage.asked == []


def test_a_limit_that_is_spent_there_ends_the_questions(make, vantage):
    vantage.earnings = {"IBM": Reply(SPENT)}
    ibm, microsoft = make().events(asking("IBM", "MSFT"))
    assert type(ibm.problem) is type(microsoft.problem) is QuotaSpent
    assert [event.date for event in microsoft.events] == [date(2024, 7, 30)]
    assert len(vantage.asked) == 2


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(SPENT), QuotaSpent, "are spent"),
        (Reply("<html>sorry</html>"), BadAnswer, "it is an HTML page"),
        (Reply(""), BadAnswer, "its JSON is broken"),
        (Reply("{}"), BadAnswer, "it is no table"),
        (Reply("one,two\n1,2\n"), BadAnswer, "no columns symbol and reportDate"),
        (Reply('{"Information": "the parameter apikey is invalid"}'), KeyRefused, "apikey"),
        (Reply("slow down", 429), RateLimited, "too many requests"),
        (Reply("oops", 500), ProviderUnavailable, "HTTP status 500"),
    ],
)
def test_a_hostile_calendar_is_an_error_of_every_symbol(make, vantage, reply, kind, words):
    vantage.calendar = reply
    answers = list(make().events(asking("IBM", "MSFT")))
    assert [type(answer) for answer in answers] == [kind] * 2
    assert [answer.values["ticker"] for answer in answers] == ["IBM", "MSFT"]
    assert all(words in str(answer) for answer in answers)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"quarterlyEarnings": 7}', "no quarterly earnings"),
        ('{"symbol": "IBM"}', "no quarterly earnings"),
        ('{"quarterlyEarnings": [{', "its JSON is broken"),
        ("[]", "no JSON object"),
        ("<html>", "HTML page"),
    ],
)
def test_a_hostile_history_costs_that_history_alone(make, vantage, body, words):
    vantage.earnings["MSFT"] = Reply(body)
    microsoft, ibm = make().events(asking("MSFT", "IBM"))
    assert type(microsoft.problem) is BadAnswer
    assert words in str(microsoft.problem)
    assert [event.date for event in microsoft.events] == [date(2024, 7, 30)]
    assert (len(ibm.events), ibm.problem) == (4, None)


def test_quarters_that_cannot_be_read_are_left_out(make, vantage):
    quarters = [None, 7, {}, quarter("0000-00-00", ""), quarter("2024-04-24", 5), quarter([], {})]
    quarters += [quarter("0001-01-01", ""), quarter("9999-01-01", ""), quarter("None", None)]
    vantage.earnings["IBM"] = Reply(json.dumps({"quarterlyEarnings": quarters}))
    (ibm,) = make().events(asking("IBM"))
    assert [event.date for event in ibm.events] == [date(2024, 4, 24), date(2024, 7, 24)]


def test_without_a_key_nobody_is_asked(make, vantage):
    source = make(key=None)
    with pytest.raises(NoKey):
        source.state()
    assert [type(answer) for answer in source.events(asking("IBM"))] == [NoKey]
    assert vantage.asked == []
    assert make().state() == "has a key: of 25 requests a day, the rest"


def test_american_shares_are_asked_about_whoever_feeds_them():
    def symbol(**more):
        about = {"id": 1, "ticker": "BRK.B", "symbol": "brk", "provider": "csv:/b.csv"} | more
        return registry.kind("alpha_vantage").symbol(Instrument(**{"calendar": "XNYS"} | about))

    assert symbol() == "BRK-B"
    assert symbol(provider="alpha_vantage", symbol="TSCO.LON", calendar="XLON") == "TSCO.LON"
    assert symbol(calendar="XLON") is None
    fallback = (Source(provider="alpha_vantage", symbol="TSCO.LON"),)
    assert symbol(calendar="XLON", fallbacks=fallback) == "TSCO.LON"
    assert symbol(demo=True) is None
