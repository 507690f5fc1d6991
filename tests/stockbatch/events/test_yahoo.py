"""yfinance's own code against a loopback Yahoo.

The bodies are composed in the shapes that Yahoo is known to answer in; none is recorded.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from stockbatch.config import Settings
from stockbatch.events import registry
from stockbatch.events.base import EventRequest, FetchedEvents, SourceSetup
from stockbatch.events.yahoo import YahooEvents
from stockbatch.exceptions import BadAnswer, ProviderUnavailable, RateLimited, UnknownTicker
from stockbatch.providers.pacing import TokenBucket
from stockbatch.records import Event, Instrument, Source, Timing
from tests.support.loopback import Reply, YahooServer, forget_yahoo, serving

NOW = datetime(2024, 6, 14, 12, tzinfo=UTC)
NOT_FOUND = Reply(
    json.dumps({"quoteSummary": {"result": None, "error": {"code": "Not Found"}}}), 404
)
PAGE = "<html>We are sorry</html>"


@dataclass
class EventServer(YahooServer):
    """Answers by symbol: summaries, and pages of the earnings calendar."""

    summaries: dict = field(default_factory=dict)
    pages: dict = field(default_factory=dict)

    def answer(self, path):
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/v10/finance/quoteSummary/"):
            symbol = unquote(parts.path.rpartition("/")[2])
            self.asked.append(("summary", symbol))
            return self.summaries.get(symbol, NOT_FOUND)
        if parts.path == "/calendar/earnings":
            self.asked.append(("page", query["symbol"]))
            return self.pages.get(query["symbol"], Reply("<html>none</html>", kind="text/html"))
        return super().answer(path)


def summary(*stamps, **more):
    earnings = {"earningsDate": [int(stamp.timestamp()) for stamp in stamps], **more}
    events = {"maxAge": 1, "earnings": earnings, "dividendDate": 1715904000}
    return Reply(json.dumps({"quoteSummary": {"result": [{"calendarEvents": events}]}}))


def page(*rows, symbol="AAPL"):
    names = ("Symbol", "Company", "Earnings Date", "EPS Estimate", "Reported EPS", "Surprise (%)")
    cells = [(symbol, "Apple Inc.", row, "1.50", "1.53", "2.00") for row in rows]
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in cells]
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return Reply(f"<html><body>{table}</body></html>", kind="text/html")


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.fixture
def server():
    made = EventServer()
    with serving(made.answer) as port:
        made.port = port
        yield made


@pytest.fixture
def yahoo(server, tmp_path):
    setup = SourceSetup(settings=Settings(home=tmp_path))
    with server.session(TokenBucket(1e6)) as session:
        yield YahooEvents(setup, session, retry_wait=0.01, clock=lambda: NOW)
    forget_yahoo()


def asking(*symbols, history=True, calendar="XNYS"):
    return [EventRequest(symbol=s, calendar=calendar, history=history) for s in symbols]


def events(yahoo, symbol="AAPL", **more):
    (answer,) = yahoo.events(asking(symbol, **more))
    assert isinstance(answer, FetchedEvents)
    assert answer.problem is None
    return answer.events


def test_the_next_report_and_those_that_were(yahoo, server):
    server.summaries["AAPL"] = summary(utc(2024, 8, 1, 20, 30), isEarningsDateEstimate=False)
    server.pages["AAPL"] = page(
        "October 31, 2024 at 6 AM EDT",  # a guess, which the summary knows better
        "May 2, 2024 at 4 PM EDT",
        "February 1, 2024 at 7 PM EST",  # midnight in UTC: a date without an hour
        "November 2, 2023 at 6 AM EDT",
    )
    assert events(yahoo) == (
        Event(symbol="AAPL", date=date(2023, 11, 2), timing=Timing.BEFORE_OPEN),
        Event(symbol="AAPL", date=date(2024, 2, 2), timing=Timing.UNKNOWN),
        Event(symbol="AAPL", date=date(2024, 5, 2), timing=Timing.AFTER_CLOSE),
        Event(symbol="AAPL", date=date(2024, 8, 1), timing=Timing.AFTER_CLOSE),
    )


def test_without_history_one_question_is_asked(yahoo, server):
    server.summaries["AAPL"] = summary(utc(2024, 8, 1, 20, 30))
    assert [event.date for event in events(yahoo, history=False)] == [date(2024, 8, 1)]
    assert server.asked == [("summary", "AAPL")]


@pytest.mark.parametrize(
    ("stamps", "more", "found"),
    [
        # a day early wherever the clock is west of Greenwich
        ([utc(2024, 8, 2)], {}, Event(symbol="AAPL", date=date(2024, 8, 2))),
        # two dates are the first and the last day it may be on
        (
            [utc(2024, 7, 31, 12), utc(2024, 8, 5, 12)],
            {},
            Event(symbol="AAPL", date=date(2024, 7, 31), timing=Timing.BEFORE_OPEN, projected=True),
        ),
        (
            [utc(2024, 8, 1, 20)],
            {"isEarningsDateEstimate": True},
            Event(symbol="AAPL", date=date(2024, 8, 1), timing=Timing.AFTER_CLOSE, projected=True),
        ),
        # what is long past is not the next one, whatever the summary calls it
        ([utc(2024, 5, 2, 20)], {}, None),
        ([], {}, None),
        # and nobody knows a date of five years ahead
        ([utc(2029, 5, 2, 20)], {}, None),
    ],
)
def test_the_next_date_is_read_with_its_faults(yahoo, server, stamps, more, found):
    server.summaries["AAPL"] = summary(*stamps, **more)
    assert list(events(yahoo, history=False)) == ([found] if found else [])


def test_the_hours_are_those_of_the_exchange(yahoo, server):
    server.summaries["7203.T"] = summary(utc(2024, 8, 1, 4, 55))
    (event,) = events(yahoo, "7203.T", calendar="XTKS", history=False)
    assert (event.date, event.timing) == (date(2024, 8, 1), Timing.DURING)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (NOT_FOUND, UnknownTicker, "yfinance does not know BAD"),
        (Reply("Too Many Requests\r\n", 429, "text/html"), RateLimited, "too many requests"),
        (Reply(PAGE, 200, "text/html"), BadAnswer, "it is an HTML page"),
        (Reply(PAGE, 503, "text/html"), ProviderUnavailable, "503"),
        (Reply('{"quoteSummary": {"resu'), BadAnswer, "its JSON is broken"),
        (Reply("[]"), BadAnswer, "no calendar events"),
        (Reply("null"), BadAnswer, "no calendar events"),
        (Reply('{"quoteSummary": {"result": []}}'), BadAnswer, "no calendar events"),
        (
            Reply('{"quoteSummary": {"result": [{"calendarEvents": {"earnings": [1]}}]}}'),
            BadAnswer,
            "no calendar events",
        ),
        (
            Reply(
                '{"quoteSummary": {"result": [{"calendarEvents": {"earnings":'
                ' {"earningsDate": ["soon"]}}}]}}'
            ),
            BadAnswer,
            "no calendar events",
        ),
        (
            Reply(
                '{"quoteSummary": {"result": [{"calendarEvents": {"earnings":'
                ' {"earningsDate": [1e300, -62135596800]}}}]}}'
            ),
            BadAnswer,
            "no calendar events",
        ),
    ],
)
def test_a_hostile_answer_is_an_error_of_its_symbol(yahoo, server, reply, kind, words):
    server.summaries |= {"BAD": reply, "AAPL": summary(utc(2024, 8, 1, 20, 30))}
    bad, good = yahoo.events(asking("BAD", "AAPL", history=False))
    assert type(bad) is kind
    assert bad.values["ticker"] == "BAD"
    assert words in str(bad)
    if kind is RateLimited:  # nobody else would be answered either
        assert isinstance(good, RateLimited)
        assert good.values["ticker"] == "AAPL"
        assert ("summary", "AAPL") not in server.asked
    else:
        assert [event.date for event in good.events] == [date(2024, 8, 1)]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(PAGE, 503, "text/html"), ProviderUnavailable),
        (page("the day after tomorrow"), BadAnswer),
        (page("May 2, 2024 at 4 PM XYZ"), BadAnswer),
        (Reply("<table><tr><td>1</td></tr></table>", kind="text/html"), BadAnswer),
    ],
)
def test_a_history_that_cannot_be_read_costs_the_history_alone(yahoo, server, reply, kind):
    server.summaries["AAPL"] = summary(utc(2024, 8, 1, 20, 30))
    server.pages["AAPL"] = reply
    (answer,) = yahoo.events(asking("AAPL"))
    assert [event.date for event in answer.events] == [date(2024, 8, 1)]
    assert type(answer.problem) is kind


def test_dates_that_cannot_be_meant_are_left_out(yahoo, server):
    server.summaries["AAPL"] = summary()
    server.pages["AAPL"] = page("May 2, 1700 at 4 PM EST", "May 2, 2024 at 4 PM EDT")
    assert [event.date for event in events(yahoo)] == [date(2024, 5, 2)]


def test_who_is_out_of_reach_is_not_asked_for_everybody(yahoo, server):
    symbols = [f"S{number}" for number in range(12)]
    server.summaries |= {symbol: Reply(PAGE, 503, "text/html") for symbol in symbols}
    answers = list(yahoo.events(asking(*symbols, history=False)))
    assert [answer.values["ticker"] for answer in answers] == symbols
    assert {type(answer) for answer in answers} == {ProviderUnavailable}
    assert len({symbol for _, symbol in server.asked}) == 5


def test_only_tickers_that_yahoo_feeds_are_asked_about():
    def symbol(**more):
        about = {"id": 1, "ticker": "BRK.B", "symbol": "BRK-B", "calendar": "XNYS"} | more
        return registry.kind("yahoo").symbol(Instrument(**about))

    fallback = (Source(provider="yfinance", symbol="BRK-B"),)
    assert symbol(provider="yfinance") == "BRK-B"
    assert symbol(provider="csv:/bars.csv") is None
    assert symbol(provider="csv:/bars.csv", symbol="X", fallbacks=fallback) == "BRK-B"
    assert symbol(provider="yfinance", demo=True) is None
    assert symbol(provider="yfinance", asset_class="etf") is None
