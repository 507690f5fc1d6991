from datetime import date

import pytest

from stockbatch.config import Settings
from stockbatch.exceptions import NoData, UnknownTicker
from stockbatch.market import sessions
from stockbatch.market.quality import check
from stockbatch.providers import registry
from stockbatch.records import BarRequest, PriceBasis

LAST = date(2018, 12, 31)


@pytest.fixture
def demo():
    return registry.create("demo", Settings())


def test_two_indices_are_listed(demo):
    assert {listing.ticker: listing.name for listing in demo.listings()} == {
        "^GSPC": "S&P 500",
        "^IXIC": "NASDAQ Composite",
    }
    assert demo.listing("^GSPC").asset_class == "index"
    assert (demo.name, demo.specification) == ("demo", "demo")
    assert demo.price_basis is PriceBasis.AS_TRADED
    with pytest.raises(UnknownTicker, match="did you mean"):
        demo.listing("GSPC")


def test_twenty_years_of_good_bars(demo):
    calendar = sessions.load("XNYS", LAST).sessions
    requests = [BarRequest(symbol=one.symbol, first=None, last=LAST) for one in demo.listings()]
    for answer in demo.fetch(requests):
        checked = check(answer, calendar, LAST)
        assert len(checked.accepted) == len(answer.bars) == 5031
        assert checked.findings == ()


def test_slices(demo):
    first, last = date(2018, 2, 5), date(2018, 2, 6)
    answer, unknown, none = demo.fetch(
        [
            BarRequest(symbol="^GSPC", first=first, last=last),
            BarRequest(symbol="AAPL", first=None, last=last),
            BarRequest(symbol="^IXIC", first=date(2019, 1, 1), last=date(2019, 1, 2)),
        ]
    )
    assert answer.bars.sessions.tolist() == [first, last]
    assert answer.bars.close.round(2).tolist() == [2648.94, 2695.14]
    assert isinstance(unknown, UnknownTicker)
    assert isinstance(none, NoData)
    assert [error.values["ticker"] for error in (unknown, none)] == ["AAPL", "^IXIC"]
