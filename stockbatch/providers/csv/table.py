"""One CSV file of daily bars, plain or gzip: parsed fast, or refused naming the bad cell."""

import csv
import io
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stockbatch.exceptions import BadFile
from stockbatch.providers.csv.cells import (
    UNKNOWN,
    AmbiguousNumber,
    as_number,
    as_session,
    day_first,
    decimal_mark,
    simple_ratios,
)
from stockbatch.providers.csv.lines import BROKEN, opened, read_rows, refuse
from stockbatch.records import ActionKind, Bars, CorporateAction, Floats, Sessions

NAMES: Mapping[str, tuple[str, ...]] = {
    "ticker": ("ticker", "symbol", "name"),
    "session": ("date", "timestamp", "session"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("volume", "vol"),
    "dividend": ("dividend_amount", "dividends", "dividend"),
    "split": ("split_coefficient", "split_ratio"),
}
"""What a column may be called, best name first; case, blanks and <> around it do not matter.

Yahoo's "Stock Splits" is left out on purpose: the prices beside it are adjusted for them already.
"""
REQUIRED = ("session", "open", "high", "low", "close")
DELIMITERS = ",;\t|"
BLOCK_BYTES = 2**22
"""So much text is in memory at a time."""
MOST_LINES_OF_A_CELL = 100
SAMPLE_ROWS = 1000
"""So many show how a file writes its numbers."""

_TEXTS = ("session", "ticker")
_ONE_BAR = ("open", "high", "low", "close", "volume")
"""Columns where a cell that is no number costs one bar at most."""
_NUMBERS = (*_ONE_BAR, "dividend", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where the columns of a file are; `columns` maps the keys of NAMES to positions."""

    cells: tuple[str, ...]
    columns: Mapping[str, int]
    delimiter: str
    lines: int
    """Physical lines through the header."""

    @property
    def as_traded(self) -> bool:
        """Tell whether the file states its splits, so that its prices need not contain them."""
        return "split" in self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The bars of one file, sorted by ticker and session, in arrays of shape (rows,)."""

    tickers: tuple[str, ...]
    offsets: NDArray[np.intp]
    """Where each ticker's rows begin, and the end: shape (tickers + 1,)."""
    sessions: Sessions
    numbers: Mapping[str, Floats]
    as_traded: bool

    def rows(self, ticker: str, first: date | None, last: date) -> slice:
        """Return where the rows of `ticker` from `first` to `last` are, both included."""
        position = bisect_left(self.tickers, ticker)
        start, end = self.offsets[position : position + 2].tolist()
        sessions = self.sessions[start:end]
        end = start + int(np.searchsorted(sessions, np.datetime64(last, "D"), side="right"))
        if first is not None:
            start += int(np.searchsorted(sessions, np.datetime64(first, "D")))
        return slice(start, max(start, end))

    def bars(self, rows: slice) -> Bars:
        """Return these rows' bars as read-only views."""
        return Bars(
            sessions=self.sessions[rows],
            open=self.numbers["open"][rows],
            high=self.numbers["high"][rows],
            low=self.numbers["low"][rows],
            close=self.numbers["close"][rows],
            volume=self.numbers["volume"][rows],
        )

    def actions(self, rows: slice) -> tuple[CorporateAction, ...]:
        """Return the splits and dividends these rows state."""
        found = []
        for kind, nothing in ((ActionKind.SPLIT, (0, 1)), (ActionKind.DIVIDEND, (0,))):
            if kind in self.numbers:
                values = self.numbers[kind][rows]
                stated = ~np.isnan(values) & ~np.isin(values, nothing)
                stated_on = self.sessions[rows][stated].tolist()
                found += [
                    CorporateAction(session=session, kind=kind, value=value)
                    for session, value in zip(stated_on, values[stated].tolist(), strict=True)
                ]
        return tuple(found)


def read_header(path: Path) -> Header:
    """Read the first line that is not blank; raises BadFile unless it names what is needed."""
    refusals = []
    for delimiter in DELIMITERS:
        try:
            return _header(path, delimiter)
        except BadFile as error:
            refusals.append(error)
    raise refusals[0]


def _header(path: Path, delimiter: str) -> Header:
    with closing(read_rows(path, delimiter)) as lines:
        line, cells = next(lines, (1, []))
    if not cells:
        refuse(path, 1, 1, "the file is empty")
    columns = _columns(path, line, cells)
    return Header(cells=tuple(cells), columns=columns, delimiter=delimiter, lines=line)


def _columns(path: Path, line: int, cells: list[str]) -> dict[str, int]:
    plain = [re.sub(r"[ -]+", "_", cell.strip(" <>").lower()) for cell in cells]
    columns = {}
    for column, names in NAMES.items():
        name = next((name for name in names if name in plain), None)
        if name is None:
            if column in REQUIRED:
                reason = f"there is no column {' or '.join(names)}; there are {', '.join(cells)}"
                refuse(path, line, names[0], reason)
            continue
        if plain.count(name) > 1:
            refuse(path, line, name, "the column is there twice")
        columns[column] = plain.index(name)
    return columns


def ticker_of(path: Path) -> str:
    """Return the ticker a file is named after, percent-decoded: %5EGSPC.csv.gz holds ^GSPC."""
    return unquote(re.sub(r"(\.csv|\.txt)?(\.gz)?$", "", path.name, flags=re.IGNORECASE))


def read(path: Path) -> Table:
    """Parse a file; where no column names the ticker, its name does.

    A price or volume that is no number is NaN, for the checks to find, unless most are. Raises
    BadFile naming line and column, UnreadableFile where there is nothing to read.
    """
    header = read_header(path)
    mark: str | None = "."
    try:
        try:
            table = _table(_parsed(path, header, "."), header, ticker_of(path))
        except (ValueError, csv.Error):  # not all cells are plain numbers
            mark = _mark(path, header)
            table = _table(_read_with_care(path, header, mark), header, ticker_of(path))
    except (ValueError, csv.Error, *BROKEN) as error:
        _locate(path, header, mark, ("session", "ticker", "dividend", "split"))
        _locate(path, header, mark, NAMES)
        refuse(path, header.lines + 1, 1, str(error).partition("\n")[0])
    if not len(table.sessions):
        refuse(path, header.lines + 1, 1, "there are no rows below the header")
    return table


def _mark(path: Path, header: Header) -> str | None:
    """Tell what marks decimals in a file, by its first rows."""
    positions = _number_positions(header)
    with closing(read_rows(path, header.delimiter)) as rows:
        sample = islice(rows, 1, 1 + SAMPLE_ROWS)
        return decimal_mark(row[at] for _, row in sample for at in positions if at < len(row))


def _parsed(path: Path, header: Header, mark: str) -> Iterator[pd.DataFrame]:
    """Yield the rows below the header, columns numbered; raises ValueError for odd numbers."""
    yield from _chunks(path, header, "float64", decimal=mark, na_values=list(UNKNOWN))


def _read_with_care(path: Path, header: Header, mark: str | None) -> Iterator[pd.DataFrame]:
    """Yield what `_parsed` does of numbers that `as_number` can read.

    Raises ValueError for one that can be read as two, and where most of a column are none.
    """
    rows, unread = 0, dict.fromkeys(_number_positions(header), 0)
    tolerant = {header.columns[name] for name in _ONE_BAR if name in header.columns}
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
    return [header.columns[name] for name in _NUMBERS if name in header.columns]


def _chunks(
    path: Path, header: Header, numbers: str, *, na_values: list[str] | None = None, **options: Any
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a block at a time: numbers of the type `numbers`, texts categorical.

    Raises ValueError for a row with more cells than there are headings.
    """
    width = len(header.cells)
    of_numbers = _number_positions(header)
    types = dict.fromkeys(range(width + 1), "object")  # the last column is of cells too many
    types |= {header.columns[name]: "category" for name in _TEXTS if name in header.columns}
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
            **options,
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


def _table(frames: Iterable[pd.DataFrame], header: Header, ticker: str) -> Table:
    """Sort the rows by ticker and session; raises ValueError for a bad date or no ticker."""
    texts: dict[str, dict[str, int]] = {name: {} for name in _TEXTS}
    if "ticker" not in header.columns:
        texts["ticker"][ticker] = 0
    columns = _columns_of(frames, header, texts)
    rows = len(columns["session"])
    if not all(name.isprintable() and name for name in texts["ticker"]):
        raise ValueError("there is a row without a ticker")
    tickers = sorted(texts["ticker"])
    ranks = {name: rank for rank, name in enumerate(tickers)}
    rank = np.array([ranks[name] for name in texts["ticker"]], np.int32)[columns.pop("ticker")]
    sessions = _sessions(texts["session"])[columns.pop("session")]
    key = (rank.astype(np.int64) << 32) + sessions.astype(np.int64)
    order: Any = slice(None)
    if (key[1:] < key[:-1]).any():
        order = np.argsort(key, kind="stable")
    offsets = np.searchsorted(rank[order], np.arange(len(tickers) + 1))
    numbers = {name: _frozen(columns.pop(name)[order]) for name in list(columns)}
    numbers.setdefault("volume", _frozen(np.full(rows, np.nan)))
    if "split" in numbers:
        numbers["split"] = _frozen(simple_ratios(numbers["split"]))
    return Table(
        tickers=tuple(tickers),
        offsets=offsets,
        sessions=_frozen(sessions[order]),
        numbers=numbers,
        as_traded=header.as_traded,
    )


def _columns_of(
    frames: Iterable[pd.DataFrame], header: Header, texts: Mapping[str, dict[str, int]]
) -> dict[str, NDArray[Any]]:
    """Return arrays of shape (rows,) by the keys of NAMES: numbers, and numbers for the texts.

    `texts` is filled with what these stand for.
    """
    names = (*texts, *(name for name in _NUMBERS if name in header.columns))
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for frame in frames:
        for name in names:
            if name not in header.columns:
                part: NDArray[Any] = np.zeros(len(frame), np.int32)
            elif name in texts:
                part = _codes(frame[header.columns[name]], texts[name])
            else:
                part = frame[header.columns[name]].to_numpy(float)
            parts[name].append(part)
    empty = {name: np.empty(0, np.int32 if name in texts else float) for name in names}
    return {name: np.concatenate([empty[name], *parts.pop(name)]) for name in names}


def _codes(column: "pd.Series[Any]", known: dict[str, int]) -> NDArray[np.int32]:
    """Return a number for each text of a categorical column; new texts are added to `known`."""
    written = [str(text).strip() for text in column.cat.categories]
    codes = np.array([known.setdefault(text, len(known)) for text in written], np.int32)
    places = column.cat.codes.to_numpy()
    if (places < 0).any():  # the row ends before this column
        codes = np.append(codes, known.setdefault("", len(known))).astype(np.int32)
    return codes[places]


def _sessions(texts: Iterable[str]) -> Sessions:
    days_first = day_first(texts)
    return np.array([as_session(text, days_first) for text in texts], "datetime64[D]")


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values


def _locate(path: Path, header: Header, mark: str | None, strict: Iterable[str]) -> None:
    """Read row by row and raise BadFile at the first cell the parser cannot have read.

    In columns that are not `strict`, that is a number that can be read as two.
    """
    names = sorted((position, name) for name, position in header.columns.items())
    at = header.columns["session"]
    with closing(read_rows(path, header.delimiter)) as rows:
        days_first = day_first({row[at] for _, row in islice(rows, 1, None) if at < len(row)})
    with closing(read_rows(path, header.delimiter)) as rows:
        for line, row in islice(rows, 1, None):
            if "".join(row[len(header.cells) :]).strip():
                reason = f"there are {len(row)} cells below {len(header.cells)} headings"
                refuse(path, line, len(header.cells) + 1, reason)
            for position, name in names:
                cell = row[position] if position < len(row) else ""
                if fault := _fault(name, cell, mark, days_first, strict=name in strict):
                    refuse(path, line, header.cells[position], fault)


def _fault(
    name: str, cell: str, mark: str | None, days_first: bool | None, *, strict: bool
) -> str | None:
    """Say what is wrong with a cell of the column `name`."""
    if name == "ticker":
        plain = cell.strip()
        return None if plain and plain.isprintable() else "there is no ticker"
    try:
        if name == "session":
            as_session(cell, days_first)
        else:
            as_number(cell, mark)
    except ValueError as error:
        return str(error) if strict or isinstance(error, AmbiguousNumber) else None
    return None
