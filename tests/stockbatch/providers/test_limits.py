"""Files that would fill the memory, or never end, are refused, at once and with a reason."""

import gzip
import io
import os
import subprocess
import sys
import zipfile

import openpyxl
import pandas as pd
import pytest

from jobs import symbols
from stockbatch.exceptions import BadFile, ProviderError, UnreadableFile
from stockbatch.providers.csv import containers, limits
from stockbatch.providers.csv.lines import read_rows
from stockbatch.providers.csv.parser import read
from stockbatch.providers.csv.provider import CsvFiles

HEADER = b"date,open,high,low,close,volume\n"
ROW = b"2024-06-03,10,11,9,10,100\n"
MIB = 2**20
MOST_MEMORY = 350
"""MiB that reading a hostile file may take on top of what importing takes."""

MEASURED = """
import resource, sys
from stockbatch.exceptions import ProviderError
from stockbatch.providers.csv.parser import read
from pathlib import Path
import pandas, numpy
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    try:
        read(Path(name))
    except ProviderError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def gzipped(content, times):
    """Return so many copies of a content, packed: a gzip file may have several parts."""
    return gzip.compress(content) * times


@pytest.fixture
def bombs(tmp_path):
    """Files that once took gigabytes, by what is said of them."""
    line = tmp_path / "line.csv"
    with line.open("wb") as file:
        file.write(HEADER)
        file.truncate(3 * 2**30)  # of nothing but NUL, and of no size on the disk
    zeros = tmp_path / "zeros.csv.gz"
    zeros.write_bytes(gzip.compress(HEADER) + gzipped(bytes(16 * MIB), 128))
    rows = tmp_path / "rows.csv.gz"
    rows.write_bytes(gzip.compress(HEADER) + gzipped(ROW * (4 * MIB // len(ROW)), 16))
    commas = tmp_path / "commas.csv"
    commas.write_bytes(b"".join(b"1," * (MIB // 2 - 100) + b"\n" for _ in range(60)))
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.write(HEADER)
        file.truncate(limits.LARGEST + 1)
    return [line, zeros, rows, commas, large]


def test_reading_what_has_no_end_takes_little_memory(bombs):
    command = [sys.executable, "-c", MEASURED, *map(str, bombs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    *said, taken = done.stdout.splitlines()
    expected = ["line has more than 1,048,576", "line has more than 1,048,576"]
    expected += ["more than 50 times its size", "cells in this row", "line has more than"]
    for words, line in zip(expected, said, strict=True):
        assert words in line
        assert len(line) < 1500
    assert int(taken) < MOST_MEMORY


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file(device):
    with pytest.raises(UnreadableFile, match="no ordinary file"):
        CsvFiles(device).listings()
    with pytest.raises(UnreadableFile, match="no ordinary file"):
        symbols.read(containers.Path(device), "demo")


def test_nobody_waits_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "AAA.csv")
    (tmp_path / "BBB.csv").write_bytes(HEADER + ROW)
    bad, good = CsvFiles(str(tmp_path)).listings()
    assert "no ordinary file" in str(bad)
    assert good.ticker == "BBB"
    with pytest.raises(UnreadableFile, match="no ordinary file"):
        list(read_rows(tmp_path / "AAA.csv", ","))


def test_a_list_is_shorter_than_bars(tmp_path, monkeypatch):
    assert limits.LARGEST > symbols.LARGEST == 16 * MIB
    monkeypatch.setattr(symbols, "LARGEST", MIB)
    file = tmp_path / "list.txt"
    file.write_bytes(b"AAPL\n" * (MIB // 5 + 1))
    with pytest.raises(BadFile, match="more than 1 MiB"):
        symbols.read(file, "demo")


def test_what_is_in_an_archive_is_bounded_as_well(tmp_path):
    path = tmp_path / "bars.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AAA.csv", HEADER + ROW * (40 * MIB // len(ROW)))
        archive.writestr("BBB.csv", HEADER + ROW)
    answers = {
        str(t.path if not isinstance(t, ProviderError) else t)
        for _, t in CsvFiles(str(path)).tables()
    }
    assert len(answers) == 2
    assert any("50 times its size" in answer for answer in answers)


def test_workbooks_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "AAA.xlsx"
    book = openpyxl.Workbook()
    sheet = book.active
    for row in range(1, 20):
        sheet.cell(row, 16384, 1.0)  # each row is as wide as this cell makes it
    book.save(path)
    monkeypatch.setattr(limits, "MOST_CELLS_OF_A_BOOK", 100_000)
    with pytest.raises(BadFile, match="cells in it"):
        read(path)
    containers.forget()
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/image1.png", bytes(limits.LARGEST_SHEETS + 1))
    with pytest.raises(BadFile, match="unpacks to more than 256 MiB"):
        read(path)


def test_tables_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LARGEST", 256 * MIB)
    path = tmp_path / "AAA.parquet"
    pd.DataFrame({"date": ["x" * 100_000] * 5_000, "close": 1.0}).to_parquet(path)
    assert path.stat().st_size < MIB
    with pytest.raises(BadFile, match="column date has a text of 100,000 characters"):
        read(path)
    containers.forget()
    monkeypatch.setattr(limits, "MOST_CELLS_OF_A_TABLE", 5_000)
    with pytest.raises(BadFile, match="there are 5,000 rows in it"):
        read(path)


def test_lines_end_in_every_way(tmp_path):
    many = ROW * (2 * limits.LONGEST_LINE // len(ROW))
    for end in (b"\n", b"\r\n", b"\r"):
        stream = limits.guarded(tmp_path, io.BytesIO(many.replace(b"\n", end)), limits.LARGEST)
        assert len(stream.read()) >= len(many)
    wide = many.decode().encode("utf-16")
    assert limits.guarded(tmp_path, io.BytesIO(wide), limits.LARGEST).read() == wide
