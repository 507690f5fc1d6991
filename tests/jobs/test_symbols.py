"""Lists of symbols as they are published: what is a ticker, and what is an error of its line."""

import gzip

import pytest

from jobs import symbols
from stockbatch.exceptions import BadFile
from tests.support.places import DATA

NASDAQ = """\
Symbol|Security Name|Market Category|Test Issue|Financial Status|Round Lot Size|ETF|NextShares
AAPL|Apple Inc. - Common Stock|Q|N|N|100|N|N
QQQ|Invesco QQQ Trust|G|N|N|100|Y|N
ZAZZT|Tick Pilot Test Stock|G|Y|N|100|N|N
File Creation Time: 1127202521:31|||||||
"""
OTHER = """\
ACT Symbol|Security Name|Exchange|CQS Symbol|ETF|Round Lot Size|Test Issue|NASDAQ Symbol
BRK.B|Berkshire Hathaway Class B|N|BRK.B|N|100|N|BRK.B
ABR$D|Arbor Realty 6.375% Series D|N|ABRpD|N|100|N|ABR-D
AACT.U|Ares Acquisition Units|N|AACT.U|N|100|N|AACT=
File Creation Time: 1127202521:31||||||
"""
WIKIPEDIA = """\
,Symbol,Security,GICS Sector,GICS Sub-Industry,Headquarters Location,Date added,CIK,Founded
0,MMM,3M,Industrials,Industrial Conglomerates,"Saint Paul, Minnesota",1957-03-04,66740,1902
1,BRK.B,Berkshire Hathaway,Financials,Multi-Sector Holdings,"Omaha, Nebraska",2010-02-16,106,1839
"""
NSE = (
    "Company Name,Industry,Symbol,Series,ISIN Code\nMRF Ltd.,Automobile,MRF,EQ,INE883A01011\n"
    "Mahindra & Mahindra Ltd.,Automobile,M&M,EQ,INE101A01026\n"
)
ISHARES = """\
\ufeffiShares Core
Fund Holdings as of,"Nov 27, 2026"
Shares Outstanding,"1,000"
\xa0
Ticker,Name,Sector,Asset Class,Market Value,Weight (%)
NVDA,NVIDIA CORP,Information Technology,Equity,"1,000.00",8.0
-,EURO CASH,Cash,Cash,"2.00",0.0

"The content contained herein is owned by somebody."
"""


def read(tmp_path, text, provider="yfinance", encoding="utf-8", name="list.csv"):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return symbols.read(file, provider)


def tickers(found):
    return [one.ticker for one in found.wanted]


@pytest.mark.parametrize("delimiter", ",;|\t")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_delimiter_and_encoding(tmp_path, delimiter, encoding):
    text = "Sektor,ticker,name\nTech,AAPL,Apple\nÖl,SHEL.L,Shell\n".replace(",", delimiter)
    found = read(tmp_path, text, encoding=encoding)
    assert tickers(found) == ["AAPL", "SHEL.L"]
    assert [one.told for one in found.wanted] == [{"name": "Apple"}, {"name": "Shell"}]
    assert found.failures == ()


def test_a_list_may_be_packed(tmp_path):
    assert tickers(read(tmp_path, gzip.compress(b"Ticker,Name\nAAPL,Apple\n"))) == ["AAPL"]


def test_what_nasdaq_publishes(tmp_path):
    found = read(tmp_path, NASDAQ)
    assert [(one.ticker, one.told) for one in found.wanted] == [
        ("AAPL", {"name": "Apple Inc. - Common Stock"}),
        ("QQQ", {"name": "Invesco QQQ Trust", "asset_class": "etf"}),
    ]
    assert (found.tests, found.failures) == (1, ())
    other = read(tmp_path, OTHER)
    assert tickers(other) == ["BRK-B", "ABR-PD", "AACT-UN"]
    assert other.renamed == {"BRK.B": "BRK-B", "ABR$D": "ABR-PD", "AACT.U": "AACT-UN"}
    assert tickers(read(tmp_path, OTHER, "csv:bars")) == ["BRK.B", "ABR$D", "AACT.U"]


def test_tags_stand_between_marks_and_are_told_once(tmp_path):
    found = read(tmp_path, 'ticker,Tags\nAAPL,"growth, big ;growth|US"\nMSFT,\nGOOG,-\n')
    assert [one.tags for one in found.wanted] == [("growth", "big", "US"), (), ()]


def test_the_table_of_an_index_keeps_sector_and_industry(tmp_path):
    found = read(tmp_path, WIKIPEDIA)
    assert [(one.ticker, one.told) for one in found.wanted] == [
        (
            "MMM",
            {"name": "3M", "sector": "Industrials", "industry": "Industrial Conglomerates"},
        ),
        (
            "BRK-B",
            {
                "name": "Berkshire Hathaway",
                "sector": "Financials",
                "industry": "Multi-Sector Holdings",
            },
        ),
    ]
    assert found.failures == ()
    assert [one.told["industry"] for one in read(tmp_path, NSE).wanted] == ["Automobile"] * 2


def test_a_preamble_is_no_ticker_and_every_other_line_is_an_error_of_its_own(tmp_path):
    found = read(tmp_path, ISHARES)
    assert [(one.ticker, one.told["asset_class"]) for one in found.wanted] == [("NVDA", "equity")]
    first, second = map(str, found.failures)
    assert "line 7, column 1: '-' is not a symbol" in first
    assert "line 9, column 1: 'The content contained" in second


def test_what_a_fund_sums_up_and_holds_beside_its_shares_is_no_ticker(tmp_path):
    above = 'A fund\nFund Holdings as of,"Jun 28, 2024"\nStock,"-"\nBond,"-"\nCash,"-"\n'
    head = "Ticker,Name,Sector,Asset Class,Price\n"
    rows = "MSFT,MICROSOFT,-,Equity,447\nUSD,USD CASH,Cash,Cash,1\nESU4,EMINI,Cash,Futures,5500\n"
    found = read(tmp_path, f"{above}{head}{rows}Cash\n")
    assert [(one.ticker, one.told) for one in found.wanted] == [
        ("MSFT", {"name": "MICROSOFT", "asset_class": "equity"})
    ]
    assert [error.values["line"] for error in found.failures] == [8, 9, 10]


@pytest.mark.parametrize(
    ("listed", "ticker"),
    [
        ("NASDAQ:AAPL", "AAPL"),
        ("NYSE:BRK.B", "BRK-B"),
        ("LON:BT.A", "BT-A.L"),
        ("LSE:RR.", "RR.L"),
        ("SEHK:\xa05", "0005.HK"),
        ("TYO: 7203", "7203.T"),
        ("TSE:7203", "TSE:7203"),
        ("BRK/B", "BRK-B"),
        ("ABR^D", "ABR-PD"),
        ("AAPL.O", "AAPL"),
        ("brk.b", "BRK-B"),
        ("ETH/USDT", "ETH/USDT"),
        ("700.0", None),
        ("1.2E+05", None),
        ("Total", None),
        ("US0378331005", None),
    ],
)
def test_what_others_call_a_share_becomes_yahoos_name_or_an_error(tmp_path, listed, ticker):
    found = read(tmp_path, f"symbol,name\nKO,Coca-Cola\n{listed},X\n")
    assert tickers(found) == ["KO", *filter(None, [ticker])]
    assert [error.values["line"] for error in found.failures] == ([] if ticker else [3])


@pytest.mark.parametrize(
    ("text", "expected", "lines"),
    [
        ("# mine\nAAPL\n\nMSFT # work\nCODE\n", ["AAPL", "MSFT", "CODE"], []),
        ("AAPL\nMSFT;Microsoft\nApple Inc.\nIBM\n", ["AAPL", "IBM"], [2, 3]),
        ("AAPL\n2024-03-01\n1-Mar\nnan\nIBM\n", ["AAPL", "IBM"], [2, 3, 4]),
        ("^GSPC\nEURUSD=X\nM&M.NS\n7203.T\nES=F\n", None, []),
        ("ticker,name\nAAPL,Apple, Inc.\nIBM,\n,Nobody\nAAPL\n", ["IBM", "AAPL"], [2, 4]),
        ("ticker,calendar\nAAPL,nyse\nSHEL.L,XLNO\nAAPL,XLON\n", ["AAPL"], [3, 4]),
        ('"Symbol","Name"\n"1","AAPL","Apple"\n"2","IBM","IBM"\n', ["AAPL", "IBM"], []),
        ("sep=;\nTicker;Name\nAAPL;Apple\n", ["AAPL"], []),
    ],
)
def test_lines_that_are_no_symbol_are_errors_and_the_others_are_added(
    tmp_path, text, expected, lines
):
    found = read(tmp_path, text, "csv:bars")
    assert tickers(found) == (text.split() if expected is None else expected)
    assert [error.values["line"] for error in found.failures] == lines


def test_a_list_whose_headings_nobody_knows_is_refused_with_what_lacks(tmp_path):
    with pytest.raises(BadFile, match=r"line 1, .*no line above has a heading such as ticker"):
        read(tmp_path, "firma;kuerzel\nApple;AAPL\n")


def test_a_name_that_is_not_utf_8_is_text_all_the_same(tmp_path):
    [one] = read(tmp_path, b"ticker,name\nBN.PA,Soci\xe9t\xe9\n").wanted
    assert one.told == {"name": "Société"}


@pytest.mark.parametrize(
    ("listed", "calendar", "name"),
    [
        ("BF.B", "", "BF-B"),
        ("BP.L", "", "BP.L"),
        ("MOG.A", "XNYS", "MOG-A"),
        ("X.T", "XNYS", "X-T"),
        ("RDSA.AS", "", "RDSA.AS"),
        ("VOD.WS", "", "VOD-WT"),
    ],
)
def test_classes_of_shares_are_called_as_yahoo_calls_them(tmp_path, listed, calendar, name):
    found = read(tmp_path, f"Symbol,Calendar\n{listed},{calendar}\n")
    assert tickers(found) == [name]
    assert found.renamed == ({} if name == listed else {listed: name})


def test_the_lists_that_went_wrong():
    folder = DATA.parent / "cases" / "lists"
    if not folder.exists():
        pytest.skip("there are no cases here")
    [apple] = symbols.read(folder / "semicolon.csv", "yfinance").wanted
    assert (apple.ticker, apple.told) == ("AAPL", {"name": "Apple", "calendar": "XNYS"})
    assert tickers(symbols.read(folder / "sp500.csv", "yfinance")) == ["AAPL", "BRK-B", "BF-B"]
