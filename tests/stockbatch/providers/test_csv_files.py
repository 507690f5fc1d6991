import gzip
import os
from datetime import date

import pytest

from stockbatch.config import Settings
from stockbatch.exceptions import BadFile, BadOption, NoData, UnknownTicker, UnreadableFile
from stockbatch.providers import registry
from stockbatch.providers.csv import parser
from stockbatch.providers.csv.provider import CsvFiles
from stockbatch.records import BarRequest, FetchedBars, PriceBasis

LONG = """date,open,high,low,close,volume,Name
2018-02-05,1,2,1,1.5,100,AAPL
2018-02-06,1,2,1,1.6,100,AAPL
2018-02-05,5,6,4,5.5,100,MSFT
"""
SINGLE = "Date,Open,High,Low,Close,Adj Close,Volume\n2018-02-05,1,2,1,1.5,9,100\n"
SPLITS = "timestamp,open,high,low,close,volume,split_coefficient\n2018-02-05,1,2,1,1.5,100,2.0\n"
LAST = date(2018, 2, 6)


def request(symbol, first=None, last=LAST):
    return BarRequest(symbol=symbol, first=first, last=last)


def fetch(provider, *symbols):
    return list(provider.fetch([request(symbol) for symbol in symbols]))


@pytest.fixture
def long_file(tmp_path):
    path = tmp_path / "all.csv.gz"
    path.write_bytes(gzip.compress(LONG.encode()))
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "bars"
    path.mkdir()
    (path / "AAPL.csv").write_text(SINGLE)
    (path / "%5EGSPC.csv.gz").write_bytes(gzip.compress(SINGLE.encode()))
    (path / "README.txt").write_text("not a table")
    return path


def test_one_long_file(long_file):
    provider = CsvFiles(str(long_file))
    assert [one.ticker for one in provider.listings()] == ["AAPL", "MSFT"]
    assert {one.price_basis for one in provider.listings()} == {PriceBasis.SPLIT_ADJUSTED}
    aapl, msft = fetch(provider, "AAPL", "MSFT")
    assert isinstance(aapl, FetchedBars)
    assert (aapl.symbol, aapl.bars.close.tolist()) == ("AAPL", [1.5, 1.6])
    assert (msft.symbol, msft.bars.close.tolist()) == ("MSFT", [5.5])
    assert provider.price_basis is PriceBasis.SPLIT_ADJUSTED


def test_a_folder_of_a_file_per_ticker(folder):
    provider = CsvFiles(str(folder))
    assert [listing.ticker for listing in provider.listings()] == ["AAPL", "^GSPC"]
    assert provider.listing("^GSPC").symbol == "^GSPC"
    assert [answer.symbol for answer in fetch(provider, "^GSPC", "AAPL")] == ["^GSPC", "AAPL"]


def test_each_file_of_a_folder_has_prices_of_its_own_basis(folder):
    for file in folder.iterdir():
        file.unlink()
    (folder / "AAPL.csv").write_text(SPLITS)
    provider = CsvFiles(str(folder))
    assert provider.price_basis is PriceBasis.AS_TRADED
    (folder / "MSFT.csv").write_text(SINGLE)
    one, other = fetch(provider, "AAPL", "MSFT")
    assert [action.value for action in one.actions] == [2]
    assert one.price_basis is PriceBasis.AS_TRADED
    assert other.price_basis is PriceBasis.SPLIT_ADJUSTED
    assert [listing.price_basis for listing in provider.listings()] == [
        *(PriceBasis.AS_TRADED, PriceBasis.SPLIT_ADJUSTED)
    ]


def test_every_request_has_its_answer(long_file):
    provider = CsvFiles(str(long_file))
    requests = [
        request("APPL"),
        request("MSFT", first=LAST),
        request("MSFT", last=date(2018, 2, 4)),
        request("AAPL", first=LAST),
    ]
    unknown, late, early, good = provider.fetch(requests)
    assert isinstance(unknown, UnknownTicker)
    assert str(unknown) == "csv does not know APPL: did you mean AAPL?"

    assert isinstance(late, NoData)
    assert str(late) == "csv has no bars of MSFT from 2018-02-06 to 2018-02-06"
    assert str(early) == "csv has no bars of MSFT from the beginning to 2018-02-04"
    assert [error.values["ticker"] for error in (unknown, late, early)] == ["APPL", "MSFT", "MSFT"]
    assert good.bars.sessions.tolist() == [LAST]


def test_a_file_that_is_named_after_something_else_says_how_to_name_it(tmp_path):
    (tmp_path / "history.csv").write_text("date,open,high,low,close\n2024-01-02,1,1,1,1\n")
    (unknown,) = CsvFiles(str(tmp_path / "history.csv")).fetch([request("AAPL")])
    assert str(unknown) == (
        "csv does not know AAPL: by its name history.csv has the bars of history; if they are of"
        " AAPL, name it AAPL.csv"
    )


def test_unknown_tickers_are_told_with_a_hint(folder):
    with pytest.raises(UnknownTicker, match="did you mean AAPL"):
        CsvFiles(str(folder)).listing("aapl")


def test_a_bad_file_concerns_its_own_ticker_only(folder):
    (folder / "BAD.csv").write_text(SINGLE.replace("2018-02-05", "yesterday"))
    (folder / "EMPTY.csv").write_text("")
    provider = CsvFiles(str(folder))
    good, bad, empty, unknown = fetch(provider, "AAPL", "BAD", "EMPTY", "TSLA")
    assert isinstance(good, FetchedBars)
    assert (type(bad), bad.values["ticker"], bad.values["line"]) == (BadFile, "BAD", 2)
    assert str(bad).endswith(
        "BAD.csv, line 2, column Date: 'yesterday' is not a date like 2024-12-31"
    )
    assert (type(empty), empty.values["ticker"]) == (BadFile, "EMPTY")
    assert (type(unknown), unknown.values["ticker"]) == (BadFile, "TSLA")
    bad = f"{folder / 'BAD.csv'}, line 2, column Date: 'yesterday' is not a date like 2024-12-31"
    empty = f"{folder / 'EMPTY.csv'}, line 1, column 1: the file is empty"
    listed = [getattr(one, "ticker", str(one)) for one in provider.listings()]
    assert listed == ["AAPL", bad, empty, "^GSPC"]
    with pytest.raises(BadFile, match="empty"):
        provider.state()
    assert provider.listing("AAPL").ticker == "AAPL"


def test_a_bad_long_file_answers_every_request(long_file):
    long_file.write_text(LONG.replace("2018-02-0", "yesterday"))
    provider = CsvFiles(str(long_file))
    answers = fetch(provider, "AAPL", "MSFT")
    assert [answer.values["ticker"] for answer in answers] == ["AAPL", "MSFT"]
    assert {type(answer) for answer in answers} == {BadFile}
    with pytest.raises(BadFile, match=r"line 2, column date: 'yesterday5' is not a date"):
        provider.listings()


def test_a_ticker_in_two_files_is_refused(folder):
    (folder / "AAPL.csv.gz").write_text(SINGLE)
    twice, good = fetch(CsvFiles(str(folder)), "AAPL", "^GSPC")
    assert isinstance(twice, BadFile)
    assert "AAPL is in" in str(twice)
    assert isinstance(good, FetchedBars)


@pytest.mark.parametrize(("name", "reason"), [("absent.csv", "No such file"), ("", "no CSV files")])
def test_nothing_there(tmp_path, name, reason):
    provider = CsvFiles(str(tmp_path / name))
    with pytest.raises(UnreadableFile, match=reason):
        provider.listings()
    with pytest.raises(UnreadableFile, match=reason):
        _ = provider.price_basis
    (answer,) = fetch(provider, "AAPL")
    assert isinstance(answer, UnreadableFile)
    assert answer.values["ticker"] == "AAPL"


def test_a_file_is_parsed_once_and_again_when_it_changes(long_file, monkeypatch):
    read = []
    monkeypatch.setattr(
        "stockbatch.providers.csv.provider.read",
        lambda path, reading: (read.append(path), parser.read(path, reading))[1],
    )
    provider = CsvFiles(str(long_file))
    for _ in range(3):
        provider.listings()
        fetch(provider, "AAPL", "MSFT")
    assert len(read) == 1
    long_file.write_text(LONG.replace("MSFT", "TSLA"))
    assert [listing.ticker for listing in provider.listings()] == ["AAPL", "TSLA"]
    assert len(read) == 2
    status = long_file.stat()
    os.utime(long_file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    fetch(provider, "AAPL")
    assert len(read) == 3


def test_a_pattern_names_files(folder, tmp_path):
    (folder / "deep").mkdir()
    (folder / "deep" / "MSFT.txt").write_text(SINGLE)
    for pattern, tickers in (
        ("*.csv", ["AAPL"]),
        ("*.csv*", ["AAPL", "^GSPC"]),
        ("**/MSFT.*", ["MSFT"]),
        ("[A-Z]*.c?v", ["AAPL"]),
    ):
        provider = CsvFiles(f"{folder}/{pattern}")
        assert [listing.ticker for listing in provider.listings()] == tickers, pattern
    (folder / "[odd].csv").write_text(SINGLE)
    assert CsvFiles(f"{folder}/[odd].csv").listings()[0].ticker == "[odd]"
    with pytest.raises(UnreadableFile, match="fits no file"):
        CsvFiles(f"{folder}/*.parquet").listings()


def test_one_table_is_in_memory_at_a_time(folder, monkeypatch):
    read = []
    monkeypatch.setattr(
        "stockbatch.providers.csv.provider.read",
        lambda path, reading: (read.append(path.name), parser.read(path, reading))[1],
    )
    (folder / "long1.csv").write_text(LONG.replace("AAPL", "X1").replace("MSFT", "X2"))
    (folder / "long2.csv").write_text(LONG.replace("AAPL", "Y1").replace("MSFT", "Y2"))
    provider = CsvFiles(str(folder))
    assert provider.state() == "lists 6 tickers"
    assert read == ["long1.csv", "long2.csv"]
    answers = fetch(provider, "Y1", "X1", "Y2", "X2", "AAPL")
    assert {answer.symbol for answer in answers} == {"Y1", "X1", "Y2", "X2", "AAPL"}
    assert read[2:] == ["long1.csv", "AAPL.csv"]


def test_specifications_are_absolute(long_file, monkeypatch):
    monkeypatch.chdir(long_file.parent)
    provider = registry.create("csv:./x/../all.csv.gz", Settings())
    assert provider.specification == f"csv:{long_file}"
    again = registry.create(provider.specification, Settings())
    assert again.listings() == provider.listings()
    assert again.name == "csv"


def test_a_folder_of_400_files_is_listed_once_per_fetch(tmp_path, monkeypatch):
    for number in range(400):
        (tmp_path / f"T{number}.csv").write_text(SINGLE)
    calls, stat = [], os.stat

    def counted(path, *args, **kwargs):
        calls.append(path)
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", counted)
    provider = CsvFiles(str(tmp_path))
    names = [f"T{number}" for number in range(400)]
    answers = fetch(provider, *names)
    assert {type(answer) for answer in answers} == {FetchedBars}
    assert {provider.price_basis for _ in answers} == {PriceBasis.SPLIT_ADJUSTED}
    # Before each opening of a file, one call tells that it is no pipe.
    assert 400 <= len(calls) <= 10 * 400
    calls.clear()
    assert [provider.listing(name).ticker for name in names] == names
    assert 400 <= len(calls) <= 10 * 400


@pytest.mark.parametrize(
    "name", [b"\xc6\xbd\xb0\xb2.csv", b"a\nb.csv", b" .csv", b"%C6%C6.csv", b"\xff.zip"]
)
def test_a_name_that_is_no_ticker_keeps_no_other_file_out(folder, name):
    (folder / os.fsdecode(name)).write_text(SINGLE)
    *good, bad = sorted(CsvFiles(str(folder)).listings(), key=lambda one: type(one).__name__)
    assert [one.ticker for one in good] == ["AAPL", "^GSPC"]
    str(bad).encode()
    repr(bad).encode()
    assert "rename it" in str(bad)
    assert isinstance(fetch(CsvFiles(str(folder)), "AAPL")[0], FetchedBars)


def test_a_long_file_may_have_any_name_but_be_no_specification(folder):
    (folder / os.fsdecode(b"\xc6\xc6.csv")).write_text(LONG.replace("AAPL", "X"))
    assert [one.ticker for one in CsvFiles(str(folder)).listings()] == [
        *("AAPL", "MSFT", "X", "^GSPC")
    ]
    with pytest.raises(UnreadableFile, match=r"\\xc6\\xc6\.csv cannot be read: its name is not"):
        CsvFiles(str(folder / os.fsdecode(b"\xc6\xc6.csv")))


def test_hidden_files_are_left_out(folder):
    for name in ("._AAPL.csv", ".MSFT.csv", "~$book.xlsx", ".DS_Store"):
        (folder / name).write_bytes(b"\0\x05\x16\x07")
    (folder / "deep.csv").mkdir()
    assert [one.ticker for one in CsvFiles(str(folder)).listings()] == ["AAPL", "^GSPC"]
    assert [one.ticker for one in CsvFiles(f"{folder}/*.csv").listings()] == ["AAPL"]


def test_a_dangling_link_is_told(folder):
    (folder / "GONE.csv").symlink_to(folder / "nowhere")
    _, gone, _ = CsvFiles(str(folder)).listings()
    assert str(gone) == f"{folder / 'GONE.csv'} cannot be read: No such file or directory"


DAY = "symbol,date,open,high,low,close,volume\n"


def deliveries(folder, *texts):
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts, 9):
        (folder / f"{number}.csv").write_text(DAY + text)
    return CsvFiles(str(folder))


def test_of_a_session_in_two_deliveries_the_later_one_counts(tmp_path):
    provider = deliveries(
        tmp_path,
        "A,2018-02-01,1,1,1,1,5\nA,2018-02-02,2,2,2,2,5\nGONE,2018-02-01,7,7,7,7,5\n",
        "A,2018-02-02,2,2,2,2.5,9\nA,2018-02-05,3,3,3,3,5\nNEW,2018-02-05,8,8,8,8,5\n",
    )
    assert [one.ticker for one in provider.listings()] == ["A", "GONE", "NEW"]
    gone, new, found = fetch(provider, "A", "GONE", "NEW")
    assert found.bars.sessions.tolist() == [date(2018, 2, day) for day in (1, 2, 5)]
    assert found.bars.close.tolist() == [1, 2.5, 3]
    assert found.bars.volume.tolist() == [5, 9, 5]
    assert (gone.bars.close.tolist(), new.bars.close.tolist()) == ([7], [8])
    late = list(provider.fetch([request("A", first=date(2018, 2, 3), last=date(2018, 2, 4))]))
    assert isinstance(late[0], NoData)


def test_a_bad_delivery_keeps_the_others_in(tmp_path):
    provider = deliveries(tmp_path, "A,2018-02-01,1,1,1,1,5\n", "A,now,2,2,2,2,5\n")
    bad, good = provider.listings()
    assert (good.ticker, type(bad)) == ("A", BadFile)
    assert fetch(provider, "A")[0].bars.close.tolist() == [1]


def test_a_bad_delivery_is_told_once(tmp_path, caplog):
    provider = deliveries(tmp_path, "A,2018-02-01,1,1,1,1,5\n", *["A,now,2,2,2,2,5\n"] * 11)
    for _ in range(2):
        assert fetch(provider, "A")[0].bars.close.tolist() == [1]
    *named, others = [record.getMessage() for record in caplog.records]
    assert len(named) == 10
    assert named[0].startswith(f"{tmp_path / '10.csv'}, line 2, column date: 'now' is not a date")
    assert others == f"{tmp_path}: files not read beside these: 1"


def test_two_companies_of_one_name_in_two_files_are_refused(tmp_path):
    days = [f"2018-01-{day}" for day in range(22, 30)]
    one = "".join(f"BP,{day},1,9,1,{5 + at},1\n" for at, day in enumerate(days))
    other = "".join(f"BP,{day},1,99,1,{50 - 3 * at},1\n" for at, day in enumerate(days))
    split = "".join(f"BP,{day},1,9,1,{(5 + at) / 2},1\n" for at, day in enumerate(days))
    (bad,) = fetch(deliveries(tmp_path, one, other), "BP")
    assert str(bad) == (
        f"{tmp_path / '9.csv'}, line 1, column 1: BP is another company here than in "
        f"{tmp_path / '10.csv'}"
    )
    assert isinstance(fetch(deliveries(tmp_path, one, split), "BP")[0], FetchedBars)


def test_one_ticker_has_one_basis_over_all_its_files(tmp_path):
    deliveries(tmp_path, "A,2018-02-01,1,1,1,1,5\n")
    stated = "date,open,high,low,close,volume,{},symbol\n2018-02-{},1,1,1,1,5,{},A\n"
    (tmp_path / "10.csv").write_text(stated.format("split_ratio", "02", "1"))
    (good,) = fetch(CsvFiles(str(tmp_path)), "A")
    assert (len(good.bars), good.price_basis) == (2, PriceBasis.AS_TRADED)
    (tmp_path / "11.csv").write_text(stated.format("Dividends,Stock Splits", "05", "0,0"))
    (bad,) = fetch(CsvFiles(str(tmp_path)), "A")
    assert "of A are as_traded in 10.csv and total_return in 11.csv: say which" in str(bad)
    (good,) = fetch(CsvFiles(f"{tmp_path}#basis=as_traded"), "A")
    assert (len(good.bars), good.price_basis) == (3, PriceBasis.AS_TRADED)


def test_options_travel_in_the_specification(tmp_path):
    odd = tmp_path / "a#b=c.csv"
    odd.write_text(SINGLE)
    assert CsvFiles(str(odd)).listings()[0].ticker == "a#b=c"
    assert CsvFiles(f"{tmp_path}/none#1.csv").specification == f"csv:{tmp_path}/none#1.csv"
    provider = CsvFiles(f"{odd}#basis=total_return&ticker=a%26b%20%23")
    assert provider.specification == f"csv:{odd}#ticker=a%26b%20%23&basis=total_return"
    again = registry.create(provider.specification, Settings())
    assert again.specification == provider.specification
    assert again.price_basis is PriceBasis.TOTAL_RETURN


@pytest.mark.parametrize(
    ("fragment", "reason"),
    [
        ("marks=comma", "csv has no option marks: there are ticker, decimal, dates, basis"),
        ("decimal=dot", "csv has no option decimal=dot: it may be point or comma"),
        ("basis=as_traded&basis=as_traded", "basis is there twice"),
    ],
)
def test_an_option_there_is_not_is_refused(folder, fragment, reason):
    with pytest.raises(BadOption, match=reason):
        registry.create(f"csv:{folder}#{fragment}", Settings())
