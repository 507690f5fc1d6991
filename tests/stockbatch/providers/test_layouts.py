"""Layouts of files people have, each with the bars it states; and mixtures of them."""

import csv
import gzip
import io
import math
from contextlib import suppress
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockbatch.exceptions import BadFile
from stockbatch.providers.csv import blocks
from stockbatch.providers.csv.header import Reading
from stockbatch.providers.csv.parser import read
from stockbatch.records import PriceBasis

FIRST = (date(2024, 6, 27), 100.5, 102.25, 99.75, 101.0, 1_250_000.0)
LAST = (date(2024, 6, 28), 101.25, 103.5, 100.5, 102.75, 2_500_000.0)
"""The bars that each layout below states: session, open, high, low, close, volume."""

LAYOUTS = {
    "Yahoo's classic download": "Date,Open,High,Low,Close,Adj Close,Volume\n"
    "2024-06-27,100.5,102.25,99.75,101,100.2,1250000\n"
    "2024-06-28,101.25,103.5,100.5,102.75,102,2500000\n",
    "yfinance with three header rows": "Price,Close,High,Low,Open,Volume\nTicker,X,X,X,X,X\n"
    "Date,,,,,\n2024-06-27,101,102.25,99.75,100.5,1250000\n"
    "2024-06-28,102.75,103.5,100.5,101.25,2500000\n",
    "yfinance of many tickers": "Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume\n"
    "Ticker,Y,X,Y,X,Y,X,Y,X,Y,X\nDate,,,,,,,,,,\n"
    "2024-06-27,5,101,6,102.25,4,99.75,5,100.5,9,1250000\n"
    "2024-06-28,,102.75,,103.5,,100.5,,101.25,,2500000\n",
    "yfinance grouped by ticker": "Ticker,X,X,X,X,X\nPrice,Open,High,Low,Close,Volume\n"
    "Date,,,,,\n2024-06-27,100.5,102.25,99.75,101,1250000\n"
    "2024-06-28,101.25,103.5,100.5,102.75,2500000\n",
    "Investing.com": '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"\n'
    '"06/28/2024","102.75","101.25","103.50","100.50","2.50M","1.73%"\n'
    '"06/27/2024","101.00","100.50","102.25","99.75","1.25M","-0.10%"\n',
    "Nasdaq": "Date,Close/Last,Volume,Open,High,Low\n"
    "06/28/2024,$102.75,2500000,$101.25,$103.50,$100.50\n"
    "06/27/2024,$101.00,1250000,$100.50,$102.25,$99.75\n",
    "TradingView": "time,open,high,low,close,Volume\n1719495000,100.5,102.25,99.75,101,1250000\n"
    "1719581400,101.25,103.5,100.5,102.75,2500000\n",
    "epoch milliseconds": "timestamp,open,high,low,close,volume\n"
    "1719495000000,100.5,102.25,99.75,101,1250000\n"
    "1719581400000,101.25,103.5,100.5,102.75,2500000\n",
    "Alpha Vantage": "timestamp,open,high,low,close,volume\n"
    "2024-06-28,101.25,103.5,100.5,102.75,2500000\n2024-06-27,100.5,102.25,99.75,101,1250000\n",
    "Tiingo": "date,close,high,low,open,volume,adjClose,divCash,splitFactor\n"
    "2024-06-27T00:00:00.000Z,101,102.25,99.75,100.5,1250000,101,0.0,1.0\n"
    "2024-06-28T00:00:00.000Z,102.75,103.5,100.5,101.25,2500000,102.75,0.0,1.0\n",
    "Stooq": "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
    "X,D,20240627,000000,100.5,102.25,99.75,101,1250000,0\n"
    "X,D,20240628,000000,101.25,103.5,100.5,102.75,2500000,0\n",
    "MetaTrader without header": "2024.06.27,00:00,100.5,102.25,99.75,101,1250000\n"
    "2024.06.28,00:00,101.25,103.5,100.5,102.75,2500000\n",
    "MetaTrader": "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<SPREAD>\n"
    "2024.06.27\t100.5\t102.25\t99.75\t101\t1250000\t3\n"
    "2024.06.28\t101.25\t103.5\t100.5\t102.75\t2500000\t3\n",
    "titles above the header": "# Prices of X\nFrom 2024-06-27, to 2024-06-28\n\n"
    "Date,Open,High,Low,Close,Volume\n2024-06-27,100.5,102.25,99.75,101,1250000\n"
    "2024-06-28,101.25,103.5,100.5,102.75,2500000\n",
    "sep=": "sep=;\nDate;Open;High;Low;Close;Volume\n27.06.2024;100,5;102,25;99,75;101;1.250.000\n"
    "28.06.2024;101,25;103,5;100,5;102,75;2.500.000\n",
    "Chinese": "日期,股票代码,开盘,最高,最低,收盘,成交量\n"
    "2024-06-27,X,100.5,102.25,99.75,101,1250000\n2024-06-28,X,101.25,103.5,100.5,102.75,2500000\n",
    "Japanese": "日付,コード,始値,高値,安値,終値,出来高\n"
    "2024/06/27,X,100.5,102.25,99.75,101,1250000\n2024/06/28,X,101.25,103.5,100.5,102.75,2500000\n",
    "Korean": "날짜,종목코드,종가,시가,고가,저가,거래량\n"
    "2024년 06월 28일,X,102.75,101.25,103.5,100.5,2500000\n"
    "2024년 06월 27일,X,101,100.5,102.25,99.75,1250000\n",
    "tushare": "ts_code,trade_date,open,high,low,close,vol\n"
    "X,20240628,101.25,103.5,100.5,102.75,2500000\nX,20240627,100.5,102.25,99.75,101,1250000\n",
    "pandas index without a name": ",Open,High,Low,Close,Volume\n"
    "2024-06-27,100.5,102.25,99.75,101,1250000\n2024-06-28,101.25,103.5,100.5,102.75,2500000\n",
    "NSE": '"Date ","OPEN ","HIGH ","LOW ","close ","VOLUME "\n'
    '"27-Jun-2024","100.50","102.25","99.75","101.00","12,50,000"\n'
    '"28-Jun-2024","101.25","103.50","100.50","102.75","25,00,000"\n',
    "original and adjusted prices": "date,open,high,low,close,volume,original_open,original_high,"
    "original_low,original_close,original_volume\n"
    "2024-06-27,50,51,49,50,9,100.5,102.25,99.75,101,1250000\n"
    "2024-06-28,51,52,50,51,9,101.25,103.5,100.5,102.75,2500000\n",
    "blanks and dashes": "datetime,open,high,low,close,volume,dividend\n"
    "2024-06-27 16:00:00,100.5,102.25,99.75,101,1250000,--\n"
    "2024-06-28 16:00:00,101.25,103.5,100.5,102.75,2500000,null\n,,,,,,\n",
    "two columns of headings in one": "\"('Open', 'X')\",\"('High', 'X')\",\"('Low', 'X')\","
    "\"('Close', 'X')\",\"('Volume', 'X')\",Date\n100.5,102.25,99.75,101,1250000,2024-06-27\n"
    "101.25,103.5,100.5,102.75,2500000,2024-06-28\n",
    "quantmod": '"","X.Open","X.High","X.Low","X.Close","X.Volume","X.Adjusted"\n'
    '"2024-06-27",100.5,102.25,99.75,101,1250000,101\n'
    '"2024-06-28",101.25,103.5,100.5,102.75,2500000,102.75\n',
    "Massive": "ticker,volume,open,close,high,low,window_start,transactions\n"
    "X,1250000,100.5,101,102.25,99.75,1719460800000000000,9\n"
    "X,2500000,101.25,102.75,103.5,100.5,1719547200000000000,9\n",
    "CoinMarketCap": "timeOpen;timeClose;name;open;high;low;close;volume;timestamp\n"
    '"2024-06-28T00:00:00.000Z";"2024-06-28T23:59:59.999Z";"2781";101.25;103.5;100.5;102.75;'
    '2500000;"2024-06-28T12:59:59.999Z"\n'
    '"2024-06-27T00:00:00.000Z";"2024-06-27T23:59:59.999Z";"2781";100.5;102.25;99.75;101;'
    '1250000;"2024-06-27T12:59:59.999Z"\n',
    "bhavcopies": "TckrSymb,TradDt,OpnPric,HghPric,LwPric,ClsPric,LastPric,TtlTradgVol\n"
    "X,2024-06-27,100.5,102.25,99.75,101,101.5,1250000\n"
    "X,2024-06-28,101.25,103.5,100.5,102.75,103,2500000\n",
    "German": "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen\n"
    "28.06.2024;101,25;103,50;100,50;102,75;2.500.000;9\n"
    "27.06.2024;100,50;102,25;99,75;101,00;1.250.000;9\n",
    "Spanish": '"Fecha","Último","Apertura","Máximo","Mínimo","Vol.","% var."\n'
    '"28.06.2024","102,75","101,25","103,50","100,50","2,50M","1%"\n'
    '"27.06.2024","101,00","100,50","102,25","99,75","1,25M","1%"\n',
    "French": "date\touv\thaut\tbas\tclot\tvol\tdevise\t\n"
    "28/06/2024 00:00\t101.25\t103.50\t100.50\t102.75\t2500000\tEUR\t\n"
    "27/06/2024 00:00\t100.50\t102.25\t99.75\t101.00\t1250000\tEUR\t\n",
    "Polish": "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen\n"
    "2024-06-27,100.5,102.25,99.75,101,1250000\n2024-06-28,101.25,103.5,100.5,102.75,2500000\n",
    "years of two digits": "Date,Open,High,Low,Close,Volume\n"
    "6/27/24,100.5,102.25,99.75,101,1250000\n6/28/24,101.25,103.5,100.5,102.75,2500000\n",
    "codes of currencies": "Date;Open;High;Low;Close;Volume\n"
    "27-Jun-24;100,50 EUR;102,25 EUR;99,75 EUR;101,00 EUR;1\u2009250\u2009000\n"
    "28-Jun-24;EUR 101,25;EUR 103,50;EUR 100,50;EUR 102,75;2\u2009500\u2009000\n",
    "a footer": "Date,Open,High,Low,Close,Volume\n2024-06-27,100.5,102.25,99.75,101,1250000\n"
    '2024-06-28,101.25,103.5,100.5,102.75,2500000\n\n"Source: a vendor, as is"\n',
}


@pytest.fixture
def file(tmp_path):
    def write(text, name="X.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def rows_of(table, ticker="X"):
    one = table.bars(table.rows(ticker, None, date(2030, 1, 1)))
    numbers = (one.open, one.high, one.low, one.close, one.volume)
    return list(zip(one.sessions.tolist(), *(n.tolist() for n in numbers), strict=True))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(file, layout, ends, encoding):
    text = LAYOUTS[layout].removeprefix("\ufeff").replace("\n", ends)
    # Two days do not show whether midnight of UTC means the day that is written.
    reading = Reading(dates="written" if layout == "Tiingo" else None)
    table = read(file(text.encode(encoding)), reading).on("XNYS")
    assert rows_of(table) == [FIRST, LAST]
    assert set(table.tickers) <= {"X", "Y"}
    assert sum(map(len, table.findings.values())) == (layout == "a footer")


@pytest.mark.parametrize(
    ("layout", "encoding"),
    [
        ("Chinese", "gbk"),
        ("Japanese", "cp932"),
        ("Japanese", "euc_jp"),
        ("Korean", "euc_kr"),
        ("Spanish", "cp1252"),
    ],
)
def test_encodings_are_told_by_the_headings(file, layout, encoding):
    path = file(LAYOUTS[layout].encode(encoding))
    assert rows_of(read(path)) == [FIRST, LAST]
    packed = file(gzip.compress(LAYOUTS[layout].encode(encoding)), "X.csv.gz")
    assert rows_of(read(packed)) == [FIRST, LAST]


def test_headings_nobody_can_read_are_refused_as_such(file):
    assert "save the file as UTF-8" in refusal(file("Цена;Ещё\n1;2\n".encode("koi8_r")))


def test_side_by_side_a_ticker_has_only_the_bars_that_are_there(file):
    table = read(file(LAYOUTS["yfinance of many tickers"]))
    assert table.tickers == ("X", "Y")
    assert rows_of(table, "Y") == [(FIRST[0], 5, 6, 4, 5, 9)]


HEAD, ONE = "date,open,high,low,close,volume", "2024-06-28,1,2,1,1.5,100"


@pytest.mark.parametrize(
    "name", ["code", "ts_code", "Index", "Stock", "SYMBOL", "act_symbol", "secid", "代码", "コード"]
)
def test_names_of_the_ticker_column(file, name):
    table = read(file(f"{HEAD},{name}\n{ONE},B\n{ONE},A\n"))
    assert table.tickers == ("A", "B")


def refusal(path, reading=None):
    with pytest.raises(BadFile) as caught:
        read(path, reading or Reading())
    return caught.value.values["reason"]


def test_text_that_may_name_the_ticker_is_asked_about(file, monkeypatch):
    rows = [
        f"{ONE.replace('28', f'{day:02}')},EUR,{'AAA' if day < 9 else 'BBB'}\n"
        for day in range(1, 15)
    ]
    path = file(f"{HEAD},currency,what\n{''.join(rows)}")
    monkeypatch.setattr("stockbatch.providers.csv.header.FIRST_ROWS", 5)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    assert refusal(path).startswith("what may name the ticker: say which by --column ticker=NAME")
    assert read(path, Reading(ticker="WHAT")).tickers == ("AAA", "BBB")
    assert read(path, Reading(ticker="")).tickers == ("X",)
    assert "no such column" in refusal(path, Reading(ticker="nothing"))
    one = read(file(f"{HEAD},currency\n{ONE},EUR\n"))
    assert (one.tickers, "ignored: currency" in one.understood) == (("X",), True)


def test_what_counts_the_rows_is_no_ticker(file):
    days = [f"2024-06-{day},1,2,1,1.5,100" for day in range(10, 19)]
    for first, step in ((5, 1), (15, -1)):
        rows = [f"{first + step * at},{day}" for at, day in enumerate(days)]
        assert read(file("\n".join([f"index,{HEAD}", *rows]))).tickers == ("X",)
        path = file("\n".join([f"code,{HEAD}", *rows]))
        assert refusal(path).startswith("code names another ticker each day")
        assert read(path, Reading(ticker="")).tickers == ("X",)
        assert len(read(path, Reading(ticker="code")).tickers) == 9


@pytest.mark.parametrize("heading", ["nr", "company_id"])
def test_numbers_that_may_name_the_ticker_are_asked_about(file, heading):
    days = [f"2024-06-{day:02}" for day in range(3, 15)]
    beside = [f"{day},{price},{price},{price},{price},9,{number}" for day in days
              for number, price in ((500325, 100), (500180, 1600))]  # fmt: skip
    path = file("\n".join([f"{HEAD},{heading}", *beside]))
    assert refusal(path).startswith(f"{heading} may name the ticker")
    assert read(path, Reading(ticker=heading)).tickers == ("500180", "500325")
    assert read(path, Reading(ticker="")).tickers == ("X",)
    nameless = [line.rpartition(",")[0] for line in beside]
    assert "if they are of several tickers" in refusal(file("\n".join([HEAD, *nameless])))
    one_after_other = [line for at in (0, 1) for line in beside[at::2]]
    later = [line.replace("2024", "2025") if "500180" in line else line for line in one_after_other]
    path = file("\n".join([f"{HEAD},{heading}", *later]))
    if heading == "nr":  # shares outstanding, say
        assert "ignored: nr" in read(path).understood
    else:
        assert refusal(path).startswith("company_id may name the ticker")


@pytest.mark.parametrize(("days", "what"), [(7, "a week"), (30, "a month"), (91, "a quarter")])
def test_bars_of_weeks_and_months_are_refused(file, days, what):
    begun = date(2023, 1, 2)
    text = stamped(*(begun + timedelta(days=days * at) for at in range(12)))
    assert refusal(file(text)) == f"there is one bar {what}: these are not daily bars"
    scarce = (1, 9, 4, 30, 7, 2, 14, 7, 60, 3, 8)
    assert len(read(file(stamped(*(begun + timedelta(days=at) for at in scarce)))).sessions) == 11


@pytest.mark.parametrize(
    ("stamps", "first"),
    [
        (["30/01/23", "31/01/23", "01/02/23"], "2023-01-30"),
        (["1/30/98", "1/31/98"], "1998-01-30"),
        (["31.12.99", "03.01.00", "04.01.00"], "1999-12-31"),
        (["23/01/30", "23/01/31", "23/02/01"], None),
        (["1/1/23", "1/2/23", "1/3/23"], None),
        (["31/12/98"], None),
    ],
)
def test_years_of_two_digits(file, stamps, first):
    path = file(stamped(*stamps))
    if first is None:
        assert "can be read as two dates" in refusal(path)
    else:
        assert str(read(path).sessions[0]) == first


def test_an_index_that_counts_the_rows_is_no_ticker(file):
    assert read(file(f"index,{HEAD}\n0,{ONE}\n1,{ONE.replace('28', '29')}\n")).tickers == ("X",)


@pytest.mark.parametrize(
    ("rows", "delimiter", "closes"),
    [
        (["9.250", "8.100"], ";", None),
        (["9.250", "8.100"], ",", None),
        (["9.250", "8.10"], ";", [9.25, 8.1]),
        (["9.250", "0.100"], ";", [9.25, 0.1]),
        (["9.250", "1.008.100"], ";", [9250, 1008100]),
        (["9.250", "8,5"], ";", [9250, 8.5]),
        (["9.250"] * 1500 + ["8,5"], ";", [9250] * 1500 + [8.5]),
        (["9"] * 1500 + ["8.500"], ";", None),
        (["9"] * 1500 + ["8.5"], ";", [9] * 1500 + [8.5]),
        (["1,234"], ";", None),
    ],
)
def test_what_marks_decimals_is_told_by_the_whole_file(file, rows, delimiter, closes):
    lines = [["date", "open", "high", "low", "close"]]
    lines += [["2024-06-28", *[number] * 4] for number in rows]
    path = file("\n".join(delimiter.join(line) for line in lines))
    if closes is None:
        assert "--decimal" in refusal(path)
        read(path, Reading(decimal="point"))
        comma = read(path, Reading(decimal="comma"))
        assert comma.numbers["close"][-1] == float(rows[-1].replace(".", "").replace(",", "."))
    else:
        assert read(path).numbers["close"].tolist() == closes


def test_volumes_without_groups_settle_it_where_commas_delimit(file):
    text = f"{HEAD}\n2024-06-28,151.234,152.100,150.900,151.500,52341\n"
    assert read(file(text)).numbers["close"].tolist() == [151.5]
    assert "--decimal" in refusal(file(text.replace(",", ";")))


@pytest.mark.parametrize(
    ("written", "volume"),
    [("55.74M", 55_740_000), ("1.2K", 1200), ("3B", 3e9), ("1,00,123", 100_123), ("-", math.nan)],
)
def test_volumes(file, written, volume):
    table = read(file(f'{HEAD}\n2024-06-28,1.25,2,1,1.5,"{written}"\n'))
    np.testing.assert_array_equal(table.numbers["volume"], [volume])


def stamped(*stamps):
    return f"{HEAD}\n" + "".join(f"{stamp},1,2,1,1.5,100\n" for stamp in stamps)


@pytest.mark.parametrize(
    ("stamps", "calendar", "days"),
    [
        (["2024-06-26 22:00:00+00:00"], "XETR", ["2024-06-27"]),
        (["2024-06-26T15:00:00Z", "2024-06-27T15:00:00Z"], "XTKS", ["2024-06-27", "2024-06-28"]),
        (["2024-06-28 00:00:00-04:00"], "XNYS", ["2024-06-28"]),
        (["2024-01-05 00:00:00+00:00", "2024-06-28 00:00:00+01:00"], "XLON",
         ["2024-01-05", "2024-06-28"]),
        (["2024-06-24T00:00:00Z", "2024-06-28T00:00:00Z"], "XNYS", ["2024-06-24", "2024-06-28"]),
        (["2024-06-25T00:00:00Z", "2024-06-29T00:00:00Z"], "XNYS", ["2024-06-24", "2024-06-28"]),
        (["1719532800"], "24/7", ["2024-06-28"]),
        (["2024-06-28 20:00:00.000 UTC"], "XNYS", ["2024-06-28"]),
    ],
)  # fmt: skip
def test_a_stamp_with_a_zone_is_the_exchanges_day(file, stamps, calendar, days):
    table = read(file(stamped(*stamps)))
    assert table.on(calendar).sessions.astype(str).tolist() == days
    assert table.on(calendar) is table.on(calendar)


def test_midnights_of_utc_that_read_either_way_are_asked_about(file):
    path = file(stamped("2024-06-26T00:00:00Z", "2024-06-27T00:00:00Z"))
    with pytest.raises(BadFile, match="--dates written or --dates exchange"):
        read(path).on("XNYS")
    for dates, first in (("written", "2024-06-26"), ("exchange", "2024-06-25")):
        table = read(path, Reading(dates=dates)).on("XNYS")
        assert str(table.sessions[0]) == first
    assert "--dates" in refusal(file(stamped("2024-06-26T15:00:00Z", "2024-06-27")))


def test_bars_within_a_day_are_refused_as_such(file):
    for stamps in (
        ["2024-06-28 10:00", "2024-06-28 11:00"],
        ["1719581400", "1719581460"],
        ["2024-06-28T13:30:00Z", "2024-06-28T14:30:00Z"],
    ):
        assert "not daily bars" in refusal(file(stamped(*stamps)))
    assert "not daily" in refusal(
        file("2024.06.28,00:00,1,2,1,1.5,9\n2024.06.28,01:00,1,2,1,1.5,9\n")
    )


def priced(columns, *rows):
    lines = [f"date,open,high,low,close,volume,{columns}"]
    lines += [f"{day},{close},{close},{close},{close},100,{rest}" for day, close, rest in rows]
    return "\n".join(lines)


TRADED, ADJUSTED, TOTAL = PriceBasis.AS_TRADED, PriceBasis.SPLIT_ADJUSTED, PriceBasis.TOTAL_RETURN


@pytest.mark.parametrize(
    ("columns", "rows", "basis", "actions"),
    [
        ("splitFactor,divCash", [(100, "1,0"), (25.5, "4,0"), (25, "1,0.5")], TRADED, [4, 0.5]),
        ("split_ratio,ex-dividend", [(100, ",0"), (25.5, "4:1,")], TRADED, [4]),
        ("split_coefficient,dividend_amount", [(25, "1,0"), (25.5, "4,0.2")], ADJUSTED, [0.2]),
        ("split_coefficient", [(25, "1"), (25.5, "1")], TRADED, []),
        ("Dividends,Stock Splits", [(25, "0,0"), (25.5, "0.1,0")], TOTAL, [0.1]),
        ("Dividends,Stock Splits", [(25, "0,0"), (25.5, "0,4")], TOTAL, []),
        ("Dividends,Stock Splits", [(100, "0,0"), (25.5, "0,4")], TRADED, [4]),
        ("Adj Close,Dividends,Stock Splits", [(25, "9,0,0"), (26, "9,1,4")], ADJUSTED, [1]),
        ("Adj Close", [(100, "24.9"), (98, "24.8")], ADJUSTED, []),
        ("adj_close", [(100, "25"), (25.5, "25.5")], TRADED, [4]),
        ("adj_close", [(10, "100"), (102, "102")], TRADED, [0.1]),
        ("adj_close", [(10, "400"), (402, "402")], TRADED, [1 / 40]),
        ("adj_close", [(100, "50"), (99, "99")], ADJUSTED, []),
        ("divCash", [(100, "0"), (99, "1")], ADJUSTED, [1]),
        ("調整後終値", [(100, "25"), (25.5, "25.5")], TRADED, [4]),
    ],
)
def test_the_basis_is_told_by_columns_and_prices(file, columns, rows, basis, actions):
    dated = [(f"2024-06-2{day}", close, rest) for day, (close, rest) in enumerate(rows, 5)]
    path = file(priced(columns, *dated))
    table = read(path)
    assert table.basis is basis, table.understood
    found = table.actions(table.rows("X", None, date(2030, 1, 1)))
    assert [action.value for action in found] == actions
    for wanted in PriceBasis:
        stated = read(path, Reading(basis=wanted))
        assert stated.basis is wanted
        assert "--basis" in stated.understood


def test_a_download_of_yahoo_without_adj_close_is_adjusted_for_dividends(file):
    bare = read(file(LAYOUTS["yfinance of many tickers"]))
    assert (bare.basis, "yf.download()" in bare.understood) == (TOTAL, True)
    rows = (
        "Price,Adj Close,Close,High,Low,Open\nTicker,X,X,X,X,X\nDate,,,,,\n2024-06-27,1,2,2,2,2\n"
    )
    assert read(file(rows)).basis is ADJUSTED


STARTS = st.sampled_from([text.partition("\n")[0] + "\n" for text in LAYOUTS.values()])
LINES = st.sampled_from(
    [line + "\n" for text in LAYOUTS.values() for line in text.split("\n") if line]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(list(LAYOUTS.values())), LINES), max_size=5), STARTS)
def test_no_mixture_of_layouts_makes_a_bar_that_no_line_states(tmp_path_factory, parts, start):
    """Of each bar that comes out, one line has the day and all of its prices."""
    path = tmp_path_factory.getbasetemp() / "mixture.csv"
    text = start + "".join(parts)
    path.write_text(text)
    try:
        table = read(path)
    except BadFile:
        return
    lines = [numbers_of(line) for line in io.StringIO(text)]
    for row in range(len(table.sessions)):
        prices = [float(table.numbers[name][row]) for name in ("open", "high", "low", "close")]
        stated = {price for price in prices if not math.isnan(price)}
        assert any(stated <= line for line in lines)


def numbers_of(line):
    """Return every number that a line may state."""
    found = set()
    for delimiter in ",;\t":
        for cell in next(csv.reader([line.strip()], delimiter=delimiter), []):
            plain = cell.strip().lstrip("$").removeprefix("EUR ").removesuffix(" EUR")
            for text in (plain, plain.replace(",", "."), plain.replace(",", "")):
                with suppress(ValueError):
                    found |= {float(text), float(text.replace(".", ""))}
            with suppress(ValueError):
                found.add(float(plain.replace(".", "").replace(",", ".")))
    return found
