"""One CSV file of daily bars, plain or gzip: parsed fast, or refused naming the bad cell."""

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, NoReturn, cast
from urllib.parse import unquote

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.errors import ParserWarning

from stockbatch.exceptions import BadFile, UnreadableFile
from stockbatch.records import Bars, CorporateAction, Floats, Sessions

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
UNKNOWN = ("", "NaN", "nan", "null", "NULL", "None", "NA", "N/A")
"""Cells that state no number."""
SIMPLE_RATIO_ERROR = 1e-4
"""A split ratio so close to a fraction of small numbers is taken for it: 7.000007 is 7."""

_NUMBERS = ("open", "high", "low", "close", "volume", "dividend", "split")
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.IGNORECASE | re.ASCII)
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})([T ].*)?|\d{8}", re.ASCII)
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where the columns of a file are; `columns` maps the keys of NAMES to positions."""

    cells: tuple[str, ...]
    columns: Mapping[str, int]
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
        position = self.tickers.index(ticker)
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
        for kind, nothing in (("split", (0, 1)), ("dividend", (0,))):
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
    with closing(_lines(path)) as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        try:
            cells = next((row for row in reader if any(row)), None)
        except csv.Error as error:
            _refuse(path, reader.line_num, 1, str(error))
        if cells is None:
            _refuse(path, 1, 1, "the file is empty")
        return Header(
            cells=tuple(cells),
            columns=_columns(path, reader.line_num, cells),
            lines=reader.line_num,
        )


def _columns(path: Path, line: int, cells: list[str]) -> dict[str, int]:
    plain = [re.sub(r"[ -]+", "_", cell.strip(" <>").lower()) for cell in cells]
    columns = {}
    for column, names in NAMES.items():
        name = next((name for name in names if name in plain), None)
        if name is None:
            if column in REQUIRED:
                reason = f"there is no column {' or '.join(names)}; there are {', '.join(cells)}"
                _refuse(path, line, names[0], reason)
            continue
        if plain.count(name) > 1:
            _refuse(path, line, name, "the column is there twice")
        columns[column] = plain.index(name)
    return columns


def ticker_of(path: Path) -> str:
    """Return the ticker a file is named after, percent-decoded: %5EGSPC.csv.gz holds ^GSPC."""
    return unquote(re.sub(r"(\.csv|\.txt)?(\.gz)?$", "", path.name, flags=re.IGNORECASE))


def read(path: Path) -> Table:
    """Parse a file; where no column names the ticker, its name does.

    Raises BadFile naming line and column, UnreadableFile where there is nothing to read.
    """
    header = read_header(path)
    try:
        with _opened(path) as stream:
            for _ in range(header.lines):
                stream.readline()
            table = _table(_parse(stream, header), header, ticker_of(path))
    except (ValueError, ParserWarning, *_BROKEN) as error:
        _locate(path, header)
        _refuse(path, header.lines + 1, 1, str(error).partition("\n")[0])
    if not len(table.sessions):
        _refuse(path, header.lines + 1, 1, "there are no rows below the header")
    return table


class _WithoutNul:
    """A stream that refuses the NUL bytes a crash leaves, at which the parser would cut a cell."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        if b"\0" in chunk:
            raise ValueError("there is a NUL byte")
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)


def _parse(stream: IO[bytes], header: Header) -> pd.DataFrame:
    """Return the rows below the header; columns are numbered, text is categorical."""
    numbers: list[Any] = [header.columns[name] for name in _NUMBERS if name in header.columns]
    positions: Any = range(len(header.cells))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ParserWarning)  # a first row longer than the header
        return pd.read_csv(
            cast(Any, _WithoutNul(stream)),
            header=None,
            names=positions,
            index_col=False,
            dtype={at: "float64" if at in numbers else "category" for at in positions},
            keep_default_na=False,
            na_values={at: list(UNKNOWN) for at in numbers},
            skipinitialspace=True,
        )


def _table(frame: pd.DataFrame, header: Header, ticker: str) -> Table:
    """Sort the rows by ticker and session; raises ValueError for a bad date or no ticker."""
    sessions = _sessions(frame[header.columns["session"]])
    if "ticker" in header.columns:
        tickers, codes = _tickers(frame[header.columns["ticker"]])
    else:
        tickers, codes = (ticker,), np.zeros(len(frame), np.intp)
    order = np.lexsort((sessions, codes))
    numbers = {
        name: _frozen(frame[header.columns[name]].to_numpy()[order])
        for name in _NUMBERS
        if name in header.columns
    }
    numbers.setdefault("volume", _frozen(np.full(len(frame), np.nan)))
    if "split" in numbers:
        numbers["split"] = _frozen(_simple_ratios(numbers["split"]))
    return Table(
        tickers=tickers,
        offsets=np.searchsorted(codes[order], np.arange(len(tickers) + 1)),
        sessions=_frozen(sessions[order]),
        numbers=numbers,
        as_traded=header.as_traded,
    )


def _sessions(column: "pd.Series[Any]") -> Sessions:
    days = [as_session(str(text)) for text in column.cat.categories]
    return np.array(days, "datetime64[D]")[column.cat.codes.to_numpy()]


def _tickers(column: "pd.Series[Any]") -> tuple[tuple[str, ...], NDArray[np.intp]]:
    written = [str(text).strip() for text in column.cat.categories]
    if not all(written):
        raise ValueError("there is a row without a ticker")
    tickers, codes = np.unique(np.array(written, object), return_inverse=True)
    return tuple(tickers.tolist()), codes[column.cat.codes.to_numpy()]


def as_session(text: str) -> date:
    """Read YYYY-MM-DD, with or without a time behind it, or YYYYMMDD; raises ValueError."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a date like 2024-12-31")
    return date.fromisoformat(match[1] or match[0])


def _simple_ratios(ratios: Floats) -> Floats:
    """Replace ratios that are nearly a fraction of small numbers by that fraction."""
    simple = ratios.copy()
    for at in np.flatnonzero((ratios != 1) & (ratios > 1e-6) & (ratios < 1e6)):
        larger = max(ratios[at], 1 / ratios[at])
        fraction = float(Fraction(larger).limit_denominator(10))
        if abs(larger / fraction - 1) < SIMPLE_RATIO_ERROR:
            simple[at] = fraction if ratios[at] > 1 else 1 / fraction
    return simple


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values


def _locate(path: Path, header: Header) -> None:
    """Read row by row and raise BadFile at the first cell the parser cannot have read."""
    names = sorted((position, name) for name, position in header.columns.items())
    with closing(_lines(path)) as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        try:
            for row in reader:
                if reader.line_num <= header.lines or not "".join(row).strip():
                    continue
                if len(row) > len(header.cells):
                    reason = f"there are {len(row)} cells below {len(header.cells)} headings"
                    _refuse(path, reader.line_num, len(header.cells) + 1, reason)
                for position, name in names:
                    cell = row[position] if position < len(row) else ""
                    if fault := _fault(name, cell):
                        _refuse(path, reader.line_num, header.cells[position], fault)
        except csv.Error as error:
            _refuse(path, reader.line_num, 1, str(error))


def _fault(name: str, cell: str) -> str | None:
    """Say what is wrong with a cell of the column `name`."""
    shown = repr(cell if len(cell) <= 40 else cell[:40] + "…")
    if name == "ticker":
        return None if cell.strip() else "there is no ticker"
    if name == "session":
        try:
            as_session(cell)
        except ValueError:
            return f"{shown} is not a date like 2024-12-31"
        return None
    if cell in UNKNOWN or _NUMBER.fullmatch(cell.strip()):
        return None
    return f"{shown} is not a number"


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading what is in it, unpacked where it begins like gzip."""
    try:
        with path.open("rb") as raw:
            if raw.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(raw) as unpacked:
                    yield cast(IO[bytes], unpacked)
            else:
                yield raw
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise UnreadableFile(path=path, reason=error.strerror or error) from None


def _lines(path: Path) -> Generator[str]:
    """Yield the lines of a file; raises BadFile where it is broken or is not UTF-8."""
    number = 0
    with _opened(path) as stream:
        try:
            for number, line in enumerate(stream, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    column = line[: error.start].count(b",") + 1
                    _refuse(path, number, column, "this is not UTF-8 text")
                if "\0" in text:
                    column = text.partition("\0")[0].count(",") + 1
                    _refuse(path, number, column, "there is a NUL byte")
                yield text
        except _BROKEN as error:
            _refuse(path, number + 1, 1, f"the compressed data is broken: {error}")


def _refuse(path: Path, line: int, column: int | str, reason: str) -> NoReturn:
    raise BadFile(path=path, line=line, column=column, reason=reason)
