"""Which columns a CSV file of daily bars has, and where: how its layout is recognised."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path, PurePath
from typing import Literal, NoReturn
from urllib.parse import unquote

from stockbatch.exceptions import BadFile
from stockbatch.providers.csv.cells import as_number
from stockbatch.providers.csv.dates import as_session
from stockbatch.providers.csv.lines import read_rows, refuse
from stockbatch.providers.csv.names import AS_TRADED_SETS, NAMES, REQUIRED, plain
from stockbatch.records import PriceBasis

DELIMITERS = ",;\t|"
TEXTS = ("session", "ticker", "time")
ONE_BAR = ("open", "high", "low", "close", "volume")
NUMBERS = (*ONE_BAR, "dividend", "split", "adjusted")
FIRST_ROWS = 60
"""The header is one of so many rows, and so many below it show what an unknown column holds."""

NAMES_SHOWN = 5

NO_TICKERS = ("adj", "adjusted", "bid", "ask", "mid", "price", *AS_TRADED_SETS)
"""What stands before Open, High, Low and Close, and is no ticker."""

_PAIR = re.compile(r"""\(\s*['"](?P<one>.*?)['"]\s*,\s*['"](?P<other>.*?)['"]\s*\)""")
_PREFIXED = re.compile(r"(?P<other>.+)\.(?P<one>Open|High|Low|Close|Volume|Adjusted)")
_META_TRADER = re.compile(r"\d{4}\.\d\d\.\d\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What somebody states of a file that it does not tell itself; None: it does."""

    ticker: str | None = None
    """Name of the column that holds the ticker; empty: none does."""
    decimal: Literal["point", "comma"] | None = None
    dates: Literal["exchange", "written"] | None = None
    """Whether a stamp means the day that is written or the exchange's own."""
    basis: PriceBasis | None = None
    basis_by: str = "--basis"
    """What states the basis, as it is shown."""

    @classmethod
    def of(cls, chosen: Mapping[str, str]) -> "Reading":
        """Return what options say that are valid."""
        basis = PriceBasis(chosen["basis"]) if "basis" in chosen else None
        return cls(**{**chosen, "basis": basis})  # type: ignore[arg-type]


AS_IT_IS = Reading()
"""Nothing is said beside the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where the columns of a file are; `columns` maps the keys of NAMES to positions."""

    cells: tuple[str, ...]
    columns: Mapping[str, int]
    delimiter: str
    lines: int
    """Physical lines through the header."""
    by_ticker: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The columns of each ticker, where every one has its own beside those of the others."""
    unknown: tuple[int, ...] = ()
    """Columns of texts or whole numbers that stand for nothing known: one may name the ticker."""

    @property
    def names_tickers(self) -> bool:
        """Tell whether the file says which tickers its bars are of."""
        return "ticker" in self.columns or bool(self.by_ticker)

    @property
    def parts(self) -> Mapping[str, Mapping[str, int]]:
        """The columns of numbers of each ticker; of all of them by "" where they share them."""
        return self.by_ticker or {"": self.columns}

    @property
    def numbers(self) -> dict[int, str]:
        """What the columns of numbers hold, by their positions."""
        parts = self.parts.values()
        return {part[name]: name for part in parts for name in NUMBERS if name in part}

    def named(self, key: str) -> str:
        """Return what the file calls a column."""
        return self.cells[self.columns[key]].strip()


Rows = Sequence[tuple[int, list[str]]]
"""Rows with the line each ends on."""


def read_header(path: Path, reading: Reading = AS_IT_IS) -> Header:
    """Find the row that names what is needed; raises BadFile where there is none."""
    # No sniffing: a delimiter is right if the names it separates are those that are needed.
    best: tuple[int, int, list[str]] = 0, 1, []
    for delimiter in DELIMITERS:
        rows = list(islice(rows_until_broken(path, delimiter), FIRST_ROWS))
        for at, (line, cells) in enumerate(rows):
            below = rows[at + 1 :]
            if header := _several_rows(rows[at : at + 3], delimiter):
                return header
            columns = _columns(cells, below)
            if columns.keys() >= set(REQUIRED):
                return _header(path, (line, cells), columns, below, delimiter, reading)
            if header := _pairs((line, cells), delimiter):
                return header
            if len(columns) > best[0]:
                best = len(columns), line, cells
            elif not best[2]:
                best = 0, line, cells
        if header := _without_names(rows, delimiter):
            return header
    return _refuse(path, best[1], best[2])


def header_of(path: str, names: Sequence[str], below: Rows, reading: Reading) -> Header:
    """Tell what columns of known names hold, by some rows; raises BadFile where one lacks."""
    columns = _columns(names, below)
    if columns.keys() >= set(REQUIRED):
        return _header(path, (1, list(names)), columns, below, "", reading)
    return _pairs((1, list(names)), "") or _refuse(path, 1, list(names))


def rows_until_broken(path: Path, delimiter: str) -> Generator[tuple[int, list[str]]]:
    """Yield the rows of a file up to one that cannot be read; raises BadFile if that is the first.

    Good for looking at what a file is like; whoever reads its bars leaves such a row out.
    """
    begun = False
    with closing(read_rows(path, delimiter)) as rows:
        try:
            for row in rows:
                begun = True
                yield row
        except BadFile:
            if not begun:
                raise


def _refuse(path: Path | str, line: int, cells: list[str]) -> NoReturn:
    if not cells:
        refuse(path, 1, 1, "the file is empty")
    columns = _columns(cells, ())
    if "session" in columns and len(columns) == 1 and len(cells) > 2:
        names = ", ".join(cell.strip() for cell in cells[1:4])
        reason = (
            f"a column for each ticker ({names} …) holds one price only: bars need rows of"
            " date, ticker, open, high, low, close; pandas' stack() makes them of four such tables"
        )
        refuse(path, line, cells[1].strip() or 2, reason)
    lacking = next(name for name in REQUIRED if name not in columns)
    names = " or ".join(NAMES[lacking][:NAMES_SHOWN])
    reason = f"there is no column {names}; there are {', '.join(cells)}"
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        reason = f"there is no column {names}, and this is not UTF-8: save the file as UTF-8"
    refuse(path, line, NAMES[lacking][0], reason)


def _header(
    path: Path | str,
    row: tuple[int, list[str]],
    columns: dict[str, int],
    below: Rows,
    delimiter: str,
    reading: Reading,
) -> Header:
    line, cells = row
    names = [plain(cell) for cell in cells]
    for at in columns.values():
        if names[at] and names.count(names[at]) > 1:
            refuse(path, line, names[at], "the column is there twice")
    if reading.ticker is not None:
        columns.pop("ticker", None)
    if reading.ticker:
        wanted = [cell.strip().casefold() for cell in cells]
        if reading.ticker.casefold() not in wanted:
            reason = f"there is no such column for the ticker; there are {', '.join(cells)}"
            refuse(path, line, reading.ticker, reason)
        columns["ticker"] = wanted.index(reading.ticker.casefold())
    unknown: list[int] = []
    if "ticker" not in columns and reading.ticker is None:
        taken = set(columns.values())
        unknown = [at for at in range(len(cells)) if at not in taken and _may_name(below, at)]
    return Header(
        cells=tuple(cells),
        columns=columns,
        delimiter=delimiter,
        lines=line,
        unknown=tuple(unknown),
    )


def _columns(cells: Sequence[str], below: Rows) -> dict[str, int]:
    """Return which keys of NAMES are where; of several sets of prices one whole set."""
    headings = [plain(cell) for cell in cells]
    columns = {}
    for column, names in NAMES.items():
        present = [name for name in names if name in headings]
        if column == "ticker":
            present = [name for name in present if not _numbers_alone(below, headings, name)]
        if present:
            columns[column] = headings.index(present[0])
    if "volume" not in columns:  # Volume BTC, Volume USD
        at = next((at for at, name in enumerate(headings) if name.startswith("volume")), None)
        columns |= {} if at is None else {"volume": at}
    if "time" in headings and headings.index("time") != columns.get("session"):
        columns["time"] = headings.index("time")
    if "session" not in columns and headings and not headings[0] and any(_dates(below, 0)):
        columns["session"] = 0
    for kind in AS_TRADED_SETS:
        found = {
            name: headings.index(full)
            for name in ONE_BAR
            for full in (kind + name, name + kind)
            if full in headings
        }
        if found.keys() >= set(ONE_BAR[:4]):
            return columns | found
    return columns


def _numbers_alone(below: Rows, headings: Sequence[str], name: str) -> bool:
    """Tell whether a column "index" only counts the rows, or one "name" has but numbers."""
    at = headings.index(name)
    cells = [row[at].strip() for _, row in below if at < len(row)]
    if name == "index":
        whole = [int(cell) for cell in cells if cell.isdecimal()]
        steps = {later - earlier for earlier, later in pairwise(whole)}
        return len(whole) == len(cells) > 0 and (steps in ({1}, {-1}) or whole in ([0], [1]))
    return name == "name" and bool(cells) and all(map(str.isdecimal, cells))


def _dates(below: Rows, at: int) -> list[bool]:
    return [_is_date(row[at]) for _, row in below if at < len(row)]


def _is_date(cell: str) -> bool:
    try:
        as_session(cell, days_first=True, years_last=True)
    except ValueError:
        return False
    return True


def _may_name(below: Rows, at: int) -> bool:
    """Tell whether a column may name things: by texts or whole numbers, or nothing shows it."""
    cells = [row[at].strip() for _, row in below if at < len(row) and row[at].strip()]
    return all(map(str.isdecimal, cells)) or any(map(is_text, cells))


def is_text(cell: str) -> bool:
    """Tell whether a cell is neither empty nor a number, a percentage, a date or a time."""
    bare = cell.strip().rstrip("%").strip()
    if re.fullmatch(r"[\d.,:+\-\s]*[kmbt]?|true|false", bare, re.IGNORECASE):
        return False
    try:
        as_number(bare)
    except ValueError:
        return not _is_date(bare)
    return False


def _several_rows(rows: Rows, delimiter: str) -> Header | None:
    """Recognise the two or three rows that yfinance writes: prices, tickers, and "Date" alone."""
    if len(rows) < 2 or len(rows[0][1]) != len(rows[1][1]):
        return None
    for names, tickers in ((rows[0][1], rows[1][1]), (rows[1][1], rows[0][1])):
        keys = {name: key for key in NUMBERS for name in NAMES[key]}
        kinds = [keys.get(plain(name)) for name in names[1:]]
        if "close" not in kinds or not all(ticker.strip() for ticker in tickers[1:]):
            continue
        if any(plain(ticker) in keys for ticker in tickers[1:]) or _is_number(tickers[1]):
            continue
        parts: dict[str, dict[str, int]] = {}
        for at, (kind, ticker) in enumerate(zip(kinds, tickers[1:], strict=True), 1):
            if kind is not None:
                parts.setdefault(ticker.strip(), {})[kind] = at
        if not all(part.keys() >= set(ONE_BAR[:4]) for part in parts.values()):
            continue
        alone = len(rows) > 2 and not "".join(rows[2][1][1:]).strip()
        cells = (rows[2][1][0] if alone else "Date", *names[1:])
        line = rows[2 if alone else 1][0]
        columns = {"session": 0, **next(iter(parts.values()))}
        return Header(
            cells=cells, columns=columns, delimiter=delimiter, lines=line, by_ticker=parts
        )
    return None


def _pairs(row: tuple[int, list[str]], delimiter: str) -> Header | None:
    """Recognise headings that name price and ticker: ('Close', 'AAPL') of pandas, AAPL.Close of R.

    pandas flattens two rows of headings so, as in a Parquet file, and puts the date anywhere.
    """
    line, cells = row
    keys = {name: key for key in NUMBERS for name in NAMES[key]}
    parts: dict[str, dict[str, int]] = {}
    session = None
    for at, cell in enumerate(cells):
        found = _PAIR.fullmatch(cell.strip()) or _PREFIXED.fullmatch(cell.strip())
        first, second = found.group("one", "other") if found else (cell, "")
        key = keys.get(plain(first)) or keys.get(plain(second))
        ticker = (second if plain(first) in keys else first).strip()
        if found and second and key and plain(ticker) not in NO_TICKERS:
            parts.setdefault(ticker, {})[key] = at
        elif plain(first) in (*NAMES["session"], "index") or (at == 0 and not cell.strip()):
            session = at
    whole = all(part.keys() >= set(ONE_BAR[:4]) for part in parts.values())
    if session is None or not parts or not whole:
        return None
    columns = {"session": session, **next(iter(parts.values()))}
    return Header(
        cells=tuple(cells), columns=columns, delimiter=delimiter, lines=line, by_ticker=parts
    )


def _is_number(cell: str) -> bool:
    try:
        as_number(cell)
    except ValueError:
        return False
    return True


def _without_names(rows: Rows, delimiter: str) -> Header | None:
    """Recognise what MetaTrader exports: 2024.01.02,00:00,open,high,low,close,volume."""
    first = rows[0][1] if rows else []
    if len(first) != 7 or not _META_TRADER.fullmatch(first[0]) or ":" not in first[1]:
        return None
    names = ("session", "time", *ONE_BAR)
    return Header(
        cells=("Date", "Time", "Open", "High", "Low", "Close", "Volume"),
        columns={name: at for at, name in enumerate(names)},
        delimiter=delimiter,
        lines=0,
    )


def ticker_of(path: PurePath) -> str:
    """Return the ticker a file is named after, percent-decoded: %5EGSPC.csv.gz holds ^GSPC.

    Investing.com calls its files "TSLA Historical Data.csv".
    """
    name = re.sub(r"(\.(csv|txt|xlsx|parquet))?(\.(gz|zip))?$", "", path.name, flags=re.IGNORECASE)
    return unquote(re.sub(r" Historical Data( \(\d+\))?$", "", name))
