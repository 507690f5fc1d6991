"""The watchlist."""

import pytest

from stockbatch.exceptions import DuplicateInstrument, NoInstruments, UnknownInstrument
from stockbatch.records import Instrument, Listing
from stockbatch.store import instruments
from tests.support.ledger import listed


def test_an_added_ticker_is_on_the_watchlist_with_all_its_provider_said(db):
    listing = Listing(
        ticker="BRK-B",
        symbol="BRK.B",
        name="Berkshire Hathaway",
        calendar="XNYS",
        currency="USD",
        asset_class="equity",
    )
    assert instruments.add(db, [listing], provider="yfinance") == 1
    (found,) = instruments.active(db)
    assert found == Instrument(
        id=found.id,
        ticker="BRK-B",
        symbol="BRK.B",
        provider="yfinance",
        calendar="XNYS",
        name="Berkshire Hathaway",
        currency="USD",
    )


def test_a_duplicate_is_refused_with_the_provider_that_feeds_it_and_nothing_is_added(db):
    listed(db, "AAA")
    with pytest.raises(DuplicateInstrument) as raised:
        listed(db, "NEW", "AAA")
    assert str(raised.value) == "AAA is on the watchlist already, fed by csv:/bars.csv"
    assert [i.ticker for i in instruments.active(db)] == ["AAA"]


def test_adding_nothing_adds_nothing(db):
    assert instruments.add(db, [], provider="demo") == 0
    assert instruments.active(db) == []


def test_a_removed_ticker_is_gone_from_the_watchlist_and_keeps_its_row(db):
    (before,) = listed(db, "AAA")
    instruments.remove(db, ["AAA"])
    assert instruments.active(db) == []
    with pytest.raises(UnknownInstrument):
        instruments.find(db, ["AAA"])

    listing = Listing(ticker="AAA", symbol="aaa.us", currency="EUR")
    instruments.add(db, [listing], provider="yfinance", demo=True)
    (again,) = instruments.active(db)
    assert again.id == before.id
    assert (again.symbol, again.provider, again.currency) == ("aaa.us", "yfinance", "EUR")
    assert again.demo


def test_removing_an_unknown_ticker_removes_none(db):
    listed(db, "AAA")
    with pytest.raises(UnknownInstrument, match="ZZZ is not on the watchlist"):
        instruments.remove(db, ["AAA", "ZZZ"])
    assert [i.ticker for i in instruments.active(db)] == ["AAA"]


def test_found_tickers_come_in_the_order_asked_for_each_once(db):
    listed(db, "AAA", "BBB", "CCC")
    assert [i.ticker for i in instruments.find(db, ["CCC", "AAA", "CCC"])] == ["CCC", "AAA"]


def test_the_watchlist_of_a_calendar_is_sorted_by_ticker(db):
    listed(db, "CCC", "AAA")
    london = Listing(ticker="BBB", symbol="BBB.L", calendar="XLON")
    instruments.add(db, [london], provider="yfinance")
    assert [i.ticker for i in instruments.active(db)] == ["AAA", "BBB", "CCC"]
    assert [i.ticker for i in instruments.active(db, "XNYS")] == ["AAA", "CCC"]


def test_a_run_handles_what_is_due_or_what_is_named(db):
    listed(db, "AAA", "BBB")
    listed(db, "^DEMO", demo=True)
    due = instruments.work_list(db, "XNYS", None)
    assert [i.ticker for i in due] == ["AAA", "BBB"]
    named = instruments.work_list(db, "XNYS", ["^DEMO", "AAA"])
    assert [i.ticker for i in named] == ["^DEMO", "AAA"]


def test_a_run_with_nothing_to_handle_says_so(db):
    with pytest.raises(NoInstruments, match="watchlist is empty"):
        instruments.calendars(db, None)
    listed(db, "^DEMO", demo=True)
    with pytest.raises(NoInstruments, match="watchlist, demonstration data aside, is empty"):
        instruments.calendars(db, None)
    assert instruments.calendars(db, ["^DEMO"]) == ["XNYS"]
    with pytest.raises(NoInstruments, match="watchlist of XNYS is empty"):
        instruments.work_list(db, "XNYS", None)
    with pytest.raises(NoInstruments, match="watchlist of XLON is empty"):
        instruments.work_list(db, "XLON", ["^DEMO"])
    with pytest.raises(UnknownInstrument):
        instruments.work_list(db, "XNYS", ["ZZZ"])
