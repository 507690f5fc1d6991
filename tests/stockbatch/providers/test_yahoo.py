"""yfinance's own code against a loopback Yahoo: recorded bodies where they are, small ones else."""

import json
import math
import threading
import time
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import yfinance.cache
import yfinance.data
from numpy.testing import assert_allclose

from stockbatch.config import Settings
from stockbatch.exceptions import (
    BadAnswer,
    CannotList,
    ConfigurationError,
    NoCalendar,
    NoData,
    ProviderUnavailable,
    RateLimited,
    UnknownTicker,
)
from stockbatch.market import sessions
from stockbatch.market.adjustments import moves
from stockbatch.market.jumps import jumps
from stockbatch.market.quality import check
from stockbatch.providers import registry
from stockbatch.providers.csv.provider import CsvFiles
from stockbatch.providers.pacing import TokenBucket
from stockbatch.providers.yahoo import exchanges
from stockbatch.providers.yahoo.provider import WORKERS, Yahoo
from stockbatch.records import BarRequest, CorporateAction, Listing, Panel, PriceBasis
from tests.support.loopback import Reply
from tests.support.places import CASES, DATA

RECORDED = DATA / "yahoo_chart_json"
recorded = pytest.mark.skipif(
    not RECORDED.exists(), reason=f"needs the recorded answers in {RECORDED}"
)
MONDAY = date(2024, 6, 10)


FAST = {"first_pause": 0.01, "retry_wait": 0.01, "patience": 0.1}


@pytest.fixture
def make_yahoo(yahoo_server, tmp_path):
    """A maker of providers that find the loopback server behind Yahoo's names."""
    with yahoo_server.session(TokenBucket(1e6)) as session:
        yield lambda **options: Yahoo(tmp_path / "yfinance", session, **FAST | options)
    for thread in threading.enumerate():
        if thread.name == "yfinance":
            thread.join(10)
    yfinance.data.YfData.cache_get.cache_clear()
    type(yfinance.data.YfData)._instances.clear()
    yfinance.cache._TzDBManager.close_db()
    yfinance.cache._CookieDBManager.close_db()
    yfinance.cache._TzCacheManager._tz_cache = None
    yfinance.cache._CookieCacheManager._Cookie_cache = None


@pytest.fixture
def yahoo(make_yahoo):
    return make_yahoo()


def stamp(day, hour=13, minute=30):
    return int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC).timestamp())


def chart(days, closes, *, splits=(), dividends=(), volumes=None, **meta):
    """A chart of Yahoo's: every open is 1 % below the close, high and low 2 % away."""

    def scaled(factor):
        return [None if close is None else close * factor for close in closes]

    about = {
        "currency": "USD",
        "longName": "Test Corporation",
        "fullExchangeName": "NasdaqGS",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "validRanges": ["5d", "max"],
    }
    quote = {
        "open": scaled(0.99),
        "high": scaled(1.02),
        "low": scaled(0.98),
        "close": list(closes),
        "volume": volumes or [1000] * len(days),
    }
    events = {
        "splits": {
            str(stamp(day)): {"date": stamp(day), "numerator": up, "denominator": down}
            for day, up, down in splits
        },
        "dividends": {
            str(stamp(day)): {"date": stamp(day), "amount": amount} for day, amount in dividends
        },
    }
    result = {
        "meta": about | meta,
        "timestamp": [stamp(day) for day in days],
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": list(closes)}]},
        "events": events,
    }
    return {"chart": {"result": [result], "error": None}}


def load(name):
    return json.loads((RECORDED / f"{name}.json").read_text())


def week(count=5):
    return [MONDAY + timedelta(days=i) for i in range(count)]


def fetch(yahoo, symbol="TEST", first=None, last=date(2024, 12, 31)):
    (answer,) = yahoo.fetch([BarRequest(symbol=symbol, first=first, last=last)])
    return answer


def test_bars_come_by_session(yahoo, yahoo_server):
    yahoo_server.charts["TEST"] = chart(week(), [10, 11, 12, 13, 14])
    answer = fetch(yahoo)
    assert answer.symbol == "TEST"
    assert answer.bars.sessions.tolist() == week()
    assert answer.bars.close.tolist() == [10, 11, 12, 13, 14]
    assert_allclose(answer.bars.open, np.array([10, 11, 12, 13, 14]) * 0.99)
    assert answer.bars.volume.tolist() == [1000] * 5
    assert answer.actions == ()
    assert (yahoo.name, yahoo.price_basis) == ("yfinance", PriceBasis.AS_TRADED)


def test_splits_are_taken_out_of_prices_volumes_and_dividends(yahoo, yahoo_server):
    yahoo_server.charts["TEST"] = chart(
        week(),
        [10, 11, 12, 13, 14],
        splits=[(week()[2], 4, 1), (week()[4], 1, 2)],
        dividends=[(week()[1], 0.5), (week()[4], 0.25)],
    )
    answer = fetch(yahoo)
    assert answer.bars.close.tolist() == [20, 22, 6, 6.5, 14]
    assert answer.bars.volume.tolist() == [500, 500, 2000, 2000, 1000]
    assert set(answer.actions) == {
        CorporateAction(session=week()[2], kind="split", value=4.0),
        CorporateAction(session=week()[4], kind="split", value=0.5),
        CorporateAction(session=week()[1], kind="dividend", value=1.0),
        CorporateAction(session=week()[4], kind="dividend", value=0.25),
    }


def test_a_split_after_the_last_session_asked_for_is_taken_out_too(yahoo, yahoo_server):
    yahoo_server.charts["TEST"] = chart(week(), [10, 11, 12, 13, 14], splits=[(week()[3], 10, 1)])
    answer = fetch(yahoo, first=week()[1], last=week()[2])
    assert answer.bars.sessions.tolist() == week()[1:3]
    assert answer.bars.close.tolist() == [110, 120]
    assert answer.actions == ()
    first = datetime.fromtimestamp(int(yahoo_server.asked[-1][1]["period1"]), UTC)
    assert first.date() == week()[1]


@pytest.mark.parametrize(("up", "down"), [(1, 190), (4, 1), (1, 40), (190, 1), (5, 4)])
def test_prices_that_were_never_divided_by_a_split_are_as_traded(yahoo, yahoo_server, up, down):
    ratio = up / down
    before, after = [10, 10.1, 10.05], [10.02 / ratio, 10.1 / ratio]
    yahoo_server.charts["TEST"] = chart(
        week(), [*before, *after], splits=[(week()[3], up, down)], dividends=[(week()[4], 0.25)]
    )
    answer = fetch(yahoo)
    assert_allclose(answer.bars.close, [*before, *after])
    assert answer.bars.volume.tolist() == [1000] * 5
    split = CorporateAction(session=week()[3], kind="split", value=ratio)
    assert split in answer.actions
    (finding,) = answer.findings
    assert (finding.check, finding.session) == ("split_not_shown", week()[3])
    assert finding.observed == ratio
    assert "are not divided by it" in finding.message


def test_each_split_is_looked_at_by_itself(yahoo, yahoo_server):
    """Of two splits the older was divided by, the newer not yet."""
    yahoo_server.charts["TEST"] = chart(
        week(), [10, 10, 10.1, 10.1, 1], splits=[(week()[2], 3, 1), (week()[4], 10, 1)]
    )
    answer = fetch(yahoo)
    assert answer.bars.close.tolist() == [30, 30, 10.1, 10.1, 1]
    assert [finding.session for finding in answer.findings] == [week()[4]]


UNDIVIDED = CASES / "stated-split-not-applied" / "BCAX.json"


@pytest.mark.skipif(not UNDIVIDED.exists(), reason=f"needs the case in {UNDIVIDED}")
def test_the_reverse_split_of_a_case_is_no_rise_of_13110_percent(yahoo, yahoo_server):
    yahoo_server.charts["BCAX"] = json.loads(UNDIVIDED.read_text())
    last = date(2026, 11, 27)
    answer = fetch(yahoo, "BCAX", last=last)
    checked = check(answer, sessions.load("XNYS", last).sessions, last)
    assert [finding.check for finding in checked.findings] == ["split_not_shown"]
    (split,) = checked.actions
    assert split.value == pytest.approx(1 / 190)
    at = int(np.searchsorted(checked.accepted.sessions, np.datetime64(split.session)))
    assert_allclose(checked.accepted.close[at - 1 : at + 1], [0.019, 2.51])


def test_an_event_without_prices_is_an_action_only(yahoo, yahoo_server):
    yahoo_server.charts["TEST"] = chart(
        week(4), [10, 11, 12, 13], dividends=[(week()[4], 0.5)], splits=[(week()[4], 2, 1)]
    )
    answer = fetch(yahoo)
    assert answer.bars.sessions.tolist() == week(4)
    assert answer.bars.close.tolist() == [20, 22, 24, 26]
    assert {(action.session, action.kind) for action in answer.actions} == {
        (week()[4], "dividend"),
        (week()[4], "split"),
    }
    none = fetch(yahoo, first=week()[4], last=week()[4])
    assert isinstance(none, NoData)


def test_unknown_prices_stay_unknown(yahoo, yahoo_server):
    body = chart(week(), [10, 11, None, 13, 14])
    body["chart"]["result"][0]["indicators"]["quote"][0]["open"][3] = None
    yahoo_server.charts["TEST"] = body
    answer = fetch(yahoo)
    assert answer.bars.sessions.tolist() == [*week(2), *week()[3:]]
    assert math.isnan(answer.bars.open[2])
    calendar = sessions.load("XNYS", week()[4]).sessions
    checked = check(answer, calendar, week()[4])
    assert checked.accepted.sessions.tolist() == [week()[0], week()[1], week()[4]]
    assert {(f.check, f.session) for f in checked.findings} == {
        ("price_unknown", week()[3]),
        ("missing_session", week()[2]),
    }


@pytest.mark.parametrize(
    ("symbol", "meta", "calendar", "kind"),
    [
        ("TEST", ("EQUITY", "USD", "America/New_York"), "XNYS", "equity"),
        ("SPY", ("ETF", "USD", "America/New_York"), "XNYS", "etf"),
        ("^GSPC", ("INDEX", "USD", "America/Chicago"), "XNYS", "index"),
        ("BTC-USD", ("CRYPTOCURRENCY", "USD", "UTC"), "24/7", "crypto"),
        ("EURUSD=X", ("CURRENCY", "USD", "Europe/London"), "24/5", "currency"),
        ("OCDO.L", ("EQUITY", "GBp", "Europe/London"), "XLON", "equity"),
        ("7203.T", ("EQUITY", "JPY", "Asia/Tokyo"), "XTKS", "equity"),
        ("^N225", ("INDEX", "JPY", "Asia/Tokyo"), "XTKS", "index"),
        ("^FTSE", ("INDEX", "GBP", "Europe/London"), "XLON", "index"),
        ("^STOXX50E", ("INDEX", "EUR", "Europe/Zurich"), "XPAR", "index"),
        ("^TA35.TA", ("INDEX", "ILS", "Asia/Jerusalem"), "XTAE", "index"),
        ("OTP.BD", ("EQUITY", "HUF", "Europe/Budapest"), "XBUD", "equity"),
        ("COPEC.SN", ("EQUITY", "CLP", "America/Santiago"), "XSGO", "equity"),
        ("GGAL.BA", ("EQUITY", "ARS", "America/Buenos_Aires"), "XBUE", "equity"),
        ("CEZ.PR", ("EQUITY", "CZK", "Europe/Prague"), "XPRA", "equity"),
    ],
)
def test_listings(yahoo, yahoo_server, symbol, meta, calendar, kind):
    names = ("instrumentType", "currency", "exchangeTimezoneName")
    about = dict(zip(names, meta, strict=True))
    yahoo_server.charts[symbol] = chart(week(), [1, 2, 3, 4, 5], symbol=symbol, **about)
    assert yahoo.listing(symbol) == Listing(
        ticker=symbol,
        symbol=symbol,
        name="Test Corporation",
        calendar=calendar,
        currency=about["currency"],
        asset_class=kind,
    )


def test_every_calendar_has_a_suffix_or_a_reason_why_not():
    import exchange_calendars

    known = set(exchange_calendars.get_calendar_names(include_aliases=False))
    by_suffix = set(exchanges.CALENDARS.values())
    assert by_suffix | exchanges.WITHOUT_SUFFIX.keys() == known
    assert not by_suffix & exchanges.WITHOUT_SUFFIX.keys()
    for table in (exchanges.INDICES, exchanges.EXCHANGES, exchanges.ZONES):
        assert set(table.values()) <= known


@pytest.mark.parametrize("symbol", ["X.QA", "^MADE.UP"])
def test_an_exchange_without_a_calendar_is_refused(yahoo, yahoo_server, symbol):
    yahoo_server.charts[symbol] = chart(
        week(), [1, 2, 3, 4, 5], symbol=symbol, exchangeTimezoneName="Asia/Tokyo"
    )
    with pytest.raises(NoCalendar, match="trades on NasdaqGS"):
        yahoo.listing(symbol)


def test_yahoo_has_no_list(yahoo):
    with pytest.raises(CannotList):
        yahoo.listings()


def test_sessions_are_dates_of_the_exchange(yahoo, yahoo_server):
    body = chart(week(), [1, 2, 3, 4, 5], exchangeTimezoneName="Pacific/Auckland")
    opens = [stamp(day - timedelta(days=1), 22, 0) for day in week()]  # 10:00 of the next day there
    body["chart"]["result"][0]["timestamp"] = opens
    yahoo_server.charts["AIR.NZ"] = body
    assert fetch(yahoo, "AIR.NZ").bars.sessions.tolist() == week()


def test_a_volume_of_nothing_is_unknown_where_there_is_none(yahoo, yahoo_server):
    for kind, known in (("CURRENCY", False), ("INDEX", False), ("EQUITY", True)):
        yahoo_server.charts[kind] = chart(week(), [1] * 5, volumes=[0] * 5, instrumentType=kind)
        assert np.isfinite(fetch(yahoo, kind).bars.volume).all() == known


BAD_REQUEST = {"code": "Bad Request", "description": "Data doesn't exist for startDate = 1"}
UNAUTHORISED = {"finance": {"result": None, "error": {"code": "Unauthorized"}}}
ANSWERS = [
    ("unknown", None, UnknownTicker),
    ("HTML page", ("<html>down</html>", 500), BadAnswer),
    ("HTML with 200", ("<html>consent</html>",), BadAnswer),
    ("down", ("Will be right back",), BadAnswer),
    ("cut short", (json.dumps(chart(week(), [1] * 5))[:200],), BadAnswer),
    ("no object", ("[1]",), BadAnswer),
    ("empty object", ("{}",), BadAnswer),
    ("no authority", (json.dumps(UNAUTHORISED), 401), BadAnswer),
    ("too many", ("Too Many Requests", 429), RateLimited),
    ("nothing then", (json.dumps({"chart": {"result": None, "error": BAD_REQUEST}}), 400), NoData),
]


@pytest.mark.parametrize("known", [False, True], ids=["first time", "known zone"])
@pytest.mark.parametrize(("reply", "error"), [a[1:] for a in ANSWERS], ids=[a[0] for a in ANSWERS])
def test_refusals_are_told_apart(yahoo, yahoo_server, known, reply, error):
    if known:
        yahoo_server.charts["TEST"] = chart(week(), [1, 2, 3, 4, 5])
        fetch(yahoo)
    if reply is None:
        yahoo_server.charts.pop("TEST", None)
    else:
        yahoo_server.reply("TEST", *reply)
    answer = fetch(yahoo)
    if error is NoData and not known:
        error = UnknownTicker
    assert type(answer) is error, repr(answer)
    assert answer.values["ticker"] == "TEST"
    assert "\n" not in str(answer)


def test_no_connection(yahoo, yahoo_server):
    yahoo_server.port = 1
    answer = fetch(yahoo)
    assert type(answer) is ProviderUnavailable
    assert "ConnectionError" in str(answer)


def test_no_answer_in_time(make_yahoo, yahoo_server):
    yahoo = make_yahoo(timeout=0.1)
    yahoo_server.charts["TEST"] = chart(week(), [1, 2, 3, 4, 5])
    fetch(yahoo)
    yahoo_server.reply("TEST", "late", delay=1)
    answer = fetch(yahoo)
    assert type(answer) is ProviderUnavailable
    assert "timed out" in str(answer)


def test_an_error_reply_is_not_remembered(yahoo, yahoo_server):
    yahoo_server.reply("TEST", "<html>down</html>", 500)
    assert isinstance(fetch(yahoo), ProviderUnavailable)
    yahoo_server.charts["TEST"] = chart(week(), [1, 2, 3, 4, 5])
    assert len(fetch(yahoo).bars) == 5


TOO_MANY = Reply("Too Many Requests", 429, "text/plain")


def asking(*symbols):
    return [BarRequest(symbol=symbol, first=None, last=week()[4]) for symbol in symbols]


def test_one_refusal_is_waited_out(make_yahoo, yahoo_server):
    good = chart(week(), [1, 2, 3, 4, 5])
    yahoo_server.replies("FIRST", TOO_MANY, TOO_MANY, good)  # the second is yfinance's own retry
    for symbol in ("A", "B", "C"):
        yahoo_server.charts[symbol] = good
    begun = time.monotonic()
    answers = list(make_yahoo(first_pause=0.3, patience=1).fetch(asking("FIRST", "A", "B", "C")))
    assert {a.symbol: len(a.bars) for a in answers} == dict.fromkeys(("FIRST", "A", "B", "C"), 5)
    assert 0.3 < time.monotonic() - begun < 10


def test_patience_with_refusals_ends(make_yahoo, yahoo_server):
    yahoo_server.charts["GOOD"] = chart(week(), [1, 2, 3, 4, 5])
    symbols = [f"MUCH{number}" for number in range(40)]
    for symbol in symbols:
        yahoo_server.charts[symbol] = TOO_MANY
    yahoo = make_yahoo(patience=0.05)
    answers = list(yahoo.fetch(asking(*symbols)))
    assert {type(answer) for answer in answers} == {RateLimited}
    assert {answer.values["ticker"] for answer in answers} == set(symbols)
    assert (
        len({symbol for symbol, _ in yahoo_server.asked}) <= WORKERS
    )  # the others were not asked for
    assert len(fetch(yahoo, "GOOD").bars) == 5  # the next pass has patience of its own


def test_a_passing_failure_is_tried_again(yahoo, yahoo_server):
    page = Reply("<html>consent</html>", kind="text/html")
    for known in (False, True):
        yahoo_server.replies("TEST", page, page, chart(week(), [1, 2, 3, 4, 5]))
        assert len(fetch(yahoo).bars) == 5, known
    yahoo_server.replies("TEST", page, page, page, chart(week(), [1, 2, 3, 4, 5]))
    answer = fetch(yahoo)
    assert type(answer) is BadAnswer
    assert "it is an HTML page" in str(answer)


def test_the_text_of_a_refusal_is_no_crumb(yahoo, yahoo_server):
    yahoo_server.charts["TEST"] = chart(week(), [1, 2, 3, 4, 5])
    yahoo_server.crumb = TOO_MANY
    assert len(fetch(yahoo).bars) == 5
    yahoo_server.crumb = Reply("fresh", kind="text/plain")
    assert len(fetch(yahoo).bars) == 5
    assert yahoo_server.asked[-1][1]["crumb"] == "fresh"


def test_all_workers_share_one_pace(yahoo_server, make_yahoo):
    symbols = [f"S{number}" for number in range(8)]
    for symbol in symbols:
        yahoo_server.charts[symbol] = chart(week(), [1, 2, 3, 4, 5])
    yahoo = make_yahoo()
    list(yahoo.fetch(asking(*symbols)))  # the zones are known from here on
    yahoo._session._bucket = TokenBucket(40)
    begun = time.monotonic()
    assert len(list(yahoo.fetch(asking(*symbols)))) == 8
    assert time.monotonic() - begun > 7 / 40


def test_many_symbols_keep_their_own_bars_in_random_order(make_yahoo, yahoo_server, monkeypatch):
    symbols = [f"S{number}" for number in range(1, 41)]
    for number, symbol in enumerate(symbols, 1):
        yahoo_server.charts[symbol] = chart(week(), [number] * 5, currency=f"C{number}")
    answers = list(make_yahoo().fetch(asking(*symbols)))
    assert {a.symbol: (a.bars.close[0], a.currency) for a in answers} == {
        f"S{number}": (number, f"C{number}") for number in range(1, 41)
    }
    monkeypatch.setattr("stockbatch.providers.yahoo.provider.WORKERS", 1)
    in_turn = [answer.symbol for answer in make_yahoo().fetch(asking(*symbols))]
    assert sorted(in_turn) == sorted(symbols)
    assert in_turn != symbols


def test_closing_the_answers_stops_the_workers(make_yahoo, yahoo_server):
    symbols = [f"S{number}" for number in range(50)]
    for symbol in symbols:
        yahoo_server.charts[symbol] = chart(week(), [1, 2, 3, 4, 5])
    yahoo_server.charts["S7"] = TOO_MANY  # a worker may be in a pause of a minute
    answers = make_yahoo(first_pause=60, patience=60).fetch(asking(*symbols))
    next(answers)
    begun = time.monotonic()
    answers.close()
    workers = [thread for thread in threading.enumerate() if thread.name == "yfinance"]
    for worker in workers:
        worker.join(5)
    assert not any(worker.is_alive() for worker in workers)
    assert time.monotonic() - begun < 5


def test_a_failure_of_code_comes_out(yahoo, yahoo_server, monkeypatch):
    yahoo_server.charts["TEST"] = chart(week(), [1, 2, 3, 4, 5])
    monkeypatch.setattr("stockbatch.providers.yahoo.chart.fetched_bars", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fetch(yahoo)


def test_another_symbol_or_interval_than_asked_for_is_refused(yahoo, yahoo_server):
    yahoo_server.charts["FB"] = chart(week(), [1, 2, 3, 4, 5], symbol="META")
    answer = fetch(yahoo, "FB")
    assert type(answer) is UnknownTicker
    assert "answers for META" in str(answer)
    yahoo_server.charts["FB"] = chart(week(), [1, 2, 3, 4, 5], dataGranularity="1mo")
    answer = fetch(yahoo, "FB")
    assert type(answer) is BadAnswer
    assert "bars are of 1mo" in str(answer)


def test_the_last_session_may_lack_its_prices(yahoo, yahoo_server):
    yahoo_server.charts["NAN"] = chart(week(), [10, 11, 12, 13, None])
    yahoo_server.charts["MISSING"] = chart(week(4), [10, 11, 12, 13])
    for symbol in ("NAN", "MISSING"):
        answer = fetch(yahoo, symbol, first=week()[1], last=week()[4])
        assert answer.bars.sessions.tolist() == week()[1:4]
        none = fetch(yahoo, symbol, first=week()[4], last=week()[4])
        assert type(none) is NoData, repr(none)


def test_a_close_alone_is_no_bar_to_accept(yahoo, yahoo_server):
    body = chart(week(), [10, 11, 12, 13, 14])
    quote = body["chart"]["result"][0]["indicators"]["quote"][0]
    for name in ("open", "high", "low", "volume"):
        quote[name][2] = None
    yahoo_server.charts["TEST"] = body
    answer = fetch(yahoo)
    assert answer.bars.sessions.tolist() == week()
    checked = check(answer, sessions.load("XNYS", week()[4]).sessions, week()[4])
    assert checked.accepted.sessions.tolist() == [*week(2), *week()[3:]]


def test_a_row_of_today_leaks_in_and_is_cut(yahoo, yahoo_server):
    live = stamp(week()[4], 15, 42)
    body = chart(week(), [10, 11, 12, 13, 99], regularMarketTime=live)
    body["chart"]["result"][0]["timestamp"][4] = live
    yahoo_server.charts["TEST"] = body
    assert fetch(yahoo, last=week()[3]).bars.close.tolist() == [10, 11, 12, 13]


def test_of_a_last_row_twice_the_live_one_counts(yahoo, yahoo_server):
    body = chart([*week(), week()[4]], [10, 11, 12, 13, 14, 14.5])
    body["chart"]["result"][0]["timestamp"][5] = stamp(week()[4], 20, 0)
    yahoo_server.charts["TEST"] = body
    answer = fetch(yahoo)
    assert answer.bars.sessions.tolist() == week()
    assert answer.bars.close.tolist() == [10, 11, 12, 13, 14.5]


def test_a_split_between_two_fetches_leaves_the_bars_as_they_were(yahoo, yahoo_server):
    yahoo_server.charts["TEST"] = chart(week(4), [40, 44, 48, 52], dividends=[(week()[1], 2)])
    before = fetch(yahoo, last=week()[3])
    yahoo_server.charts["TEST"] = chart(
        week(),
        [10, 11, 12, 13, 14],
        splits=[(week()[4], 4, 1)],
        dividends=[(week()[1], 0.5)],
        volumes=[4000] * 5,
    )
    after = fetch(yahoo, last=week()[4])
    for name in ("open", "high", "low", "close", "volume"):
        assert_allclose(getattr(after.bars, name)[:4], getattr(before.bars, name), rtol=1e-12)
    assert after.bars.close[4] == 14
    assert set(after.actions) - set(before.actions) == {
        CorporateAction(session=week()[4], kind="split", value=4.0)
    }


def test_a_split_of_today_is_seen_before_the_open(make_yahoo, yahoo_server):
    yahoo_server.charts["TEST"] = chart(week(4), [10, 11, 12, 13], splits=[(week()[4], 4, 1)])
    yahoo = make_yahoo(clock=lambda: datetime(2024, 6, 14, 8, tzinfo=UTC))
    assert fetch(yahoo, last=week()[3]).bars.close.tolist() == [40, 44, 48, 52]


def test_an_event_in_a_hole_of_the_bars_is_dated_before_it(yahoo, yahoo_server):
    """What yfinance does, as the guide says; a row of nulls keeps the date."""
    days = [week()[0], week()[1], week()[3]]
    yahoo_server.charts["TEST"] = chart(days, [10, 11, 12], dividends=[(week()[2], 0.5)])
    assert [action.session for action in fetch(yahoo).actions] == [week()[1]]
    yahoo_server.charts["TEST"] = chart(
        week(4), [10, 11, None, 12], dividends=[(week()[2], 0.5)], splits=[(week()[2], 2, 1)]
    )
    answer = fetch(yahoo)
    assert {action.session for action in answer.actions} == {week()[2]}
    assert answer.bars.close.tolist() == [20, 22, 12]


def test_prices_stay_in_the_unit_they_are_quoted_in(yahoo, yahoo_server):
    for symbol, unit in (("OCDO.L", "GBp"), ("NPN.JO", "ZAc"), ("TEVA.TA", "ILA")):
        zone = "Europe/London"
        yahoo_server.charts[symbol] = chart(
            week(), [1250, 1251, 1252, 1253, 1254], currency=unit, exchangeTimezoneName=zone
        )
        answer = fetch(yahoo, symbol)
        assert (answer.currency, answer.bars.close[0]) == (unit, 1250)
        assert yahoo.listing(symbol).currency == unit


def test_the_state_of_the_caches(make_yahoo, tmp_path):
    assert str(tmp_path / "yfinance") in make_yahoo().state()
    blocked = Yahoo(tmp_path / "file" / "yfinance", session=None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        blocked.state()


def test_no_requests_and_no_name(yahoo):
    assert list(yahoo.fetch([])) == []
    assert isinstance(fetch(yahoo, ""), UnknownTicker)


def test_the_factory_keeps_the_cache_in_the_home(tmp_path):
    provider = registry.create("yfinance", Settings(home=tmp_path))
    assert provider.specification == "yfinance"
    assert yfinance.cache._TzDBManager.get_location() == str(tmp_path / "yfinance")


@recorded
@pytest.mark.parametrize(
    ("symbol", "name", "bars", "calendar", "currency"),
    [
        ("AAPL", "AAPL_2020_split", 49, "XNYS", "USD"),
        ("MSFT", "MSFT_2021_dividends", 252, "XNYS", "USD"),
        ("NVDA", "NVDA_2021_split", 252, "XNYS", "USD"),
        ("TSLA", "TSLA_2010_2023", 3303, "XNYS", "USD"),
        ("BTC-USD", "BTC-USD", 3, "24/7", "USD"),
        ("EURUSD=X", "EURUSD=X", 3, "24/5", "USD"),
        ("OCDO.L", "OCDO.L", 1, "XLON", "GBp"),
    ],
)
def test_recorded_answers_pass_every_check(
    yahoo, yahoo_server, symbol, name, bars, calendar, currency
):
    yahoo_server.charts[symbol] = load(name)
    listing = yahoo.listing(symbol)
    assert (listing.calendar, listing.currency) == (calendar, currency)
    answer = fetch(yahoo, symbol)
    assert len(answer.bars) == bars
    checked = check(
        answer, sessions.load(calendar, date(2024, 12, 31)).sessions, date(2024, 12, 31)
    )
    assert len(checked.accepted) == bars
    assert checked.findings == ()


@recorded
def test_a_recorded_answer_without_prices(yahoo, yahoo_server):
    yahoo_server.charts["CAPIO.ST"] = load("no_data")
    assert isinstance(fetch(yahoo, "CAPIO.ST"), NoData)
    with pytest.raises(UnknownTicker, match="no prices"):
        yahoo.listing("CAPIO.ST")


@recorded
def test_the_recorded_split_leaves_no_jump(yahoo, yahoo_server):
    yahoo_server.charts["NVDA"] = load("NVDA_2021_split")
    answer = fetch(yahoo, "NVDA")
    split = CorporateAction(session=date(2021, 7, 20), kind="split", value=4.0)
    assert answer.actions == (split,)
    days = answer.bars.sessions
    ratios = np.where(days == np.datetime64(split.session), 4.0, 1.0)
    panel = Panel(
        tickers=("NVDA",),
        sessions=days,
        split=ratios[None],
        dividend=np.zeros((1, len(days))),
        confirmed=np.zeros((1, len(days)), bool),
        **{
            name: getattr(answer.bars, name)[None]
            for name in ("open", "high", "low", "close", "volume")
        },
    )
    assert np.nanmax(np.abs(moves(panel).total)) < 0.12
    assert not jumps(moves(panel)).masked.any()


@recorded
def test_prices_as_traded_agree_with_another_source(yahoo, yahoo_server):
    body = load("TSLA_2010_2023")
    body["chart"]["result"][0]["events"] = chart(
        [], [], splits=[(date(2020, 8, 31), 5, 1), (date(2022, 8, 25), 3, 1)]
    )["chart"]["result"][0]["events"]
    yahoo_server.charts["TSLA"] = body
    last = date(2021, 3, 31)
    mine = fetch(yahoo, "TSLA", last=last)
    request = BarRequest(symbol="TSLA", first=None, last=last)
    (theirs,) = CsvFiles(str(DATA / "alpha_vantage_csv")).fetch([request])
    common, left, right = np.intersect1d(
        mine.bars.sessions, theirs.bars.sessions, return_indices=True
    )
    assert len(common) > 2700
    ratio = mine.bars.close[left] / theirs.bars.close[right]
    assert np.quantile(np.abs(ratio - 1), 0.99) < 1e-3
    assert [a for a in mine.actions if a.kind == "split"] == list(theirs.actions)
