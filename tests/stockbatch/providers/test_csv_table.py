import csv
import gzip
import io
import math
from datetime import date

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from stockbatch.exceptions import BadFile, UnreadableFile
from stockbatch.providers.csv import blocks
from stockbatch.providers.csv.header import ticker_of
from stockbatch.providers.csv.names import REQUIRED
from stockbatch.providers.csv.parser import read
from stockbatch.records import CorporateAction

LONG = """date,open,high,low,close,volume,Name
2018-02-06,2,4,1,3,100,B
2018-02-05,1.5,2,1,1.75,,A
2018-02-05,20,40,10,30,7,B
2018-02-06,,,,3.5,0,A
"""
TRADED = """timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient
2014-06-06,649.9,651.26,644.47,645.57,20.1,12497800,0.0,1.0
2014-06-09,92.7,93.88,91.75,93.7,20.4,75415000,0.0,7.00000700001
2014-08-07,94.93,95.95,94.10,94.48,20.6,46711179,0.47,1.0
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="prices.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def bars(table, ticker, first=None, last=date(2030, 1, 1)):
    return table.bars(table.rows(ticker, first, last))


def problem(path):
    with pytest.raises(BadFile) as caught:
        read(path)
    values = caught.value.values
    assert values["path"] == path
    return values["line"], values["column"], values["reason"]


@pytest.mark.parametrize("pack", [lambda raw: raw, gzip.compress], ids=["plain", "gzip"])
def test_a_long_file_is_grouped_and_sorted(file, pack):
    table = read(file(pack(LONG.encode())))
    assert table.tickers == ("A", "B")
    assert not table.as_traded
    a, b = (bars(table, ticker) for ticker in table.tickers)
    assert a.sessions.tolist() == b.sessions.tolist() == [date(2018, 2, 5), date(2018, 2, 6)]
    assert_array_equal(a.open, [1.5, math.nan])
    assert_array_equal(a.volume, [math.nan, 0])
    assert b.close.tolist() == [30, 3]


def test_rows_are_cut_by_session_both_ends_included(file):
    table = read(file(LONG))
    day = date(2018, 2, 5)
    assert bars(table, "B", None, day).close.tolist() == [30]
    assert bars(table, "B", date(2018, 2, 6)).close.tolist() == [3]
    assert len(bars(table, "B", date(2018, 2, 7))) == 0
    assert len(bars(table, "B", date(2018, 2, 7), day)) == 0


def test_a_file_that_states_splits_and_dividends(file):
    table = read(file(TRADED, "AAPL.csv"))
    assert table.as_traded
    assert table.tickers == ("AAPL",)
    assert table.actions(table.rows("AAPL", None, date(2014, 8, 7))) == (
        CorporateAction(session=date(2014, 6, 9), kind="split", value=7.0),
        CorporateAction(session=date(2014, 8, 7), kind="dividend", value=0.47),
    )
    assert table.actions(table.rows("AAPL", date(2014, 6, 10), date(2014, 8, 6))) == ()


@pytest.mark.parametrize(
    ("stated", "ratio"),
    [
        ("7.00000700001", 7),
        ("1.4999992500004", 1.5),
        ("1.33333", 4 / 3),
        ("0.05", 0.05),
        ("0.66667", 1 / 1.5),
        ("1.0375", 1.0375),
        ("-2", -2),
        ("inf", math.inf),
    ],
)
def test_split_ratios_are_snapped_to_simple_ones_only(file, stated, ratio):
    header, row = TRADED.splitlines()[:2]
    table = read(file(f"{header}\n{row.removesuffix('1.0')}{stated}\n"))
    (split,) = table.actions(table.rows("prices", None, date(2030, 1, 1)))
    assert split.value == ratio


@pytest.mark.parametrize("stated", ["0", "1", "", "nan", "1.00001"])
def test_what_is_no_split(file, stated):
    header, row = TRADED.splitlines()[:2]
    table = read(file(f"{header}\n{row.removesuffix('1.0')}{stated}\n"))
    assert table.actions(table.rows("prices", None, date(2030, 1, 1))) == ()


@pytest.mark.parametrize(
    "header",
    [
        "Date,Open,High,Low,Close,Adj Close,Volume",
        "DATE, open ,HIGH,Low,close,Adj Close,vol",
        "<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<OPENINT>,<VOL>",
        "\ufeffDate,Open,High,Low,Close,Adj Close,Volume",
        "\n\nDate,Open,High,Low,Close,Adj Close,Volume",
    ],
)
@pytest.mark.parametrize("day", ["2020-08-31", "20200831", "2020-08-31 00:00:00-04:00"])
def test_other_names_and_dates(file, header, day):
    table = read(file(f"{header}\n{day},1,4,0.5,2,99,1000\n"))
    one = bars(table, "prices")
    assert one.sessions.tolist() == [date(2020, 8, 31)]
    assert (one.close.tolist(), one.volume.tolist()) == ([2], [1000])
    assert not table.as_traded


LAYOUTS = {
    "stooq": "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
    "AAPL.US,D,20200828,000000,1234.5,1250,1230.25,1240,1234567,0\n"
    "AAPL.US,D,20200831,000000,1,2,1,1.5,7,0\n",
    "thousands": "Date,Open,High,Low,Close,Adj Close,Volume,Ticker\n"
    '"Aug 28, 2020","1,234.50","1,250.00","1,230.25","1,240.00",9,"1,234,567",AAPL.US\n'
    '"Aug 31, 2020",1,2,1,1.50,9,7,AAPL.US\n',
    "text": '"date","open","high","low","close","volume","ticker"\n'
    '"2020-08-28","1234.50","1250","1230.25","1240"," 1234567 ","AAPL.US"\n'
    '"2020-08-31","1","2","1","1.50","7","AAPL.US"\n',
    "semicolons": "Ticker;Date;Open;High;Low;Close;Volume\n"
    "AAPL.US;28.08.2020;1.234,50;1.250,00;1.230,25;1.240;1.234.567\n"
    "AAPL.US;31.08.2020;1,0;2;1;1,5;7\n",
    "semicolons, no thousands": "Ticker;Date;Open;High;Low;Close;Volume\n"
    "AAPL.US;28/08/2020;1234,50;1250,00;1230,25;1240;1234567\n"
    "AAPL.US;31/08/2020;1,0;2;1;1,5;7\n",
    "semicolons and points": "Ticker;Date;Open;High;Low;Close;Volume\n"
    "AAPL.US;2020-08-28;1234.50;1250.00;1230.25;1240;1234567\n"
    "AAPL.US;2020-08-31;1.0;2;1;1.5;7\n",
    "month first": "Ticker|Date|Open|High|Low|Close|Volume\n"
    "AAPL.US|08/28/2020|1 234.50|1'250.00|1\u00a0230.25|1240|1234567\n"
    "AAPL.US|08/31/2020|1.0|2|1|1.5|7\n",
}


@pytest.mark.parametrize("pack", [lambda raw: raw, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(file, layout, encoding, pack):
    table = read(file(pack(LAYOUTS[layout].encode(encoding))))
    assert table.tickers == ("AAPL.US",)
    one = bars(table, "AAPL.US")
    assert one.sessions.tolist() == [date(2020, 8, 28), date(2020, 8, 31)]
    assert (one.open.tolist(), one.high.tolist()) == ([1234.5, 1], [1250, 2])
    assert (one.low.tolist(), one.close.tolist()) == ([1230.25, 1], [1240, 1.5])
    assert one.volume.tolist() == [1234567, 7]


def test_other_alphabets_matter_only_where_they_are_read(file):
    text = "Date,Open,High,Low,Close,Währung,Firma\n2020-08-31,1,2,1,1.5,€,Société\n"
    table = read(file(text.encode("cp1252"), "MC.PA.csv"))
    assert bars(table, "MC.PA").close.tolist() == [1.5]


def test_more_rows_than_are_read_at_a_time(file, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 3 * len(ROW) - 5)
    rows = [f"2018-02-{day:02},1,2,1,1.5,{day},{name}\n" for day in range(1, 8) for name in "BCA"]
    for odd in ("", '2018-02-08,1,2,1,1.5,"1,000",B\n'):
        table = read(file(HEADER + "".join(rows) + odd))
        assert table.tickers == ("A", "B", "C")
        assert not table.findings
        assert bars(table, "A").volume.tolist() == [1, 2, 3, 4, 5, 6, 7]
        assert bars(table, "B").volume.tolist() == [1, 2, 3, 4, 5, 6, 7, 1000][: 7 + bool(odd)]
    for more in (",9", ",9,9", ",,9"):
        for before in (0, 20, 21):
            odd = f"2018-02-08,1,2,1,1.5,1,C{more}\n"
            table = read(file(HEADER + "".join([*rows[:before], odd, *rows[before:]])))
            assert len(table.sessions) == 21
            ((ticker, (finding,)),) = table.findings.items()
            assert (ticker, finding.check) == ("C", "unreadable_line")
            assert f"line {before + 2} is left out: there are" in finding.message
    trailing = "".join(row.replace("\n", ",\n") for row in rows)
    assert bars(read(file(HEADER + trailing)), "A").volume.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_yahoos_splits_are_in_the_prices_already(file):
    header = "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits"
    table = read(file(f"{header}\n2020-08-31,1,4,0.5,2,99,1000,0.2,4.0\n"))
    assert not table.as_traded
    (action,) = table.actions(table.rows("prices", None, date(2030, 1, 1)))
    assert action.kind == "dividend"


def test_volume_may_be_missing_and_tickers_look_like_missing(file):
    table = read(
        file("symbol,date,open,high,low,close\nNA,2020-08-31,1,4,1,2\nnan,20200831,1,4,1,2")
    )
    assert table.tickers == ("NA", "nan")
    assert_array_equal(bars(table, "NA").volume, [math.nan])


@pytest.mark.parametrize(
    ("name", "ticker"),
    [
        ("AAPL.csv", "AAPL"),
        ("BRK.B.CSV", "BRK.B"),
        ("%5EGSPC.csv.gz", "^GSPC"),
        ("x.txt", "x"),
        ("TSLA", "TSLA"),
        ("TSLA Historical Data.csv", "TSLA"),
        ("^GSPC Historical Data (2).csv", "^GSPC"),
    ],
)
def test_the_name_of_a_file_is_its_ticker(tmp_path, name, ticker):
    assert ticker_of(tmp_path / name) == ticker


HEADER = "date,open,high,low,close,volume,Name\n"
ROW = "2018-02-05,1,2,1,1.5,100,A\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("", 1, 1, "empty"),
        ("\n \n", 1, 1, "empty"),
        (HEADER, 2, 1, "no rows"),
        ("date,open,high,low,Name\n" + ROW, 1, "close", "no column close"),
        ("price,open,high,low,close\n", 1, "date", "date or timestamp or session"),
        ("date,open,high,low,close,Close\n", 1, "close", "twice"),
        (HEADER + "2018-02-06,1,2,x1,1.5,100,A\n", 2, "low", "'x1' is not a number"),
        (HEADER + "2018-02-06,1,2,1_0,1.5,100,A\n", 2, "low", "'1_0' is not a number"),
        (HEADER + 2 * "2018-02-06,1,2,%1,1.5,100,A\n" + ROW, 2, "low", "not a number"),
        (HEADER + 2 * "2018-02-30,1,2,1,1,1,A\n" + ROW, 2, "date", "not a date of the calendar"),
        (HEADER + "02/05/2018,1,2,1,1.5,100,A\n", 2, "date", "read as two dates"),
        (HEADER + "13/02/2018,1,2,1,1,1,A\n02/13/2018,1,2,1,1,1,A\n", 2, "date", "two dates"),
        (HEADER + '2018-02-06,1,2,"1,5",1.5,100,A\n', 2, "low", "'1,5' is not a number"),
        (HEADER + '2018-02-06,1,2,"1,500",1,100,A\n', 2, "low", "two numbers: say"),
        (HEADER.replace(",", ";") + "2018-02-06;1;2;1,5;1,5;1.000;A;B\n", 2, 8, "8 cells below 7"),
        (HEADER + 2 * "2018-02-06,1,2,1,1.5,100,\n" + ROW, 2, "Name", "no ticker"),
        (HEADER.encode() + b"2018-02-06,1,2,\xff,1,1,A\n", 2, "low", "not a number"),
        (HEADER.encode("utf-16"), 2, 1, "no rows"),
        ("Date,AAPL,MSFT,GOOG\n2018-02-06,1,2,3\n", 1, "AAPL", "a column for each ticker"),
        (HEADER + ROW.replace("05", "05 10:00") + ROW.replace("05", "05 11:00"), 2, 1, "not daily"),
    ],
)
def test_a_bad_file_is_told_by_line_and_column(file, text, line, column, reason):
    found = problem(file(text))
    assert found[:2] == (line, column)
    assert reason in found[2]


GOOD = [ROW.replace("05", f"{day:02}") for day in range(1, 8)]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (HEADER.encode(), "the header stands here again"),
        (b"yesterday,1,2,1,1,1,A\n", "'yesterday' is not a date"),
        (b"2018-02-30,1,2,1,1,1,A\n", "not a date of the calendar"),
        (b"02/05/2018,1,2,1,1.5,100,A\n", "read as two dates"),
        (b",1,2,1,1.5,100,A\n", "not a date"),
        (b"2018-02-08,1,2,1,1.5,100,\n", "there is no ticker"),
        (b"2018-02-08,1,2,1,1,1,\xc4\n", "this is no ticker: it has characters that cannot"),
        (b"2018-02-08,1,2,1,1,234.5,100,A\n", "8 cells below 7 headings"),
        (b"2018-02-08,1,2\0\0\0\0\n", "there is a NUL byte"),
        (b'2018-02-08,"1,2,1,1,100,A\n', "there is no ticker"),
        (b"Source: a vendor, as is\n", "'Source: a vendor' is not a date"),
    ],
)
@pytest.mark.parametrize("place", [0, 3, 7])
def test_an_odd_line_costs_itself_only(file, odd, reason, place):
    rows = [row.encode() for row in GOOD]
    table = read(file(HEADER.encode() + b"".join([*rows[:place], odd, *rows[place:]])))
    assert bars(table, "A").sessions.tolist() == [date(2018, 2, day) for day in range(1, 8)]
    assert bars(table, "A").close.tolist() == [1.5] * 7
    ((ticker, (finding,)),) = table.findings.items()
    assert (ticker, finding.check, finding.session) == ("A", "unreadable_line", None)
    assert finding.message.startswith(f"line {place + 2} is left out: ")
    assert reason in finding.message


def test_many_odd_lines_are_counted(file):
    table = read(file(HEADER + (ROW + "never,1,2,1,1,1,A\n") * 300))
    *named, more = table.findings["A"]
    assert len(named) == 100
    assert more.message == "200 more lines or cells could not be read"
    assert len(table.sessions) == 300


def test_a_cell_that_is_no_number_costs_its_bar_only(file):
    table = read(file(HEADER + ROW * 2 + "2018-02-06,1,2,#N/A,x1.5,many,A\n"))
    one = bars(table, "A")
    assert one.open.tolist()[-1] == 1
    for name in ("low", "close", "volume"):
        values = getattr(one, name)
        assert np.isfinite(values[:2]).all()
        assert np.isnan(values[2])
    (finding,) = table.findings["A"]
    assert finding.session == date(2018, 2, 6)
    assert finding.message == "line 4 has no close: 'x1.5' is not a number"


@pytest.mark.parametrize(
    ("name", "cell", "check"),
    [("volume", "many", "bad_volume"), ("dividend_amount", "x", "bad_dividend"),
     ("split_coefficient", "four", "bad_split")],
)  # fmt: skip
def test_what_else_cannot_be_read_is_a_finding(file, name, cell, check):
    header, *rows = TRADED.splitlines()
    last = rows[-1].split(",")
    last[header.split(",").index(name)] = cell
    table = read(file("\n".join([header, *rows[:-1], ",".join(last)])))
    (finding,) = table.findings["prices"]
    assert (finding.check, finding.session) == (check, date(2014, 8, 7))
    assert finding.message == f"line 4 has no {name}: {cell!r} is not a number"


def test_a_gzip_file_cut_short(file):
    packed = gzip.compress(("".join([HEADER, *[ROW] * 5000])).encode(), mtime=0)
    for size in (5, 20, len(packed) // 2, len(packed) - 3):
        line, column, reason = problem(file(packed[:size], "cut.csv.gz"))
        assert (column, "compressed data is broken" in reason) == (1, True)
        assert 1 <= line <= 5002


def test_a_damaged_gzip_file(file):
    packed = bytearray(gzip.compress((HEADER + ROW * 100).encode(), mtime=0))
    packed[30] ^= 0xFF
    assert problem(file(bytes(packed)))[1] == 1


def test_nothing_to_read(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(UnreadableFile, match=str(path)):
            read(path)


def test_arrays_cannot_be_changed(file):
    one = bars(read(file(LONG)), "B")
    with pytest.raises(ValueError, match="read-only"):
        one.close[0] = 1


def slow(text):
    """Read a long file with the csv module: {ticker: sorted rows}."""
    rows = {}
    for row in csv.DictReader(io.StringIO(text)):
        prices = [row[name] for name in ("open", "high", "low", "close", "volume")]
        numbers = [float(cell) if cell else math.nan for cell in prices]
        rows.setdefault(row["Name"], []).append((row["date"], *numbers))
    return {ticker: sorted(of_one, key=lambda row: row[0]) for ticker, of_one in rows.items()}


NUMBERS = st.one_of(
    st.just(""),
    st.decimals(0, 10**7, places=4, allow_nan=False).map(str),
    st.floats(0.01, 1e9).map(repr),
)
LINES = st.lists(
    st.tuples(
        st.dates(date(1990, 1, 1), date(2030, 1, 1)).map(str),
        *[NUMBERS] * 5,
        st.sampled_from(["A", "B", "NA", "C.D"]),
    ),
    min_size=1,
    max_size=20,
)


DAILY = [(f"2018-02-{day:02}", *["1"] * 5, ticker) for day in range(1, 29) for ticker in ("A", "B")]
"""Two tickers day by day: what stands beside them is taken for daily bars of tickers, too."""


@given(LINES)
def test_fast_and_slow_reading_agree(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "agree.csv"
    text = HEADER + "".join(",".join(line) + "\n" for line in (*DAILY, *lines))
    path.write_text(text)
    table, expected = read(path), slow(text)
    assert table.tickers == tuple(sorted(expected))
    for ticker, rows in expected.items():
        got = bars(table, ticker, last=date(2040, 1, 1))
        assert [str(day) for day in got.sessions] == [row[0] for row in rows]
        for position, name in enumerate(("open", "high", "low", "close", "volume"), 1):
            np.testing.assert_allclose(
                getattr(got, name), [row[position] for row in rows], rtol=1e-14, atol=0
            )


def outcome(path):
    try:
        return read(path), None
    except BadFile as error:
        return None, error


PIECES = st.sampled_from(
    [b",", b"\n", b"\r", b'"', b"\0", b"\xff", b"\x1f\x8b", b"1.5", b"2018-02-05", b"A", b"-", b" ",
     b"1e999", b"nan", b"\xef\xbb\xbf", HEADER.encode(), ROW.encode(), b"x" * 200_000]
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=12), st.booleans())
@example([HEADER.encode(), b"2018-02-05,1,2,1,1,2,A", b"\r" * 3], False)
@example([HEADER.encode(), b'"' + b"x" * 200_000], True)
def test_hostile_bytes_are_read_or_refused_as_bad_files(tmp_path_factory, pieces, pack):
    path = tmp_path_factory.getbasetemp() / "hostile.csv"
    raw = b"".join(pieces)
    path.write_bytes(gzip.compress(raw) if pack else raw)
    table, error = outcome(path)
    if table is None:
        assert error.values["line"] >= 1
        assert str(path) in str(error)
    else:
        assert len(table.sessions) > 0
        assert set(REQUIRED) - {"session"} <= set(table.numbers)


@given(st.integers(0, 3), st.integers(0, 6), st.text(min_size=1, max_size=6))
def test_one_bad_cell_is_found_or_is_good(tmp_path_factory, row, column, cell):
    path = tmp_path_factory.getbasetemp() / "cell.csv"
    rows = [ROW.strip().split(",") for _ in range(4)]
    rows[row][column] = cell
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    path.write_bytes((HEADER + buffer.getvalue()).encode("utf-8", "surrogatepass"))
    table, error = outcome(path)
    assert table is not None or error.values["line"] >= 2 + row
