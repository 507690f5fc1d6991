"""Alpha Vantage on the loopback interface: recorded answers where they are, composed ones else."""

import csv
import json
import logging
import threading
from datetime import UTC, date, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from numpy.testing import assert_array_equal
from sqlalchemy import text

from jobs.app import RequestLedger
from stockbatch.config import Settings
from stockbatch.config.text import describe
from stockbatch.exceptions import (
    BadAnswer,
    CannotList,
    KeyRefused,
    NoCalendar,
    NoData,
    NoKey,
    PremiumOnly,
    ProviderUnavailable,
    QuotaSpent,
    RateLimited,
    UnknownTicker,
)
from stockbatch.providers import registry
from stockbatch.providers.alpha_vantage.provider import AlphaVantage
from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.providers.csv.provider import CsvFiles
from stockbatch.records import BarRequest, CorporateAction, Listing, PriceBasis
from stockbatch.store import quota
from tests.support.loopback import Reply, serving
from tests.support.places import DATA

RECORDED = DATA / "alpha_vantage_json"
recorded = pytest.mark.skipif(
    not RECORDED.exists(), reason=f"needs the recorded answers in {RECORDED}"
)
KEY = "S3CR3T+KEY"
NOW = datetime(2024, 6, 15, 2, 30, tzinfo=UTC)  # 22:30 of the 14th in New York
LAST = date(2024, 6, 14)
ROWS = {
    "2024-06-14": ("30.0", "31", "29", "30.5", "30.5", "3000", "0.0", "0.33333"),
    "2024-06-13": ("10", "11", "9", "10.25", "30.75", "1000", "0.5", "1.0"),
    "2024-06-12": ("70", "71", "69", "70.5", "30.2", "500", "0.0000", "7.00000700001"),
}
NAMES = (
    *("open", "high", "low", "close", "adjusted close", "volume"),
    *("dividend amount", "split coefficient"),
)


def series(rows=ROWS, symbol="IBM", adjusted=True):
    names = NAMES if adjusted else tuple(name for name in NAMES[:6] if "adjusted" not in name)
    days = {
        day: {f"{number}. {name}": cells[NAMES.index(name)] for number, name in enumerate(names, 1)}
        for day, cells in rows.items()
    }
    return json.dumps({"Meta Data": {"2. Symbol": symbol}, "Time Series (Daily)": days})


SETTINGS = AlphaVantageSettings.model_fields.keys()


class Counter:
    """A ledger in memory."""

    def __init__(self):
        self.spent = {}

    def spend(self, provider, day, limit):
        used = self.spent.get((provider, day), 0)
        if used >= limit:
            return False
        self.spent[provider, day] = used + 1
        return True


class Vantage:
    """What the server answers, one after the other and for ever with the last, and was asked."""

    def __init__(self):
        self.port = 0
        self.replies = [Reply(series())]
        self.asked = []

    def answer(self, path):
        self.asked.append({k: v[0] for k, v in parse_qs(urlsplit(path).query).items()})
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def vantage():
    made = Vantage()
    with serving(made.answer) as port:
        made.port = port
        yield made


@pytest.fixture
def make(vantage):
    def provider(key=KEY, key_file=None, **options):
        values = {"key": key, "key_file": key_file, "requests_per_second": 100}
        values |= {name: options.pop(name) for name in SETTINGS & options.keys()}
        with_ = {
            "quota": Counter(),
            "url": f"http://127.0.0.1:{vantage.port}/query",
            "retry_wait": 0.001,
            "clock": lambda: NOW,
        }
        return AlphaVantage(AlphaVantageSettings(**values), **with_ | options)

    return provider


def asking(*symbols, first=None, last=LAST):
    return [BarRequest(symbol=symbol, first=first, last=last) for symbol in symbols]


def fetch(provider, symbol="IBM", **window):
    (answer,) = provider.fetch(asking(symbol, **window))
    return answer


def test_prices_are_as_traded_with_actions_beside_them(make, vantage):
    vantage.replies = [Reply(series())]
    provider = make(premium=True)
    answer = fetch(provider)
    assert provider.price_basis is PriceBasis.AS_TRADED
    assert [str(day) for day in answer.bars.sessions] == sorted(ROWS)
    assert answer.bars.close.tolist() == [70.5, 10.25, 30.5]
    assert answer.bars.volume.tolist() == [500, 1000, 3000]
    assert set(answer.actions) == {
        CorporateAction(session=date(2024, 6, 12), kind="split", value=7.0),
        CorporateAction(session=date(2024, 6, 14), kind="split", value=1 / 3),
        CorporateAction(session=date(2024, 6, 13), kind="dividend", value=0.5),
    }


def test_raw_prices_without_actions(make, vantage):
    vantage.replies = [Reply(series(adjusted=False))]
    answer = fetch(make(), first=date(2024, 6, 13), last=date(2024, 6, 13))
    assert answer.bars.sessions.tolist() == [date(2024, 6, 13)]
    assert (answer.bars.close.tolist(), answer.actions) == ([10.25], ())


@pytest.mark.parametrize(
    ("premium", "first", "function", "size"),
    [
        (False, None, "TIME_SERIES_DAILY", "compact"),
        (False, date(2024, 6, 1), "TIME_SERIES_DAILY", "compact"),
        (True, None, "TIME_SERIES_DAILY_ADJUSTED", "full"),
        (True, date(2023, 6, 1), "TIME_SERIES_DAILY_ADJUSTED", "full"),
        (True, date(2024, 6, 1), "TIME_SERIES_DAILY_ADJUSTED", "compact"),
    ],
)
def test_no_more_is_asked_for_than_the_key_gives(make, vantage, premium, first, function, size):
    fetch(make(premium=premium), first=first)
    (asked,) = vantage.asked
    assert asked == {
        "function": function,
        "symbol": "IBM",
        "outputsize": size,
        "datatype": "json",
        "apikey": KEY,
    }


def told(message, name="Information"):
    return json.dumps({name: message})


PREMIUM = "Please subscribe to any of the premium plans at https://www.alphavantage.co/premium/"
REFUSALS = [
    (
        told(f"We have detected your API key as {KEY} and our standard API rate limit is 25"
             f" requests per day. {PREMIUM} to instantly remove all daily rate limits."),
        QuotaSpent,
    ),
    (
        told("Please consider spreading out your free API requests more sparingly (1 request per"
             f" second). {PREMIUM} to lift the free key rate limit (25 requests per day)."),
        RateLimited,
    ),
    (
        told("Our standard API call frequency is 5 calls per minute, 500 calls per day.", "Note"),
        RateLimited,
    ),
    (told(f"Burst pattern detected: {PREMIUM} 25 requests per day."), RateLimited),
    (told(f"The outputsize=full parameter value is a premium feature. {PREMIUM}"), PremiumOnly),
    (told("Thank you! This is a premium endpoint."), PremiumOnly),
    (told("Invalid API call. Please retry for TIME_SERIES_DAILY.", "Error Message"), UnknownTicker),
    (told("the parameter apikey is invalid or missing.", "Error Message"), KeyRefused),
    (told("The **demo** API key is for demo purposes only."), KeyRefused),
    (told(f"Something new about {KEY}."), BadAnswer),
    ("{}", BadAnswer),
    ("[]", BadAnswer),
    ('{"Time Series (Daily)": 3, "Meta Data": {}}', BadAnswer),
    (series()[:300], BadAnswer),
    (series(symbol="IBN"), BadAnswer),
    ("<html>busy</html>", BadAnswer),
    ("", BadAnswer),
    ("timestamp,open\r\n2024-06-14,1\r\n", BadAnswer),
    ("[" * 100_000, BadAnswer),
]  # fmt: skip


@pytest.mark.parametrize(("body", "error"), REFUSALS)
def test_refusals_are_told_apart(make, vantage, caplog, body, error):
    caplog.set_level(logging.DEBUG)
    vantage.replies = [Reply(body)]
    answer = fetch(make())
    assert type(answer) is error, repr(answer)
    assert answer.values["ticker"] == "IBM"
    assert "\n" not in str(answer)
    assert KEY not in str(answer) + repr(answer) + caplog.text
    transient = isinstance(answer, ProviderUnavailable) or type(answer) is RateLimited
    assert len(vantage.asked) == (2 if transient else 1)


@recorded
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("error_invalid_call", UnknownTicker),
        ("information_25_per_day", QuotaSpent),
        ("information_burst", RateLimited),
        ("information_premium_endpoint", PremiumOnly),
        ("note_5_per_minute", RateLimited),
    ],
)
def test_recorded_refusals(make, vantage, name, error):
    vantage.replies = [Reply((RECORDED / f"{name}.json").read_text())]
    assert type(fetch(make())) is error


@recorded
@pytest.mark.parametrize(("name", "actions"), [("daily", 0), ("daily_adjusted", 1)])
def test_recorded_answers(make, vantage, name, actions):
    vantage.replies = [Reply((RECORDED / f"{name}.json").read_text())]
    answer = fetch(make())
    assert answer.bars.sessions.tolist() == [date(2020, 5, 7), date(2020, 5, 8)]
    assert answer.bars.open.tolist() == [122.98, 122.67]
    assert len(answer.actions) == actions


@recorded
def test_a_whole_recorded_history_reads_as_the_file_does(make, vantage):
    file = DATA / "alpha_vantage_csv" / "AAPL.csv"
    with file.open(newline="") as lines:
        rows = {row["timestamp"]: _cells(row) for row in csv.DictReader(lines)}
    vantage.replies = [Reply(series(rows, "AAPL"))]
    mine = fetch(make(premium=True), "AAPL")
    (theirs,) = CsvFiles(str(file)).fetch(asking("AAPL"))
    for name in ("sessions", "open", "high", "low", "close", "volume"):
        assert_array_equal(getattr(mine.bars, name), getattr(theirs.bars, name))
    assert sorted(mine.actions, key=str) == sorted(theirs.actions, key=str)
    assert [a.value for a in mine.actions if a.kind == "split"] == [2, 2, 7, 4]


def _cells(row):
    return tuple(row[name.replace(" ", "_")] for name in NAMES)


def test_a_passing_failure_is_tried_again_once(make, vantage):
    for reply in (Reply(REFUSALS[1][0]), Reply("", 503), Reply("", 429), Reply("<html>")):
        vantage.replies = [reply, Reply(series())]
        assert len(fetch(make()).bars) == 3
    vantage.replies = [Reply("", 503), Reply("", 503), Reply(series())]
    answer = fetch(make())
    assert type(answer) is ProviderUnavailable
    assert "HTTP status 503" in str(answer)


def test_no_connection_tells_no_key(make, vantage):
    answer = fetch(make(url="http://127.0.0.1:1/query"))
    assert type(answer) is ProviderUnavailable
    vantage.replies = [Reply("late", delay=1)]
    late = fetch(make(timeout=0.1))
    assert type(late) is ProviderUnavailable
    for error in (answer, late):
        assert "S3CR3T" not in str(error) + repr(error.values) + repr(error.__cause__)


def test_good_rows_are_kept_beside_bad_cells(make, vantage):
    rows = ROWS | {"2024-06-11": ("1,2,3", "x", None, "10", "", [], "n", ""), "soon": ["1"] * 8}
    vantage.replies = [Reply(series(rows))]
    answer = fetch(make())
    assert [str(day) for day in answer.bars.sessions] == ["2024-06-11", *sorted(ROWS), "NaT"]
    assert answer.bars.close.tolist() == [10, 70.5, 10.25, 30.5, 1]
    assert_array_equal([answer.bars.open[0], answer.bars.low[0]], float("nan"))


def test_nothing_in_the_window(make):
    answer = fetch(make(), first=date(2024, 6, 15), last=date(2024, 6, 20))
    assert type(answer) is NoData


def test_a_spent_quota_names_when_it_resets(make, vantage):
    ledger = Counter()
    provider = make(quota=ledger, requests_per_day=2)
    answers = list(provider.fetch(asking("IBM", "IBM", "IBM", "IBM")))
    assert [type(answer).__name__ for answer in answers] == [
        "FetchedBars", "FetchedBars", "QuotaSpent", "QuotaSpent",
    ]  # fmt: skip
    assert str(answers[3]) == (
        "alpha_vantage does not answer for IBM: the requests of a day (2) are spent, the next can"
        " be made after 2024-06-15 04:00 UTC (midnight in New York)"
    )
    assert len(vantage.asked) == 2
    assert ledger.spent == {("alpha_vantage", date(2024, 6, 14)): 2}
    tomorrow = datetime(2024, 6, 15, 4, 0, tzinfo=UTC)
    assert len(fetch(make(quota=ledger, requests_per_day=2, clock=lambda: tomorrow)).bars) == 3


def test_a_quota_that_the_server_says_is_spent_ends_the_pass(make, vantage):
    vantage.replies = [Reply(REFUSALS[0][0])]
    answers = list(make().fetch(asking("A", "B", "C")))
    assert [type(answer) for answer in answers] == [QuotaSpent] * 3
    assert [answer.values["ticker"] for answer in answers] == ["A", "B", "C"]
    assert len(vantage.asked) == 1


def test_keys_come_from_the_environment_or_a_file(make, vantage, tmp_path):
    file = tmp_path / "key"
    for content, reason in ((None, "No such file"), ("", "is empty"), ("\udcff", "no text")):
        if content is not None:
            file.write_text(content, errors="surrogateescape")
        answer = fetch(make(None, file))
        assert type(answer) is NoKey
        assert reason in str(answer)
    file.write_text(f"{KEY}\n")
    assert len(fetch(make(None, file)).bars) == 3
    assert vantage.asked[-1]["apikey"] == KEY
    assert "25 requests a day" in make(None, file).state()
    with pytest.raises(NoKey, match="set STOCKBATCH_PROVIDERS__ALPHA_VANTAGE__KEY in"):
        make(None).state()
    assert type(fetch(make(None))) is NoKey


def test_the_factory_reads_the_settings(tmp_path):
    settings = Settings(home=tmp_path, providers={"alpha_vantage": {"key": KEY, "premium": True}})
    provider = registry.create("alpha_vantage", settings, Counter())
    assert (provider.name, provider.specification) == ("alpha_vantage", "alpha_vantage")
    assert "premium" in provider.state()
    shown = describe(settings, registry.models()), repr(settings), settings.model_dump_json()
    assert KEY not in str(shown) + repr(vars(provider))


FOUND = {
    "bestMatches": [
        {"1. symbol": "TSCO.LON", "2. name": "Tesco PLC", "3. type": "Equity",
         "4. region": "United Kingdom", "8. currency": "GBX"},
        {"1. symbol": "BRK-A", "2. name": "Berkshire", "3. type": "Equity",
         "4. region": "United States", "8. currency": "USD"},
        {"1. symbol": "TSCO.XYZ", "2. name": "?", "3. type": "Equity", "4. region": "Far away"},
        7,
    ]
}  # fmt: skip


def test_listings(make, vantage):
    vantage.replies = [Reply(json.dumps(FOUND))]
    provider = make()
    assert provider.listing("TSCO.LON") == Listing(
        ticker="TSCO.LON",
        symbol="TSCO.LON",
        name="Tesco PLC",
        calendar="XLON",
        currency="GBp",
        asset_class="equity",
    )
    assert provider.listing("BRK-A").calendar == "XNYS"
    assert vantage.asked[0]["keywords"] == "TSCO.LON"
    with pytest.raises(UnknownTicker, match=r"did you mean TSCO\.LON"):
        provider.listing("TSCO.LO")
    with pytest.raises(NoCalendar, match="Far away"):
        provider.listing("TSCO.XYZ")
    with pytest.raises(CannotList):
        provider.listings()
    vantage.replies = [Reply("{}")]
    with pytest.raises(BadAnswer):
        provider.listing("IBM")


def test_requests_are_counted_by_provider_and_day(db):
    day, later = date(2024, 6, 14), date(2024, 6, 15)
    assert [quota.spend(db, "a", day, 2) for _ in range(3)] == [True, True, False]
    assert quota.spend(db, "a", later, 2)
    assert quota.spend(db, "b", day, 2)
    assert quota.spend(db, "a", day, 3)
    rows = "SELECT provider, day, requests FROM stockbatch.provider_requests ORDER BY 1, 2"
    assert [tuple(row) for row in db.execute(text(rows))] == [
        ("a", day, 3), ("a", later, 1), ("b", day, 1),
    ]  # fmt: skip


def test_processes_at_once_do_not_overspend(writer):
    ledger = RequestLedger(writer)
    granted = []

    def ask():
        granted.extend(ledger.spend("alpha_vantage", LAST, 25) for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), sum(granted)) == (40, 25)
    assert not RequestLedger(writer).spend("alpha_vantage", LAST, 25)


def test_an_app_counts_in_its_database(app, vantage):
    app.settings = app.settings.model_copy(
        update={"providers": {"alpha_vantage": {"key": KEY, "requests_per_day": 1}}}
    )
    provider = app.provider("alpha_vantage")
    provider._client._url = f"http://127.0.0.1:{vantage.port}/query"
    assert len(fetch(provider).bars) == 3
    assert type(fetch(provider)) is QuotaSpent
    with app.transaction() as db:
        assert db.scalar(text("SELECT sum(requests) FROM stockbatch.provider_requests")) == 1
