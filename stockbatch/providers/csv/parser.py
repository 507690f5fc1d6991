"""One CSV file of daily bars, plain or gzip: parsed fast, or refused naming the bad cell."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from stockbatch.providers.csv.cells import UNKNOWN, AmbiguousNumber, as_number, decimal_mark
from stockbatch.providers.csv.faults import locate
from stockbatch.providers.csv.header import (
    AS_IT_IS,
    NAMES,
    NUMBERS,
    ONE_BAR,
    TEXTS,
    Header,
    Reading,
    read_header,
    ticker_of,
)
from stockbatch.providers.csv.lines import BROKEN, opened, read_rows, refuse
from stockbatch.providers.csv.table import Table, table_of

BLOCK_BYTES = 2**22
"""So much text is in memory at a time."""
MOST_LINES_OF_A_CELL = 100
SAMPLE_ROWS = 1000
"""So many show how a file writes its numbers."""


def read(path: Path, reading: Reading = AS_IT_IS) -> Table:
    """Parse a file; where no column names the ticker, its name does.

    A price or volume that is no number is NaN, for the checks to find, unless most are. Raises
    BadFile naming line and column, UnreadableFile where there is nothing to read.
    """
    header = read_header(path)
    mark: str | None = "."
    try:
        # Nearly every file has plain numbers only, which pandas reads many times as fast as cells
        # can be read one by one. It does not say which cell it stumbled over: that is looked for
        # in a pass of its own, since whoever gets this far has time.
        try:
            table = table_of(_parsed(path, header), header, ticker_of(path))
        except (ValueError, csv.Error):  # not all cells are plain numbers
            mark = _mark(path, header)
            table = table_of(_read_with_care(path, header, mark), header, ticker_of(path))
    except (ValueError, csv.Error, *BROKEN) as error:
        # A price that is no number is a fault of the whole file only where nothing else is one.
        locate(path, header, mark, ("session", "ticker", "dividend", "split"))
        locate(path, header, mark, NAMES)
        refuse(path, header.lines + 1, 1, str(error).partition("\n")[0])
    if not len(table.sessions):
        refuse(path, header.lines + 1, 1, "there are no rows below the header")
    return replace(table, basis=reading.basis or table.basis)


def _mark(path: Path, header: Header) -> str | None:
    """Tell what marks decimals in a file, by its first rows."""
    positions = _number_positions(header)
    with closing(read_rows(path, header.delimiter)) as rows:
        sample = islice(rows, 1, 1 + SAMPLE_ROWS)
        return decimal_mark(row[at] for _, row in sample for at in positions if at < len(row))


def _parsed(path: Path, header: Header) -> Iterator[pd.DataFrame]:
    """Yield the rows below the header, columns numbered; raises ValueError for odd numbers."""
    yield from _chunks(path, header, "float64", na_values=list(UNKNOWN))


def _read_with_care(path: Path, header: Header, mark: str | None) -> Iterator[pd.DataFrame]:
    """Yield what `_parsed` does of numbers that `as_number` can read.

    Raises ValueError for one that can be read as two, and where most of a column are none.
    """
    rows, unread = 0, dict.fromkeys(_number_positions(header), 0)
    tolerant = {header.columns[name] for name in ONE_BAR if name in header.columns}
    for frame in _chunks(path, header, "object"):
        rows += len(frame)
        for at in unread:
            written = [_as_number(cell, mark, tolerant=at in tolerant) for cell in frame[at]]
            unread[at] += written.count(None)
            frame[at] = np.array(written, float)
        yield frame
    if 2 * max(unread.values()) > rows:
        raise ValueError("most cells of a column are not numbers")


def _as_number(cell: object, mark: str | None, *, tolerant: bool) -> float | None:
    """Return a cell as a number, None for what is no number; NaN where the row ends before it."""
    if not isinstance(cell, str):
        return np.nan
    try:
        return as_number(cell, mark)
    except AmbiguousNumber:
        raise
    except ValueError:
        if not tolerant:
            raise
        return None


def _number_positions(header: Header) -> list[int]:
    return [header.columns[name] for name in NUMBERS if name in header.columns]


def _chunks(
    path: Path, header: Header, numbers: str, *, na_values: list[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a block at a time: numbers of the type `numbers`, texts categorical.

    Raises ValueError for a row with more cells than there are headings.
    """
    width = len(header.cells)
    of_numbers = _number_positions(header)
    types = dict.fromkeys(range(width + 1), "object")  # the last column is of cells too many
    # A long file repeats its few dates and tickers on every row: as categories each is read once.
    types |= {header.columns[name]: "category" for name in TEXTS if name in header.columns}
    types |= dict.fromkeys(of_numbers, numbers)
    for block in _blocks(path, header):
        frame = pd.read_csv(
            io.BytesIO(block),
            header=None,
            names=cast(Any, range(width + 1)),
            index_col=False,
            sep=header.delimiter,
            dtype=cast(Any, types),
            keep_default_na=False,
            na_values=cast(Any, dict.fromkeys(of_numbers, na_values) if na_values else None),
            skipinitialspace=True,
            low_memory=False,
            encoding_errors="surrogateescape",  # of columns that are not read
        )
        if (frame[width] != "").any():
            raise ValueError("there is a row with more cells than headings")
        yield frame


def _blocks(path: Path, header: Header) -> Iterator[bytes]:
    """Yield what is below the header, some BLOCK_BYTES of whole rows at a time.

    Raises ValueError for a NUL byte a crash has left, at which the parser would cut a cell, and for
    a first row with too many cells, the one row whose length the parser does not check.
    """
    with opened(path) as stream:
        for _ in range(header.lines):
            stream.readline()
        while block := stream.read(BLOCK_BYTES):
            block += stream.readline()
            # An odd number of quotes: the block ends within a cell that has a line break in it.
            # A stray quote would never find its pair, hence the limit.
            for _ in range(MOST_LINES_OF_A_CELL):
                if block.count(b'"') % 2 == 0:
                    break
                block += stream.readline()
            if b"\0" in block:
                raise ValueError("there is a NUL byte")
            first = re.search(rb"[^\r\n]*\S[^\r\n]*", block)
            if first is None:
                continue
            line = first[0].decode("latin-1")
            rows = csv.reader([line], delimiter=header.delimiter, skipinitialspace=True)
            if len(next(rows)) > len(header.cells) + 1:
                raise ValueError("there is a row with more cells than headings")
            yield block
