"""Portfolios from files: what a line says, what is wrong with one, what is read two ways."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import portfolios
from jobs.portfolios import QUANTITY
from stockbatch.exceptions import BadFile, UnreadableFile
from stockbatch.records import Listing
from stockbatch.store import holdings, instruments
from stockbatch.store.holdings import Holding
from tests.support.market import ORIGIN, fetch

HEAD = "portfolio,ticker,quantity,from\n"
DAY, LATER, LAST = "2024-06-03", "2024-07-01", "2024-08-01"


@pytest.fixture
def importing(app, tmp_path):
    def do(text, name="portfolios.csv"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return portfolios.import_(app, file)

    return do


def kept(app):
    query = (
        "SELECT portfolio, ticker, from_day::text, quantity FROM stockbatch.holdings AS h"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id ORDER BY h.id"
    )
    return [tuple(row.values()) for row in fetch(app.engine, query)]


def counts(done):
    return done.new, done.changed, done.same


def reasons(done):
    return [(failure.values["line"], failure.values["reason"]) for failure in done.failures]


def test_statements_are_kept_once(app, importing):
    text = HEAD + f"Fund,AAA,10,{DAY}\nFund,bbb,-2.5,{DAY}\nOther,CCC,7,{LATER}\n"
    assert counts(importing(text)) == (3, 0, 0)
    assert kept(app) == [
        ("Fund", "AAA", DAY, 10),
        ("Fund", "BBB", DAY, -2.5),
        ("Other", "CCC", LATER, 7),
    ]
    assert counts(importing(text)) == (0, 0, 3)
    assert len(kept(app)) == 3


@pytest.mark.parametrize(
    "text",
    [
        f"Account;Symbol;Shares;Date\nFund;AAA;10;{DAY}\n",
        f"# my own\nfrom\tquantity\tticker\tportfolio\tnote\n{DAY}\t+10.0\tAAA\tFund\tx\n",
        f"\ufeffportfolio,ticker,units,since\r\nFund,AAA,10,{DAY}\r\n\r\n",
    ],
)
def test_files_as_they_come(app, importing, text):
    assert counts(importing(text)) == (1, 0, 0)
    assert kept(app) == [("Fund", "AAA", DAY, 10)]


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (f"Fund,ZZZ,1,{DAY}", 2, "ZZZ is not on the watchlist"),
        (f"Fund,,1,{DAY}", 2, "there is no ticker"),
        (f"Fund,AAA,,{DAY}", 3, "'' is no number"),
        (f"Fund,AAA,'1,000',{DAY}", 1, "5 cells below 4 headings"),
        (f'Fund,AAA,"1,000",{DAY}', 3, "'1,000' is no number such as 1000 or -12.5"),
        (f"Fund,AAA,1e3,{DAY}", 3, "'1e3' is no number"),
        (f"Fund,AAA,nan,{DAY}", 3, "'nan' is no number"),
        (f"Fund,AAA,{'9' * 13},{DAY}", 3, "is no number"),
        ("Fund,AAA,1,03.06.2024", 4, "'03.06.2024' is no date such as 2024-07-25"),
        ("Fund,AAA,1,2024-02-30", 4, "'2024-02-30' is no date"),
        ("Fund,AAA,1,1901-01-01", 4, "beyond the sessions of XNYS"),
        ("Fund,AAA,1", 4, "'' is no date"),
    ],
)
def test_of_a_portfolio_with_a_bad_line_nothing_is_kept(app, importing, line, column, reason):
    done = importing(HEAD + f"Fund,BBB,1,{DAY}\n{line}\nOther,CCC,7,{DAY}\n")
    (failure,) = done.failures
    assert (failure.values["line"], failure.values["column"]) == (3, column)
    assert reason in str(failure)
    assert done.left_out == ("Fund",)
    assert kept(app) == [("Other", "CCC", DAY, 7)]


def test_a_line_of_no_portfolio_is_told(app, importing):
    done = importing(HEAD + f",AAA,1,{DAY}\n=1+1,AAA,1,{DAY}\nFund,AAA,1,{DAY}\n")
    assert [line for line, _ in reasons(done)] == [2, 3]
    assert "cannot name a portfolio" in reasons(done)[1][1]
    assert (done.left_out, len(kept(app))) == ((), 1)


def test_a_name_keeps_what_would_be_a_comment_in_a_list_of_symbols(app, importing):
    text = f"ticker,quantity,from,portfolio\nAAA,1,{DAY},Depot #1\nAAA,2,{DAY},Depot #2\n"
    assert counts(importing(text)) == (2, 0, 0)
    assert [(name, quantity) for name, _, _, quantity in kept(app)] == [
        ("Depot #1", 1),
        ("Depot #2", 2),
    ]


@pytest.mark.parametrize("quantity", ["1.000", "-12.500"])
def test_a_thousand_or_three_decimals_can_be_read_two_ways(app, importing, quantity):
    text = HEAD + f"Fund,AAA,{quantity},{DAY}\n"
    done = importing(text.replace(",", ";"))
    plain = quantity.replace(".", "")
    reason = f"'{quantity}' can be read two ways: write {plain} or {quantity}0"
    assert reasons(done) == [(2, reason)]
    assert importing(text.replace(",", ";").replace(quantity, f"{quantity}0")).new == 1
    assert importing(text).same == 1  # where a comma separates cells, a point begins decimals


def test_a_column_twice_can_be_read_two_ways(app, importing):
    with pytest.raises(BadFile, match="line 1, column 3: two columns are called 'quantity'"):
        importing(f"portfolio,ticker,quantity,Quantity,from\nFund,AAA,1,200,{DAY}\n")
    assert kept(app) == []


def test_a_ticker_twice_of_a_day_can_be_read_two_ways(app, importing):
    done = importing(HEAD + f"Fund,AAA,1,{DAY}\nFund,BBB,1,{DAY}\nFund,aaa,1,{DAY}\n")
    assert reasons(done) == [(4, f"AAA is stated of Fund and {DAY} on line 2 already")]
    assert kept(app) == []


def test_what_is_held_and_not_stated_can_be_read_two_ways(app, importing):
    importing(HEAD + f"Fund,AAA,10,{DAY}\nFund,BBB,5,{DAY}\n")
    done = importing(HEAD + f"Fund,AAA,12,{LATER}\n")
    assert reasons(done) == [
        (
            2,
            f"BBB (from {DAY} on) is held, and not in the statement of {LATER}: give a line with"
            " the quantity, 0 if none is held any more",
        )
    ]
    assert len(kept(app)) == 2
    assert counts(importing(HEAD + f"Fund,AAA,12,{LATER}\nFund,BBB,0,{LATER}\n")) == (2, 0, 0)
    # What is sold needs no more lines.
    assert counts(importing(HEAD + f"Fund,AAA,13,{LAST}\n")) == (1, 0, 0)


def test_an_earlier_statement_must_fit_the_later_ones(app, importing):
    importing(HEAD + f"Fund,AAA,10,{LATER}\n")
    done = importing(HEAD + f"Fund,AAA,10,{DAY}\nFund,CCC,1,{DAY}\n")
    ((line, reason),) = reasons(done)
    assert (line, "CCC" in reason, f"not in the later statement of {LATER}" in reason) == (
        3,
        True,
        True,
    )
    both = f"Fund,AAA,10,{DAY}\nFund,CCC,1,{DAY}\nFund,AAA,10,{LATER}\nFund,CCC,0,{LATER}\n"
    assert counts(importing(HEAD + both)) == (2, 1, 1)


def test_a_day_stated_anew_replaces_what_it_said(app, importing):
    importing(HEAD + f"Fund,AAA,10,{DAY}\nFund,BBB,5,{DAY}\n")
    done = importing(HEAD + f"Fund,AAA,11,{DAY}\n")
    assert "BBB" in reasons(done)[0][1]
    assert counts(importing(HEAD + f"Fund,AAA,11,{DAY}\nFund,BBB,5,{DAY}\n")) == (0, 1, 1)
    assert kept(app)[-1] == ("Fund", "AAA", DAY, 11)
    assert counts(importing(HEAD + f"Fund,AAA,10,{DAY}\nFund,BBB,5,{DAY}\n")) == (0, 1, 1)
    rows = fetch(app.engine, "SELECT ticker, stated_quantity FROM bi.portfolios ORDER BY ticker")
    assert [tuple(row.values()) for row in rows] == [("AAA", 10), ("BBB", 5)]


def test_a_portfolio_has_one_calendar_and_one_currency(app, importing):
    listings = [
        Listing(ticker="SAP.DE", symbol="SAP.DE", calendar="XETR", currency="EUR"),
        Listing(ticker="EEE", symbol="EEE", calendar="XNYS", currency="EUR"),
    ]
    with app.transaction() as db:
        instruments.add(db, listings, provider="csv:/other.csv")
    importing(HEAD + f"Fund,AAA,10,{DAY}\n")
    for ticker, told in (("SAP.DE", "XETR in EUR"), ("EEE", "XNYS in EUR")):
        done = importing(HEAD + f"Fund,AAA,10,{LATER}\nFund,{ticker},1,{LATER}\n")
        ((line, reason),) = reasons(done)
        assert line == 3
        assert reason == (
            f"{ticker} trades on {told}, AAA trades on XNYS in an unknown currency:"
            " a portfolio has one exchange calendar and one currency"
        )
    assert counts(importing(HEAD + f"Mine,SAP.DE,1,{LATER}\n")) == (1, 0, 0)


def test_files_that_are_none(importing, tmp_path, app):
    with pytest.raises(BadFile, match="no headings such as portfolio, ticker, quantity and from"):
        importing("ticker,quantity\nAAA,1\n")
    with pytest.raises(BadFile, match="no headings"):
        importing("")
    with pytest.raises(UnreadableFile):
        portfolios.import_(app, tmp_path / "none.csv")


def test_what_is_held_of_what_left_the_watchlist_must_be_stated_too(app, importing):
    importing(HEAD + f"Fund,AAA,10,{DAY}\nFund,BBB,5,{DAY}\n")
    with app.transaction() as db:
        instruments.remove(db, ["BBB"])
    assert "BBB" in reasons(importing(HEAD + f"Fund,AAA,10,{LATER}\n"))[0][1]
    (row,) = fetch(app.engine, "SELECT is_active FROM bi.portfolios WHERE ticker = 'BBB'")
    assert row == {"is_active": False}


def test_a_statement_yet_to_come_is_not_held_yet(app, importing):
    importing(HEAD + f"Fund,AAA,10,{DAY}\n")
    with app.transaction() as db:
        (one,) = instruments.find(db, ["AAA"])
        ahead = [Holding("Fund", one.id, date(2999, 1, 1), 20.0)]
        holdings.add(db, [*ahead, Holding("Ahead", *ahead[0][1:])])
        for day, units in ((ORIGIN, 10), (date(2999, 1, 4), 20)):
            found = holdings.positions(db, one.calendar, day)
            assert [p.units for p in found if p.portfolio == "Fund"] == [units]
    rows = fetch(app.engine, "SELECT portfolio, quantity FROM bi.portfolios")
    assert [tuple(row.values()) for row in rows] == [("Fund", 10)]


@given(st.text(max_size=30))
def test_a_quantity_is_a_finite_number_or_refused(text):
    if QUANTITY.fullmatch(text):
        assert abs(float(text)) < 1e12
