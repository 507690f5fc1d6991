"""Sources asked in turn: what is kept, what is asked again and when, what bars are left."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest

from jobs.refresh import freshness, is_due, refresh_events
from stockbatch.events.alpha_vantage import EVENTS, AlphaVantageEvents
from stockbatch.events.base import FetchedEvents
from stockbatch.exceptions import BadAnswer, ProviderUnavailable, RateLimited, RunStopped
from stockbatch.records import Event, Timing
from tests.support.loopback import Reply, serving
from tests.support.market import Market, fetch

SUNDAY = datetime(2024, 6, 9, 7, tzinfo=UTC)
LATER = SUNDAY + timedelta(hours=2)
DATES = "SELECT ticker, date, timing, source, known_at, assumed, withdrawn_at IS NULL AS stated"
DATES += " FROM stockbatch.events AS e JOIN stockbatch.instruments AS i ON i.id = e.instrument_id"
DATES += " ORDER BY ticker, date, known_at"


@dataclass
class Source:
    """States what it is told to, by symbol: events, an error, or an exception of its code."""

    stated: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def state(self):
        return "here"

    def events(self, requests):
        for request in requests:
            self.asked.append((request.symbol, request.history))
            found = self.stated.get(request.symbol, ())
            if type(found) is ZeroDivisionError:
                raise found
            if isinstance(found, Exception):
                yield type(found)(**{**found.values, "ticker": request.symbol})
            else:
                yield found if isinstance(found, FetchedEvents) else self.answer(request, found)

    def answer(self, request, days, problem=None):
        events = tuple(Event(symbol=request.symbol, date=day) for day in days)
        return FetchedEvents(symbol=request.symbol, events=events, problem=problem)

    def close(self):
        pass


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return Market(tmp_path_factory.mktemp("market") / "market.csv")


@pytest.fixture
def fed(app, change):
    """An App whose AAA and BBB Yahoo feeds, as A and B; CCC is of a file."""
    for ticker in ("AAA", "BBB"):
        statement = "UPDATE stockbatch.instruments SET provider = 'yfinance', symbol = :s"
        change(f"{statement} WHERE ticker = :t", s=ticker[0], t=ticker)
    app.clock = lambda: LATER
    app.event_sources["yahoo"] = Source()
    return app


@pytest.fixture
def source(fed):
    return fed.event_sources["yahoo"]


def refreshed(app, since=SUNDAY, **options):
    (one,) = refresh_events(app, since, **options)
    return one


def waits(app):
    with app.transaction() as db:
        return is_due(app, db, SUNDAY)


def unreachable(reason="no route"):
    return ProviderUnavailable(provider="yahoo", ticker="", reason=reason)


def test_what_sources_state_is_kept_of_the_tickers_they_feed(fed, source):
    source.stated = {"A": [date(2024, 5, 2), date(2024, 8, 1)], "B": [date(2024, 7, 30)]}
    assert waits(fed)
    one = refreshed(fed)
    assert (one.asked, one.answered, one.new, one.complete) == (2, 2, 3, True)
    assert source.asked == [("A", True), ("B", True)]
    # what was over when it was first seen is assumed to have been known before
    assert [
        (r["ticker"], r["date"], r["source"], r["assumed"]) for r in fetch(fed.engine, DATES)
    ] == [
        ("AAA", date(2024, 5, 2), "yahoo", True),
        ("AAA", date(2024, 8, 1), "yahoo", False),
        ("BBB", date(2024, 7, 30), "yahoo", False),
    ]
    assert {r["known_at"] for r in fetch(fed.engine, DATES)} == {LATER}
    assert not waits(fed)


def test_each_is_asked_once_after_a_firing(fed, source):
    refreshed(fed)
    assert refresh_events(fed, SUNDAY) == []
    fed.clock = lambda: LATER + timedelta(days=7)
    source.asked.clear()
    refreshed(fed, SUNDAY + timedelta(days=7))
    assert source.asked == [("A", False), ("B", False)]  # their past is known


def test_a_new_ticker_is_asked_about_at_once(fed, source, change):
    refreshed(fed)
    change("DELETE FROM stockbatch.event_refreshes WHERE instrument_id ="
           " (SELECT id FROM stockbatch.instruments WHERE ticker = 'BBB')")  # fmt: skip
    source.asked.clear()
    assert waits(fed)
    refreshed(fed)
    assert source.asked == [("B", True)]


def test_the_past_is_asked_for_again_after_a_quarter(fed, source):
    refreshed(fed)
    fed.clock = lambda: LATER + timedelta(days=84)
    source.asked.clear()
    refreshed(fed, SUNDAY + timedelta(days=84))
    assert source.asked == [("A", True), ("B", True)]


def test_a_date_that_moves_keeps_its_versions(fed, source):
    source.stated = {"A": [date(2024, 8, 1)]}
    refreshed(fed)
    fed.clock = lambda: LATER + timedelta(days=7)
    source.stated = {"A": [date(2024, 8, 6)]}
    one = refreshed(fed, SUNDAY + timedelta(days=7))
    assert (one.new, one.changed, one.withdrawn) == (0, 1, 0)
    assert [(r["date"], r["stated"]) for r in fetch(fed.engine, DATES)] == [
        (date(2024, 8, 1), False),
        (date(2024, 8, 6), True),
    ]
    fed.clock = lambda: LATER + timedelta(days=14)
    source.stated = {"A": []}  # a next date that is missing is no word on it
    refreshed(fed, SUNDAY + timedelta(days=14))
    assert [r["stated"] for r in fetch(fed.engine, DATES)] == [False, True]


def test_one_that_fails_keeps_no_other_from_its_dates(fed, source):
    source.stated = {"A": BadAnswer(provider="yahoo", ticker="", reason="it is an HTML page")}
    source.stated["B"] = [date(2024, 7, 30)]
    one = refreshed(fed)
    assert (one.answered, one.complete) == (1, True)
    assert list(one.problems) == ["AAA"]
    assert "it is an HTML page" in str(one)
    assert [r["ticker"] for r in fetch(fed.engine, DATES)] == ["BBB"]
    assert not waits(fed)  # its next turn is the next firing


@pytest.mark.parametrize("error", [unreachable(), RateLimited(provider="yahoo", ticker="")])
def test_who_is_refused_for_now_is_asked_again_before_its_turn(fed, source, error):
    source.stated = {"A": error, "B": [date(2024, 7, 30)]}
    assert not refreshed(fed).complete
    source.asked.clear()
    source.stated["A"] = [date(2024, 8, 1)]
    assert waits(fed)
    assert refreshed(fed).complete
    assert source.asked == [("A", True)]
    assert not waits(fed)


def test_a_history_that_is_refused_for_now_is_asked_for_again(fed, source):
    event = Event(symbol="A", date=date(2024, 8, 1))
    source.stated = {"A": FetchedEvents(symbol="A", events=(event,), problem=unreachable())}
    one = refreshed(fed)
    assert (one.answered, one.complete) == (2, False)
    assert [r["date"] for r in fetch(fed.engine, DATES)] == [date(2024, 8, 1)]
    source.stated["A"], source.asked = [date(2024, 5, 2), date(2024, 8, 1)], []
    assert refreshed(fed).complete
    assert source.asked == [("A", True)]


def test_a_mistake_in_a_source_is_told_of_whom_it_left_without_an_answer(fed, source):
    source.stated = {"A": [date(2024, 8, 1)], "B": ZeroDivisionError("division by zero")}
    one = refreshed(fed)
    assert one.answered == 1
    assert "division by zero" in one.problems["BBB"]
    assert [r["ticker"] for r in fetch(fed.engine, DATES)] == ["AAA"]


def test_named_tickers_are_asked_about_whatever_was_before(fed, source):
    refreshed(fed)
    source.asked.clear()
    refreshed(fed, None, tickers=["BBB"])
    assert source.asked == [("B", False)]
    assert refresh_events(fed, None, tickers=["CCC"]) == []


def test_it_ends_after_a_batch_where_forecasts_are_due(fed, source, monkeypatch):
    monkeypatch.setattr("jobs.refresh.COMMIT_ANSWERS", 1)
    source.stated = {"A": [date(2024, 8, 1)], "B": [date(2024, 7, 30)]}
    one = refreshed(fed, enough=lambda: True)
    assert (one.answered, one.complete) == (1, False)
    assert refreshed(fed, enough=lambda: True).complete
    assert source.asked == [("A", True), ("B", True)]


def test_a_stop_loses_nothing_that_was_kept(fed, source, monkeypatch):
    monkeypatch.setattr("jobs.refresh.COMMIT_ANSWERS", 1)
    source.stated = {"A": [date(2024, 8, 1)], "B": [date(2024, 7, 30)]}

    def stop():
        raise RunStopped(reason="told to")

    fed.checkpoint = stop
    with pytest.raises(RunStopped):
        refresh_events(fed, SUNDAY)
    assert [r["ticker"] for r in fetch(fed.engine, DATES)] == ["AAA"]
    fed.checkpoint = lambda: None
    assert refreshed(fed).answered == 1


@pytest.mark.parametrize("sources", [(), ("edgar",), ("nobody",)])
def test_nobody_is_asked_but_who_is_set(fed, source, sources):
    fed.settings = fed.settings.model_copy(update={"event_sources": sources})
    done = refresh_events(fed, SUNDAY)
    assert source.asked == []
    assert fetch(fed.engine, DATES) == []
    if sources == ("edgar",):  # which wants a contact, and says so of every ticker
        (one,) = done
        assert one.complete
        assert all("set edgar_contact" in why for why in one.problems.values())
        assert len(one.problems) == 3
    else:
        assert done == []


def test_a_watchlist_of_files_asks_nobody(app):
    app.clock = lambda: LATER
    assert app.settings.event_sources == ("yahoo",)
    assert refresh_events(app, SUNDAY) == []
    assert not waits(app)


def test_freshness_in_a_line(fed, source):
    def said():
        with fed.transaction() as db:
            return freshness(db, fed.settings, LATER)

    assert said() == "the next report is known of 0 of 3 tickers; yahoo has not been asked"
    source.stated = {"A": unreachable(), "B": [date(2024, 5, 2), date(2024, 7, 30)]}
    refreshed(fed)
    known = "the next report is known of 1 of 3 tickers"
    why = "(yahoo could not be reached for A: no route)"
    assert said() == (
        f"{known}; yahoo last answered 2024-06-09 09:00 UTC, but not for 1 ticker {why}"
    )
    source.stated["B"] = source.stated["A"]
    fed.clock = lambda: LATER + timedelta(days=7)
    refreshed(fed, SUNDAY + timedelta(days=7))  # what was stated stays known
    assert said() == (
        f"{known}; yahoo last answered 2024-06-09 09:00 UTC, but not for 2 tickers {why}"
    )
    fed.settings = fed.settings.model_copy(update={"event_sources": ("edgar", "yahoo")})
    fed.clock = lambda: LATER + timedelta(days=8)
    refresh_events(fed, None)  # edgar wants a contact
    assert said().startswith(f"{known}; edgar has never answered (edgar ")
    assert "; yahoo last answered 2024-06-09 09:00 UTC" in said()
    fed.settings = fed.settings.model_copy(update={"event_sources": ()})
    assert said() == f"{known}; nobody is asked: event_sources is empty"


def test_bars_are_left_their_share_of_a_quota_and_the_rest_is_spread_over_days(
    fed, change, monkeypatch
):
    """Three requests a day, two of which the bars of AAA and BBB need where there is a session."""
    change("UPDATE stockbatch.instruments SET provider = 'alpha_vantage'")
    change("UPDATE stockbatch.instruments SET provider = 'csv:x' WHERE ticker = 'CCC'")
    asked = []

    def answer(path):
        function = path.partition("function=")[2].partition("&")[0]
        asked.append(function)
        if function == "EARNINGS":
            return Reply('{"quarterlyEarnings": [{"reportedDate": "2024-05-02"}]}')
        return Reply("symbol,reportDate\nA,2024-08-01\nB,2024-07-30\nCCC,2024-07-31\n")

    table = {"key": "k", "requests_per_day": 3, "requests_per_second": 100}
    fed.settings = fed.settings.model_copy(
        update={"event_sources": ("alpha_vantage",), "providers": {"alpha_vantage": table}}
    )
    now = [datetime(2024, 6, 7, 16, tzinfo=UTC)]  # a Friday, whose bars take two of three
    fed.clock = lambda: now[0]
    plain = AlphaVantageEvents.__init__
    with serving(answer) as port:
        more = {"url": f"http://127.0.0.1:{port}/query", "clock": fed.clock}
        monkeypatch.setattr(
            AlphaVantageEvents, "__init__", lambda self, *args: plain(self, *args, **more)
        )
        one = refreshed(fed, None)
        assert (one.answered, one.complete) == (3, False)
        assert asked == ["EARNINGS_CALENDAR"]
        assert [r["date"] for r in fetch(fed.engine, DATES)] == [
            date(2024, 8, 1),
            date(2024, 7, 30),
            date(2024, 7, 31),
        ]
        now[0] += timedelta(days=1)  # on a Saturday bars need none
        assert not refreshed(fed).complete
        assert asked[1:] == ["EARNINGS_CALENDAR", "EARNINGS", "EARNINGS"]
        now[0] += timedelta(days=1)
        assert refreshed(fed).complete
        assert asked[4:] == ["EARNINGS_CALENDAR", "EARNINGS"]
    spent = fetch(fed.engine, "SELECT * FROM stockbatch.provider_requests ORDER BY day, provider")
    assert [(r["provider"], r["day"].day, r["requests"]) for r in spent] == [
        ("alpha_vantage", 7, 1),
        (EVENTS, 7, 1),
        ("alpha_vantage", 8, 3),
        (EVENTS, 8, 3),
        ("alpha_vantage", 9, 2),
        (EVENTS, 9, 2),
    ]
    timings = {r["timing"] for r in fetch(fed.engine, DATES)}
    assert timings == {Timing.UNKNOWN}
