import gzip
import os
from datetime import date

import pytest

from stockbatch.config import Settings
from stockbatch.exceptions import BadFile, NoData, UnknownTicker, UnreadableFile
from stockbatch.providers import registry
from stockbatch.providers.csv import parser
from stockbatch.providers.csv.provider import CsvFiles
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis

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
    assert provider.listings() == [
        Listing(ticker="AAPL", symbol="AAPL"),
        Listing(ticker="MSFT", symbol="MSFT"),
    ]
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


def test_prices_are_as_traded_where_splits_are_stated(folder):
    for file in folder.iterdir():
        file.unlink()
    (folder / "AAPL.csv").write_text(SPLITS)
    provider = CsvFiles(str(folder))
    assert provider.price_basis is PriceBasis.AS_TRADED
    (folder / "MSFT.csv").write_text(SINGLE)
    good, bad = fetch(provider, "AAPL", "MSFT")
    assert [action.value for action in good.actions] == [2]
    assert isinstance(bad, BadFile)
    assert "some files" in str(bad)


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


def test_unknown_tickers_are_told_with_a_hint(folder):
    with pytest.raises(UnknownTicker, match="did you mean AAPL"):
        CsvFiles(str(folder)).listing("aapl")


def test_a_bad_file_concerns_its_own_ticker_only(folder):
    (folder / "BAD.csv").write_text(SINGLE + 2 * "yesterday,1,2,1,1.5,9,100\n")
    (folder / "EMPTY.csv").write_text("")
    provider = CsvFiles(str(folder))
    good, bad, empty, unknown = fetch(provider, "AAPL", "BAD", "EMPTY", "TSLA")
    assert isinstance(good, FetchedBars)
    assert (type(bad), bad.values["ticker"], bad.values["line"]) == (BadFile, "BAD", 3)
    assert str(bad).endswith(
        "BAD.csv, line 3, column Date: 'yesterday' is not a date like 2024-12-31"
    )
    assert (type(empty), empty.values["ticker"]) == (BadFile, "EMPTY")
    assert (type(unknown), unknown.values["ticker"]) == (BadFile, "TSLA")
    assert [getattr(one, "ticker", str(one)) for one in provider.listings()] == [
        "AAPL",
        f"{folder / 'BAD.csv'}, line 3, column Date: 'yesterday' is not a date like 2024-12-31",
        f"{folder / 'EMPTY.csv'}, line 1, column 1: the file is empty",
        "^GSPC",
    ]
    with pytest.raises(BadFile, match="not a date"):
        provider.state()
    assert provider.listing("AAPL").ticker == "AAPL"


def test_a_bad_long_file_answers_every_request(long_file):
    long_file.write_text(LONG + 4 * "2018-02-06,1,2\n")
    provider = CsvFiles(str(long_file))
    answers = fetch(provider, "AAPL", "MSFT")
    assert [answer.values["ticker"] for answer in answers] == ["AAPL", "MSFT"]
    assert {type(answer) for answer in answers} == {BadFile}
    with pytest.raises(BadFile, match=r"line 5, column Name: there is no ticker"):
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
        lambda path: (read.append(path), parser.read(path))[1],
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
        lambda path: (read.append(path.name), parser.read(path))[1],
    )
    (folder / "long1.csv").write_text(LONG.replace("AAPL", "X1").replace("MSFT", "X2"))
    (folder / "long2.csv").write_text(LONG.replace("AAPL", "Y1").replace("MSFT", "Y2"))
    provider = CsvFiles(str(folder))
    provider.listings()
    assert read == ["%5EGSPC.csv.gz", "AAPL.csv", "long1.csv", "long2.csv"]
    answers = fetch(provider, "Y1", "X1", "Y2", "X2", "AAPL")
    assert {answer.symbol for answer in answers} == {"Y1", "X1", "Y2", "X2", "AAPL"}
    assert read[4:] == ["long1.csv", "AAPL.csv"]


def test_specifications_are_absolute(long_file, monkeypatch):
    monkeypatch.chdir(long_file.parent)
    provider = registry.create("csv:./x/../all.csv.gz", Settings())
    assert provider.specification == f"csv:{long_file}"
    again = registry.create(provider.specification, Settings())
    assert again.listings() == provider.listings()
    assert again.name == "csv"
