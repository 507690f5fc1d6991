"""Groups of tickers, as they are kept and as they are read."""

import pytest

from stockbatch.exceptions import BadName, UnknownGroup
from stockbatch.records import GroupKind, Listing
from stockbatch.store import bi, instruments, labels
from tests.support.ledger import listed, rows

TAG, WATCHLIST, SECTOR = GroupKind.TAG, GroupKind.WATCHLIST, GroupKind.SECTOR
HOSTILE = ("=cmd|' /C calc'!A0", "+1", "-x", "@x", "[red]x", "A" * 10_000, "a\u202eb", "a\x1b[2Jb")


@pytest.fixture
def three(db):
    """Three tickers of an exchange."""
    return listed(db, "AAA", "BBB", "CCC")


def ids(tickers, *wanted):
    return [one.id for one in tickers if one.ticker in wanted]


def test_a_ticker_is_in_one_sector_and_in_any_number_of_others(db, three):
    labels.put(db, SECTOR, "Energy", ids(three, "AAA", "BBB"))
    labels.put(db, SECTOR, "Utilities", ids(three, "BBB"))
    for name in ("value", "growth", "value"):
        labels.put(db, TAG, name, ids(three, "AAA"))
    labels.put(db, WATCHLIST, "Banks [north]", ids(three, "AAA", "CCC"))
    assert bi.groups.members(db) == {
        ("sector", "Energy"): ["AAA"],
        ("sector", "Utilities"): ["BBB"],
        ("tag", "growth"): ["AAA"],
        ("tag", "value"): ["AAA"],
        ("watchlist", "Banks [north]"): ["AAA", "CCC"],
    }
    shown = rows(db, "SELECT ticker, sector, tags FROM bi.instruments ORDER BY ticker")
    assert [tuple(row.values()) for row in shown] == [
        ("AAA", "Energy", "growth, value"),
        ("BBB", "Utilities", None),
        ("CCC", None, None),
    ]
    labels.put(db, SECTOR, "", ids(three, "AAA"))
    assert rows(db, "SELECT sector FROM bi.instruments WHERE ticker = 'AAA'") == [{"sector": None}]


def test_a_group_is_counted_by_what_is_active_and_kept_by_what_is_not(db, three):
    labels.put(db, WATCHLIST, "mine", ids(three, "AAA", "BBB"))
    instruments.remove(db, ["BBB"])
    assert [tuple(row) for row in bi.groups.counted(db).values] == [
        ("exchange", "XNYS", 2),
        ("watchlist", "mine", 1),
    ]
    assert bi.groups.tickers(db, "mine") == ["AAA", "BBB"]
    assert labels.take_away(db, WATCHLIST, "mine", ["BBB", "ZZZ"]) == 1
    assert labels.take_away(db, WATCHLIST, "mine") == 1
    with pytest.raises(UnknownGroup, match="There is no group 'mine'"):
        labels.take_away(db, WATCHLIST, "mine", ["AAA"])


def test_a_group_is_named_as_people_name_it(db, three):
    labels.put(db, SECTOR, "Energy", ids(three, "AAA"))
    labels.put(db, TAG, "energy", ids(three, "BBB"))
    labels.put(db, TAG, "Retail: food", ids(three, "CCC"))
    assert bi.groups.tickers(db, "ENERGY") == ["AAA", "BBB"]
    assert bi.groups.tickers(db, "sector:energy") == ["AAA"]
    assert bi.groups.tickers(db, "Retail: food") == ["CCC"]
    assert bi.groups.tickers(db, "exchange:xnys") == ["AAA", "BBB", "CCC"]
    for group, meant in (
        ("industry:energy", r"'sector:Energy' or 'tag:energy'"),
        ("Enrgy", r"did you mean 'Energy'"),
        ("xnis", "did you mean 'XNYS'"),
    ):
        with pytest.raises(UnknownGroup, match=meant):
            bi.groups.tickers(db, group)
    with pytest.raises(UnknownGroup, match="There is no group 'zzz': 'stockbatch tickers groups'"):
        bi.groups.tickers(db, "zzz")


@pytest.mark.parametrize("kind", [SECTOR, TAG, WATCHLIST])
@pytest.mark.parametrize("name", [*HOSTILE, " a", "a\nb"])
def test_what_no_group_can_be_called_is_refused(db, three, kind, name):
    with pytest.raises(BadName) as refused:
        labels.put(db, kind, name, ids(three, "AAA"))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("name", ["a,b", "a;b", "a|b", ""])
def test_tags_stand_between_commas(db, three, name):
    with pytest.raises(BadName):
        labels.put(db, TAG, name, ids(three, "AAA"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_provider_names_no_group_so_either(db, name):
    one = Listing(ticker="NEW", symbol="NEW", sector=name, industry="Oil, Gas & Coal")
    instruments.add(db, [one], provider="yfinance")
    groups = bi.groups.members(db)
    assert groups == {("industry", "Oil, Gas & Coal"): ["NEW"]}


def test_a_ticker_that_comes_back_is_in_the_sector_it_was_in(db, three):
    labels.put(db, SECTOR, "Energy", ids(three, "AAA"))
    instruments.remove(db, ["AAA"])
    listed(db, "AAA")
    assert bi.groups.tickers(db, "sector:Energy") == ["AAA"]
