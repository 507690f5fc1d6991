"""One CSV file of daily bars: parsed fast, odd lines left out and told, or refused as a whole."""

from collections.abc import Generator
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np

from stockbatch.providers.csv.blocks import read_blocks
from stockbatch.providers.csv.cells import UNKNOWN, Marks
from stockbatch.providers.csv.faults import Faults
from stockbatch.providers.csv.header import (
    AS_IT_IS,
    Header,
    Reading,
    read_header,
    rows_until_broken,
    ticker_of,
)
from stockbatch.providers.csv.lines import refuse
from stockbatch.providers.csv.rows import Rows, gather, table_of
from stockbatch.providers.csv.table import Table

SAMPLE_ROWS = 1000
"""So many show how a file writes its numbers, if they show it."""
OPEN_NUMBER = "can be read as two numbers: say what marks the decimals by --decimal point or comma"


def read(path: Path, reading: Reading = AS_IT_IS) -> Table:
    """Parse a file; where nothing in it names the ticker, its name does.

    A line that is no bar is left out, a price or volume that is no number is NaN: both with a
    finding of the table. Raises BadFile naming line and column where most of the file is so, or
    where what it means is open; UnreadableFile where there is nothing to read.
    """
    header = read_header(path, reading)
    if reading.decimal is not None:
        return _table(path, header, reading, "." if reading.decimal == "point" else ",")
    marks = _marks(path, header, SAMPLE_ROWS)
    if not marks.settled and marks.grouped:
        marks = _marks(path, header, None)
    table = _table(path, header, reading, _mark(path, header, marks))
    if not marks.settled and not marks.grouped and not _whole(table):
        # The first rows were of whole numbers; what marks decimals is seen further below only.
        mark = _mark(path, header, _marks(path, header, None))
        table = table if mark == "." else _table(path, header, reading, mark)
    return table


def _table(path: Path, header: Header, reading: Reading, mark: str) -> Table:
    faults = Faults()
    plain = mark == "." and _plain(path, header)
    blocks = read_blocks(path, header, mark, faults, plain=plain)
    rows = gather(blocks, header, ticker_of(path))
    table = judged(path, rows, header, reading, faults)
    if not len(table.sessions):
        refuse(path, header.lines + 1, 1, "there are no rows below the header")
    return table


def judged(path: Path | str, rows: Rows, header: Header, reading: Reading, faults: Faults) -> Table:
    """Return the table of rows; raises BadFile where they are no daily bars, or most are odd."""
    try:
        table = table_of(path, rows, header, reading, faults)
    except ValueError as error:
        faults.judge(path, len(rows.lines))
        refuse(path, header.lines + 1, 1, str(error))
    faults.judge(path, len(table.sessions))
    return table


def _marks(path: Path, header: Header, most: int | None) -> Marks:
    """See the numbers of so many rows, or of all until they show what marks decimals."""
    marks = Marks()
    with closing(_cells(path, header)) as rows:
        while cells := [cell for _, row in islice(rows, SAMPLE_ROWS) for _, cell in row]:
            marks.see(cells)
            if marks.settled or most is not None:
                break
    return marks


def _mark(path: Path, header: Header, marks: Marks) -> str:
    """Return what marks decimals; raises BadFile, naming the first number, where that is open."""
    # Where commas delimit, a writer who groups no volume has not grouped the prices either. Behind
    # semicolons the prices may be formatted as a spreadsheet shows them, beside plain volumes.
    mark = marks.mark(long_settles=header.delimiter != ";")
    if mark is None:
        with closing(_cells(path, header)) as rows:
            for line, row in rows:
                for at, cell in row:
                    one = Marks()
                    one.see([cell])
                    if one.grouped or one.settled:
                        refuse(path, line, header.cells[at], f"{cell.strip()!r} {OPEN_NUMBER}")
        raise AssertionError("no number is open")
    return mark


def _plain(path: Path, header: Header) -> bool:
    """Tell whether most of the first rows hold numbers as the fast parser reads them."""
    with closing(_cells(path, header)) as rows:
        cells = [row for _, row in islice(rows, SAMPLE_ROWS)]
    return 2 * sum(all(_is_plain(cell) for _, cell in row) for row in cells) >= len(cells)


def _is_plain(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip() in UNKNOWN
    return True


def _cells(path: Path, header: Header) -> Generator[tuple[int, list[tuple[int, str]]]]:
    """Yield the cells of numbers of each row below the header, with its line."""
    positions = list(header.numbers)
    with closing(rows_until_broken(path, header.delimiter)) as rows:
        for line, row in rows:
            if line > header.lines:
                yield line, [(at, row[at]) for at in positions if at < len(row)]


def _whole(table: Table) -> bool:
    prices = (table.numbers[name] for name in ("open", "high", "low", "close"))
    with np.errstate(invalid="ignore"):
        return all(bool(((p == np.floor(p)) | np.isnan(p)).all()) for p in prices)
