"""Filings of results from a loopback EDGAR; bodies composed in the shapes the SEC documents."""

import json
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler

import pytest

from stockbatch.config import Settings
from stockbatch.events import edgar, registry
from stockbatch.events.base import EventRequest, SourceSetup
from stockbatch.events.edgar import Edgar
from stockbatch.exceptions import (
    BadAnswer,
    NoContact,
    ProviderUnavailable,
    RateLimited,
    UnknownTicker,
)
from stockbatch.records import Event, Instrument, Timing
from tests.support.loopback import Reply, serving

NOW = datetime(2024, 6, 14, 16, tzinfo=UTC)
CONTACT = "Jane Doe jane@example.com"
COMPANIES = {
    "0": {"cik_str": 320193, "ticker": "AAPL", "title": "Apple Inc."},
    "1": {"cik_str": 1067983, "ticker": "BRK-B", "title": "BERKSHIRE HATHAWAY INC"},
    "2": {"cik_str": "x", "ticker": "BAD"},
    "3": None,
}


def filings(*rows, files=()):
    """Write rows of (form, items, filed, accepted) by columns, as the SEC does."""
    names = ("form", "items", "filingDate", "acceptanceDateTime")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return {"cik": "320193", "filings": {"recent": columns, "files": list(files)}}


UTC_ROWS = (
    ("8-K", "2.02,9.01", "2024-05-02", "2024-05-02T20:30:41.000Z"),  # 16:30 in New York
    ("4", "", "2024-04-15", "2024-04-15T22:31:00.000Z"),
    ("8-K", "5.02", "2024-03-01", "2024-03-01T21:00:00.000Z"),
    ("8-K/A", "2.02", "2024-02-05", "2024-02-05T21:00:00.000Z"),
    ("8-K", "2.02", "2024-02-01", "2024-02-01T12:00:00.000Z"),  # 7:00
    ("8-K", "9.01, 2.02", "2023-11-03", "2023-11-02T22:30:00.000Z"),  # 18:30, dated the next day
)
LOCAL_ROWS = (
    ("8-K", "2.02", "2025-05-01", "2024-05-02T16:21:59.000Z"),
    ("10-Q", "", "2024-05-01", "2024-05-01T07:30:32.000Z"),  # in UTC it would be half past three
    ("8-K", "2.02", "2024-02-01", "2024-02-01T06:45:00.000Z"),
)


class Sec:
    def __init__(self):
        self.port = 0
        self.asked = []
        self.companies = Reply(json.dumps(COMPANIES))
        self.files = {"CIK0000320193.json": filings(*UTC_ROWS)}

    def answer(self, path):
        self.asked.append(path.rpartition("/")[2])
        if path.endswith("company_tickers.json"):
            return self.companies
        found = self.files.get(path.rpartition("/")[2])
        if isinstance(found, Reply):
            return found
        return Reply("<html>none</html>", 404) if found is None else Reply(json.dumps(found))


@pytest.fixture
def sec():
    made = Sec()
    with serving(made.answer) as port:
        made.port = port
        yield made


@pytest.fixture
def make(sec, tmp_path):
    def source(contact=CONTACT, rate=1000.0):
        setup = SourceSetup(settings=Settings(home=tmp_path, edgar_contact=contact))
        root = f"http://127.0.0.1:{sec.port}"
        urls = (f"{root}/files/company_tickers.json", f"{root}/submissions")
        return Edgar(setup, urls=urls, rate=rate, clock=lambda: NOW)

    return source


def asking(*symbols, history=True):
    return [EventRequest(symbol=s, calendar="XNYS", history=history) for s in symbols]


def report(day, timing, known_at):
    return Event(symbol="AAPL", date=day, timing=timing, known_at=datetime(*known_at, tzinfo=UTC))


def test_filings_of_results_have_a_day_a_timing_and_an_instant(make, sec):
    (apple,) = make().events(asking("AAPL"))
    assert apple.events == (
        report(date(2023, 11, 2), Timing.AFTER_CLOSE, (2023, 11, 2, 22, 30)),
        report(date(2024, 2, 1), Timing.BEFORE_OPEN, (2024, 2, 1, 12)),
        report(date(2024, 5, 2), Timing.AFTER_CLOSE, (2024, 5, 2, 20, 30, 41)),
    )
    assert sec.asked == ["company_tickers.json", "CIK0000320193.json"]


def test_a_company_whose_stamps_are_new_york_time_is_recognised(make, sec):
    sec.files["CIK0000320193.json"] = filings(*LOCAL_ROWS)
    (apple,) = make().events(asking("AAPL"))
    assert apple.events == (
        report(date(2024, 2, 1), Timing.BEFORE_OPEN, (2024, 2, 1, 11, 45)),
        report(date(2024, 5, 2), Timing.AFTER_CLOSE, (2024, 5, 2, 20, 21, 59)),
    )


def test_stamps_that_may_be_either_tell_the_date_and_the_later_instant(make, sec):
    sec.files["CIK0000320193.json"] = filings(
        ("8-K", "2.02", "2024-05-02", "2024-05-02T14:00:00.000Z")
    )
    (apple,) = make().events(asking("AAPL"))
    assert apple.events == (report(date(2024, 5, 2), Timing.UNKNOWN, (2024, 5, 2, 18)),)


def test_older_pages_are_asked_for_with_history_only(make, sec):
    old = filings(("8-K", "2.02", "2010-01-25", "2010-01-25T21:30:00.000Z"))["filings"]["recent"]
    pages = ({"name": "CIK0000320193-submissions-001.json"}, {"name": "../../etc"}, None)
    sec.files["CIK0000320193.json"] = filings(*UTC_ROWS, files=pages)
    sec.files["CIK0000320193-submissions-001.json"] = old
    (apple,) = make().events(asking("AAPL"))
    assert apple.events[0] == report(date(2010, 1, 25), Timing.AFTER_CLOSE, (2010, 1, 25, 21, 30))
    assert len(apple.events) == 4
    sec.asked.clear()
    (apple,) = make().events(asking("AAPL", history=False))
    assert len(apple.events) == 3
    assert sec.asked == ["company_tickers.json", "CIK0000320193.json"]


def test_without_a_contact_nobody_is_asked(make, sec):
    source = make(contact=" ")
    with pytest.raises(NoContact, match="set edgar_contact"):
        source.state()
    (answer,) = source.events(asking("AAPL"))
    assert type(answer) is NoContact
    assert sec.asked == []
    assert CONTACT in make().state()


def test_the_contact_is_in_every_request(make, monkeypatch):
    sent = []
    plain = BaseHTTPRequestHandler.parse_request

    def parse_request(self):
        parsed = plain(self)
        sent.append(self.headers["User-Agent"])
        return parsed

    monkeypatch.setattr(BaseHTTPRequestHandler, "parse_request", parse_request)
    list(make().events(asking("AAPL")))
    assert sent == [f"stockbatch {CONTACT}"] * 2


def test_nobody_is_asked_more_than_ten_times_a_second(make):
    slept = []
    assert edgar.RATE <= 10
    source = make(rate=edgar.RATE)
    source._bucket._sleep = slept.append
    source._bucket._clock = lambda: 0.0
    source._bucket._next = 0.0
    list(source.events(asking("AAPL", "AAPL", "AAPL")))
    assert slept == pytest.approx([1 / 8, 2 / 8, 3 / 8])


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply("<html>Undeclared Automated Tool</html>", 403), ProviderUnavailable, "contact"),
        (Reply("Request Rate Threshold Exceeded", 403), RateLimited, "too many requests"),
        (Reply("slow down", 429), RateLimited, "too many requests"),
        (Reply("<html>"), BadAnswer, "HTML page"),
        (Reply('{"filings": {"recent": {"form": ["8-'), BadAnswer, "its JSON is broken"),
        (Reply("[" * 100_000), BadAnswer, "its JSON is broken"),
        (Reply("[1]"), BadAnswer, "no JSON object"),
        (Reply("{}"), BadAnswer, "no filings in it"),
        (Reply('{"filings": {"recent": []}}'), BadAnswer, "no filings in it"),
        (Reply('{"filings": {"recent": {"form": "8-K"}}}'), BadAnswer, "no filings in it"),
        (Reply("gone", 404), UnknownTicker, "it has no filings"),
    ],
)
def test_a_hostile_answer_is_an_error_of_its_symbol(make, sec, reply, kind, words):
    sec.files["CIK0001067983.json"] = reply
    berkshire, apple = make().events(asking("BRK-B", "AAPL"))
    assert type(berkshire) is kind
    assert berkshire.values["ticker"] == "BRK-B"
    assert words in str(berkshire)
    assert isinstance(apple, RateLimited) if kind is RateLimited else len(apple.events) == 3


@pytest.mark.parametrize("body", ["<html>", "{}", '{"0": {"ticker": "AAPL", "cik_str": -1}}', "7"])
def test_a_hostile_list_of_companies_is_an_error_of_every_symbol(make, sec, body):
    sec.companies = Reply(body)
    answers = list(make().events(asking("AAPL", "BRK-B")))
    assert [type(answer) for answer in answers] == [BadAnswer] * 2
    assert [answer.values["ticker"] for answer in answers] == ["AAPL", "BRK-B"]


def test_a_symbol_the_sec_does_not_list_is_unknown(make):
    bad, nobody, apple = make().events(asking("BAD", "XYZ", "AAPL"))
    assert type(bad) is type(nobody) is UnknownTicker
    assert len(apple.events) == 3


def test_rows_that_cannot_be_read_are_left_out(make, sec):
    tomorrow = (NOW + timedelta(days=2000)).isoformat()
    sec.files["CIK0000320193.json"] = filings(
        ("8-K", "2.02", "0000-00-00", "0000-00-00T00:00:00.000Z"),
        ("8-K", "2.02", "0001-01-01", "0001-01-01T00:00:00.000Z"),
        ("8-K", "2.02", "9999-12-31", "9999-12-31T23:59:59.000Z"),
        ("8-K", "2.02", "2024-02-01", None),
        ("8-K", 2.02, 20240201, 20240201),
        ("8-K", "2.02", "2024-02-01", tomorrow),
        *UTC_ROWS,
    )
    (apple,) = make().events(asking("AAPL"))
    assert len(apple.events) == 3


def test_only_american_shares_are_asked_about():
    def symbol(**more):
        about = {"id": 1, "ticker": "BRK.B", "symbol": "x", "provider": "csv:/b"} | more
        return registry.kind("edgar").symbol(Instrument(**{"calendar": "XNYS"} | about))

    assert symbol() == "BRK-B"
    assert symbol(ticker="aapl") == "AAPL"
    assert symbol(calendar="XLON") is None
    assert symbol(asset_class="etf") is None
    assert not registry.kind("edgar").ahead
