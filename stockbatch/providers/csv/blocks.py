"""The rows of a CSV file, a block at a time: parsed fast where they can be, else cell by cell."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stockbatch.providers.csv.cells import UNKNOWN, as_number, as_split, as_volume
from stockbatch.providers.csv.faults import Fault, Faults
from stockbatch.providers.csv.header import TEXTS, Header
from stockbatch.providers.csv.lines import BROKEN, opened, refuse
from stockbatch.records import Check
from stockbatch.text import counted

BLOCK_BYTES = 2**20
"""So much text is parsed at a time, and given up by the fast parser for one odd line."""
PIECES = 8
"""Into so many such a block is cut: all but those with odd lines are then parsed fast."""
MOST_LINES_OF_A_CELL = 100

READERS = {"volume": as_volume, "split": as_split}
"""What reads the cells of columns that as_number does not."""
CHECKS = {
    "volume": Check.BAD_VOLUME,
    "split": Check.BAD_SPLIT,
    "dividend": Check.BAD_DIVIDEND,
}


class Block(NamedTuple):
    """Some rows: columns by position, numbers as floats, texts as categories; and their lines."""

    frame: pd.DataFrame
    lines: NDArray[np.int32]


def read_blocks(
    path: Path, header: Header, mark: str, faults: Faults, *, plain: bool
) -> Iterator[Block]:
    """Yield the rows below the header, without those that are no bars: these go to `faults`.

    `plain` tells that nearly all numbers are written as the fast parser reads them.
    """
    careful = _Careful(header, mark, faults)
    for line, block in _blocks(path, header):
        if not plain:
            yield careful.read(block, line)
        elif (fast := _fast(block, line, header)) is not None:
            yield fast
        else:
            for below, piece in _pieces(block):
                fast = _fast(piece, line + below, header)
                yield careful.read(piece, line + below) if fast is None else fast


def _fast(block: bytes, line: int, header: Header) -> Block | None:
    """Parse whole rows, the first on `line`; None where one is odd."""
    try:
        frame = _frame(block, header)
    except (ValueError, csv.Error):
        return None
    if len(frame) == block.count(b"\n") + (not block.endswith(b"\n")):
        return Block(frame, np.arange(line, line + len(frame), dtype=np.int32))
    if b'"' in block or b"\r" in block.replace(b"\r\n", b""):
        return None
    filled = [at for at, text in enumerate(block.split(b"\n"), line) if text.strip()]
    return Block(frame, np.array(filled, np.int32)) if len(filled) == len(frame) else None


def _frame(block: bytes, header: Header) -> pd.DataFrame:
    """Parse rows; raises ValueError for an odd number and for a row with too many cells.

    Also for a NUL byte a crash has left, at which the parser would cut a cell.
    """
    width = len(header.cells)
    if b"\0" in block:
        raise ValueError("there is a NUL byte")
    first = re.search(rb"[^\r\n]*\S[^\r\n]*", block)
    if first is not None:  # the one row whose length the parser does not check
        cells = csv.reader([first[0].decode("latin-1")], delimiter=header.delimiter)
        if len(next(cells)) > width + 1:
            raise ValueError("there is a row with more cells than headings")
    # A long file repeats its few dates and tickers on every row: as categories each is read once.
    types = dict.fromkeys(range(width + 1), "object")  # the last column is of cells too many
    types |= dict.fromkeys(_text_positions(header), "category")
    types |= dict.fromkeys(header.numbers, "float64")
    frame = pd.read_csv(
        io.BytesIO(block),
        header=None,
        names=cast(Any, range(width + 1)),
        index_col=False,
        sep=header.delimiter,
        dtype=cast(Any, types),
        keep_default_na=False,
        na_values=cast(Any, {at: list(UNKNOWN) for at in header.numbers}),
        skipinitialspace=True,
        low_memory=False,
        encoding_errors="surrogateescape",  # of columns that are not read
    )
    if (frame[width] != "").any():
        raise ValueError("there is a row with more cells than headings")
    return frame


def _text_positions(header: Header) -> list[int]:
    known = [header.columns[name] for name in TEXTS if name in header.columns]
    return [*known, *header.unknown]


class _Careful:
    """Reads rows cell by cell, noting what cannot be read."""

    def __init__(self, header: Header, mark: str, faults: Faults) -> None:
        self._header, self._mark, self._faults = header, mark, faults
        self._names = [cell.strip() for cell in header.cells]
        self._texts = _text_positions(header)
        self._numbers = sorted(header.numbers.items())

    def read(self, block: bytes, line: int) -> Block:
        """Return the rows of a block whose first line is `line`."""
        rows, lines = [], []
        for at, row in self._rows(block, line):
            if not "".join(row).strip():
                continue
            if [cell.strip() for cell in row[: len(self._names)]] == self._names:
                self._leave_out(at, 1, "the header stands here again", row)
            elif "".join(row[len(self._names) :]).strip():
                reason = f"there are {len(row)} cells below {counted(len(self._names), 'heading')}"
                self._leave_out(at, len(self._names) + 1, reason, row)
            else:
                rows.append(row + [""] * (len(self._names) - len(row)))
                lines.append(at)
        frame = pd.DataFrame(
            {at: _categories([row[at] for row in rows]) for at in self._texts}
            | {at: self._column(at, name, rows, lines) for at, name in self._numbers}
        )
        return Block(frame, np.array(lines, np.int32))

    def _column(
        self, at: int, name: str, rows: list[list[str]], lines: list[int]
    ) -> NDArray[np.float64]:
        read, values = READERS.get(name, as_number), np.full(len(rows), np.nan)
        for place, row in enumerate(rows):
            try:
                values[place] = read(row[at], self._mark)
            except ValueError as error:
                check = CHECKS.get(name, Check.UNREADABLE_LINE)
                self._faults.cell(Fault(lines[place], self._names[at], str(error), check))
        return values

    def _rows(self, block: bytes, line: int) -> Iterator[tuple[int, list[str]]]:
        """Yield rows with the line they begin on; a quote that is never closed ends its line."""
        text = block.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
        physical = text.split("\n")
        at = 0
        while at < len(physical):
            taken = 1
            while taken <= MOST_LINES_OF_A_CELL and at + taken < len(physical):
                if "\n".join(physical[at : at + taken]).count('"') % 2 == 0:
                    break
                taken += 1
            else:
                taken = 1
            try:
                yield line + at, self._cells(physical[at : at + taken])
            except csv.Error as error:
                self._leave_out(line + at, 1, str(error), [])
            at += taken

    def _cells(self, lines: list[str]) -> list[str]:
        if any("\0" in line for line in lines):
            raise csv.Error("there is a NUL byte")
        whole = [f"{line}\n" for line in lines[:-1]] + lines[-1:]
        reader = csv.reader(whole, delimiter=self._header.delimiter, skipinitialspace=True)
        return next(iter(reader), [])

    def _leave_out(self, line: int, column: int, reason: str, row: list[str]) -> None:
        at = self._header.columns.get("ticker", len(row))
        ticker = row[at].strip() if at < len(row) else None
        name = self._names[column - 1] if column <= len(self._names) else column
        self._faults.line(Fault(line, name, reason, Check.UNREADABLE_LINE, ticker))


def _categories(texts: list[str]) -> pd.Categorical:
    known: dict[str, int] = {}
    codes = [known.setdefault(text, len(known)) for text in texts]
    # As objects: what is no UTF-8 is no text to pandas.
    return pd.Categorical.from_codes(codes, pd.Index(list(known), dtype=object))


def _blocks(path: Path, header: Header) -> Iterator[tuple[int, bytes]]:
    """Yield what is below the header, some BLOCK_BYTES of whole rows, with its first line.

    Raises BadFile where a packed file is broken.
    """
    line = header.lines + 1
    try:
        with opened(path) as stream:
            for _ in range(header.lines):
                stream.readline()
            while block := stream.read(BLOCK_BYTES):
                block += stream.readline()
                # An odd number of quotes: the block ends within a cell that has a line break in
                # it. A stray quote would never find its pair, hence the limit.
                for _ in range(MOST_LINES_OF_A_CELL):
                    if block.count(b'"') % 2 == 0:
                        break
                    block += stream.readline()
                if line == 1:
                    block = block.removeprefix(b"\xef\xbb\xbf")
                if block.strip():
                    yield line, block
                line += block.count(b"\n")
    except UnicodeDecodeError:
        refuse(path, line, 1, "this is not UTF-16 text")
    except BROKEN as error:
        refuse(path, line, 1, f"the compressed data is broken: {error}")


def _pieces(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a block into whole rows, each piece with the lines before it."""
    stream, size, line = io.BytesIO(block), len(block) // PIECES + 1, 0
    while piece := stream.read(size):
        piece += stream.readline()
        for _ in range(MOST_LINES_OF_A_CELL):
            if piece.count(b'"') % 2 == 0:
                break
            piece += stream.readline()
        if piece.strip():
            yield line, piece
        line += piece.count(b"\n")
