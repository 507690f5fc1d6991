"""Bars in zip archives, workbooks and Parquet files."""

import gzip
import zipfile
from datetime import date

import openpyxl
import pandas as pd
import pytest

from stockbatch.exceptions import BadFile, UnreadableFile
from stockbatch.providers.csv import containers
from stockbatch.providers.csv.provider import CsvFiles
from stockbatch.records import BarRequest, FetchedBars, Listing

TEXT = "Date,Open,High,Low,Close,Volume\n2024-05-01,1,2,1,1.5,100\n2024-05-02,1.5,3,1,2.125,90\n"
LAST = date(2024, 5, 31)
HEADINGS = ("Date", "Open", "High", "Low", "Close", "Volume")
ROWS = [
    (pd.Timestamp("2024-05-01"), 1, 2, 1, 1.5, 100),
    (pd.Timestamp("2024-05-02"), 1.5, 3, 1, 2.125, 90),
]


@pytest.fixture(autouse=True)
def _nothing_remembered():
    yield
    containers.forget()


def closes(path, ticker):
    source = CsvFiles(str(path))
    (answer,) = source.fetch([BarRequest(symbol=ticker, first=None, last=LAST)])
    source.close()
    assert isinstance(answer, FetchedBars), answer
    return dict(zip(answer.bars.sessions.tolist(), answer.bars.close.tolist(), strict=True))


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


BARS = {date(2024, 5, 1): 1.5, date(2024, 5, 2): 2.125}


def test_each_file_of_an_archive_is_like_one_of_a_folder(tmp_path):
    path = archive(
        tmp_path / "all.zip",
        {
            "AAA.csv": TEXT,
            "deep/%5EBBB.csv.gz": gzip.compress(TEXT.encode()),
            "BAD.csv": "nothing\n",
            "__MACOSX/._AAA.csv": b"\0\5\x16",
            "notes.txt": "read me",
        },
    )
    bad, *good = sorted(CsvFiles(str(path)).listings(), key=lambda one: type(one).__name__)
    assert [one.ticker for one in good] == ["AAA", "^BBB"]
    assert str(bad).startswith(f"{path / 'BAD.csv'}, line 1")
    assert closes(path, "AAA") == closes(path, "^BBB") == BARS
    assert closes(path / "AAA.csv", "AAA") == BARS
    assert closes(tmp_path, "AAA") == BARS
    assert closes(f"{tmp_path}/*.zip", "^BBB") == BARS


def test_one_file_in_an_archive_and_text_files_where_there_is_nothing_else(tmp_path):
    assert closes(archive(tmp_path / "bars.csv.zip", {"AAA.csv": TEXT}), "AAA") == BARS
    assert closes(archive(tmp_path / "stooq.zip", {"data/us/AAA.txt": TEXT}), "AAA") == BARS


def test_an_archive_that_changes_is_read_again(tmp_path):
    path = archive(tmp_path / "all.zip", {"AAA.csv": TEXT})
    source = CsvFiles(str(path))
    assert [one.ticker for one in source.listings()] == ["AAA"]
    archive(path, {"AAA.csv": TEXT, "BBB.csv": TEXT})
    assert [one.ticker for one in source.listings()] == ["AAA", "BBB"]


def test_an_archive_of_many_files_is_opened_once(tmp_path, monkeypatch):
    path = archive(tmp_path / "all.zip", {f"T{number}.csv": TEXT for number in range(50)})
    opened, original = [], zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda *args: (opened.append(args), original(*args))[1])
    requests = [BarRequest(symbol=f"T{at}", first=None, last=LAST) for at in range(50)]
    answers = list(CsvFiles(str(path)).fetch(requests))
    assert {type(answer) for answer in answers} == {FetchedBars}
    assert len(opened) == 1


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "nested", "locked"])
def test_a_broken_archive_is_refused_and_keeps_nothing_else_out(tmp_path, how):
    (tmp_path / "AAA.csv").write_text(TEXT)
    noise = "".join(f"{at * 7919 % 1000}\n" for at in range(5000))
    path = archive(tmp_path / "BBB.zip", {"BBB.csv": TEXT + noise})
    whole = path.read_bytes()
    if how == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "flipped":
        path.write_bytes(whole[:200] + bytes(200) + whole[400:])
    elif how == "empty":
        archive(path, {"x.md": "nothing"})
    elif how == "nested":
        archive(path, {"inner.zip": whole})
    else:
        at = whole.index(b"PK\1\2")
        path.write_bytes(whole[:6] + b"\1" + whole[7 : at + 8] + b"\1" + whole[at + 9 :])
    good, bad = CsvFiles(str(tmp_path)).listings()
    assert isinstance(good, Listing)
    assert isinstance(bad, BadFile | UnreadableFile)
    assert "BBB.zip" in str(bad)


def test_names_in_an_archive_that_do_not_say_how_they_are_encoded(tmp_path):
    path = tmp_path / "all.zip"
    archive(path, {"aaaa.csv": TEXT, "bb.csv": TEXT, "AAA.csv": TEXT})
    packed = path.read_bytes().replace(b"aaaa.csv", b"\xc6\xc6\xc6\xc6.csv")
    path.write_bytes(packed.replace(b"bb.csv", "é.csv".encode()))
    *good, bad = sorted(CsvFiles(str(path)).listings(), key=lambda one: type(one).__name__)
    assert [one.ticker for one in good] == ["AAA", "é"]
    assert r"\xc6\xc6\xc6\xc6.csv cannot be read: its name" in str(bad)


def book(path, **sheets):
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return path


def test_a_workbook_is_read_from_the_sheet_with_bars(tmp_path):
    about = [("Source", "somewhere"), (None,), ("Made", date(2024, 6, 1))]
    path = book(tmp_path / "AAA.xlsx", About=about, Empty=[], Bars=[HEADINGS, *ROWS])
    assert closes(path, "AAA") == BARS
    assert closes(tmp_path, "AAA") == BARS
    assert closes(archive(tmp_path / "all.zip", {"BBB.xlsx": path.read_bytes()}), "BBB") == BARS


def test_a_workbook_with_bars_on_several_sheets_is_refused(tmp_path):
    path = book(tmp_path / "AAA.xlsx", One=[HEADINGS, *ROWS], Two=[HEADINGS, *ROWS], Three=[("x",)])
    with pytest.raises(BadFile, match="the sheets One, Two all have bars"):
        CsvFiles(str(path)).listings()


def test_numbers_of_cells_have_one_reading(tmp_path):
    """9.125 in a cell is no 9125, whatever all the others look like."""
    days = pd.bdate_range("2024-05-01", periods=5).to_pydatetime()
    rows = [(day, 9.125, 9.375, 9.125, 9.125 + at / 8, 100) for at, day in enumerate(days)]
    path = book(tmp_path / "AAA.xlsx", Bars=[HEADINGS, *rows])
    assert list(closes(path, "AAA").values()) == [9.125, 9.25, 9.375, 9.5, 9.625]
    frame = pd.DataFrame(rows, columns=list(HEADINGS))
    frame.to_parquet(tmp_path / "BBB.parquet")
    assert list(closes(tmp_path / "BBB.parquet", "BBB").values()) == [
        9.125,
        9.25,
        9.375,
        9.5,
        9.625,
    ]


@pytest.mark.parametrize("index", ["Date", None])
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo", "America/New_York"])
def test_parquet_with_the_index_of_a_frame(tmp_path, index, zone):
    frame = pd.DataFrame(ROWS, columns=list(HEADINGS)).set_index("Date")
    frame.index = frame.index.tz_localize(zone).rename(index)
    frame.loc[frame.index[0], "Volume"] = float("nan")
    frame.to_parquet(tmp_path / "AAA.parquet")
    assert closes(tmp_path / "AAA.parquet", "AAA") == BARS


def test_parquet_of_many_tickers(tmp_path):
    frame = pd.DataFrame(ROWS, columns=list(HEADINGS))
    both = pd.concat([frame.assign(symbol="AAA"), frame.assign(symbol="BBB")])
    both["symbol"] = both["symbol"].astype("category")
    both["Date"] = both["Date"].dt.date
    both.to_parquet(tmp_path / "all.parquet")
    assert [one.ticker for one in CsvFiles(str(tmp_path)).listings()] == ["AAA", "BBB"]
    assert closes(tmp_path, "BBB") == BARS


def test_instants_keep_their_zone():
    import pyarrow as pa

    instants = pd.to_datetime(["2024-06-26 22:00:00+00:00", "2024-06-27 22:00:00+00:00"])
    texts = containers.texts_of(pa.chunked_array([pa.array(instants)])).to_pylist()
    assert texts == ["2024-06-26 22:00:00+00:00", "2024-06-27 22:00:00+00:00"]


@pytest.mark.parametrize(("name", "module"), [("AAA.xlsx", "openpyxl"), ("AAA.parquet", "pyarrow")])
def test_without_its_library_the_extra_is_named_and_other_files_are_read(
    tmp_path, monkeypatch, name, module
):
    book(tmp_path / "AAA.xlsx", Bars=[HEADINGS, *ROWS])
    pd.DataFrame(ROWS, columns=list(HEADINGS)).to_parquet(tmp_path / "AAA.parquet")
    (tmp_path / "AAA.csv").write_text(TEXT)
    for other in tmp_path.glob("AAA.*"):
        if other.name not in (name, "AAA.csv"):
            other.unlink()
    (tmp_path / "AAA.csv").rename(tmp_path / "BBB.csv")
    find = containers.find_spec
    monkeypatch.setattr(
        containers, "find_spec", lambda asked: None if asked == module else find(asked)
    )
    bad, good = CsvFiles(str(tmp_path)).listings()
    assert good.ticker == "BBB"
    assert "needs packages of the extra 'files'" in str(bad)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"PAR1", "it is broken"),
        (b"PK\3\4", "the archive is broken"),
        (b"\xd0\xcf\x11\xe0", "before 2007: save it as .xlsx"),
        (b"7z\xbc\xaf", "a 7z archive: unpack it"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, start, told):
    (tmp_path / "AAA.csv").write_bytes(start + bytes(100))
    with pytest.raises(BadFile, match=told):
        CsvFiles(str(tmp_path)).listings()


def test_a_table_is_unpacked_once(tmp_path, monkeypatch):
    path = book(tmp_path / "AAA.xlsx", Bars=[HEADINGS, *ROWS])
    load, loaded = openpyxl.load_workbook, []
    monkeypatch.setattr(
        openpyxl, "load_workbook", lambda *a, **k: (loaded.append(a), load(*a, **k))[1]
    )
    assert closes(path, "AAA") == BARS
    assert len(loaded) == 1
