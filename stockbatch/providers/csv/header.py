"""Which columns a CSV file of daily bars has, and where."""

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from stockbatch.exceptions import BadFile
from stockbatch.providers.csv.lines import read_rows, refuse
from stockbatch.records import PriceBasis

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

TEXTS = ("session", "ticker")
ONE_BAR = ("open", "high", "low", "close", "volume")
"""Columns where a cell that is no number costs one bar at most."""
NUMBERS = (*ONE_BAR, "dividend", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is said about how files are read, by the keys of OPTIONS; None: the files show it."""

    ticker: str | None = None
    decimal: str | None = None
    dates: str | None = None
    basis: PriceBasis | None = None

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

    @property
    def as_traded(self) -> bool:
        """Tell whether the file states its splits, so that its prices need not contain them."""
        return "split" in self.columns


def read_header(path: Path, _reading: Reading = AS_IT_IS) -> Header:
    """Read the first line that is not blank; raises BadFile unless it names what is needed."""
    # No sniffing: a delimiter is right if the names it separates are those that are needed.
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
    return unquote(
        re.sub(r"(\.(csv|txt|xlsx|parquet))?(\.(gz|zip))?$", "", path.name, flags=re.IGNORECASE)
    )
