"""The rows of a CSV file, gathered from its blocks and made a table."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stockbatch.providers.csv.basis import understand
from stockbatch.providers.csv.blocks import Block
from stockbatch.providers.csv.dates import Stamps, read_stamps
from stockbatch.providers.csv.faults import MOST, Fault, Faults
from stockbatch.providers.csv.header import NUMBERS, TEXTS, Header, Reading, is_text
from stockbatch.providers.csv.names import plain
from stockbatch.providers.csv.table import Table, frozen
from stockbatch.records import Check, Finding, Floats, Sessions, Severity
from stockbatch.text import wrong_symbol

FEW = 0.1
"""More rows than this share on a session that has one already: these are no daily bars."""
FEWEST_ROWS = 6
"""Of so few rows, each of a session and a ticker of its own, nothing is concluded."""
ASK = "say which by --column ticker=NAME, or by --column ticker= that all bars are of one"
FEWEST_SESSIONS, MOST_LIKE = 6, 0.9
"""Of so many sessions or more, this share at one distance shows bars of weeks or months."""
_STEPS = (("a week", 6, 8), ("a month", 28, 33), ("a quarter", 88, 94), ("a year", 363, 368))
_OF_COMPANIES = re.compile(
    r"(?!.*(?:bid|paid)$)(?!mid$).*"
    r"(?:id|code|key|isin|cusip|sedol|figi|cik|gvkey|security|company|instrument)"
)
"""What columns are called, in small letters and nothing but letters, that number companies."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a file in its order, arrays of shape (rows,)."""

    texts: Mapping[str, list[str]]
    """The different texts of each column of text, `codes` being places in them."""
    codes: dict[str, NDArray[np.int32]]
    numbers: dict[str, Floats]
    lines: NDArray[np.int32]

    def only(self, kept: NDArray[np.bool_]) -> "Rows":
        """Return some of the rows."""
        return Rows(
            self.texts,
            {name: codes[kept] for name, codes in self.codes.items()},
            {name: values[kept] for name, values in self.numbers.items()},
            self.lines[kept],
        )

    def text(self, name: str, row: int) -> str:
        """Return a cell of a column of text."""
        return self.texts[name][int(self.codes[name][row])]


def gather(blocks: Iterable[Block], header: Header, ticker: str) -> Rows:
    """Join the blocks; where no column names the ticker, it is `ticker`."""
    positions = {name: header.columns[name] for name in TEXTS if name in header.columns}
    positions |= {f"?{at}": at for at in header.unknown}
    known: dict[str, dict[str, int]] = {name: {} for name in ("ticker", *positions)}
    several = len(header.parts) > 1
    numbers = [name for name in NUMBERS if any(name in part for part in header.parts.values())]
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in (*known, *numbers, "line")}
    for frame, lines in blocks:  # of which one is in memory at a time
        codes = {name: _codes(frame[at], known[name]) for name, at in positions.items()}
        for name, columns in header.parts.items():
            values = {
                key: frame[columns[key]].to_numpy(float)
                if key in columns
                else np.full(len(frame), np.nan)
                for key in numbers
            }
            if "ticker" not in positions:
                code = known["ticker"].setdefault(name or ticker, len(known["ticker"]))
                codes["ticker"] = np.full(len(frame), code, np.int32)
            # Side by side, a ticker without a bar of the day has empty cells.
            there: Any = slice(None)
            if several:
                prices = [values[key] for key in ("open", "high", "low", "close")]
                there = ~np.isnan(prices).all(axis=0)
            for key, column in (*codes.items(), *values.items(), ("line", lines)):
                parts[key].append(column[there])
    joined = {
        name: np.concatenate(
            [np.empty(0, float if name in numbers else np.int32), *parts.pop(name)]
        )
        for name in list(parts)
    }
    return Rows(
        {name: list(texts) for name, texts in known.items()},
        {name: joined[name] for name in known},
        {name: joined[name] for name in numbers},
        joined["line"],
    )


def _codes(column: "pd.Series[Any]", known: dict[str, int]) -> NDArray[np.int32]:
    """Return a number for each text of a categorical column; new texts are added to `known`."""
    written = [str(text).strip() for text in column.cat.categories]
    codes = np.array([known.setdefault(text, len(known)) for text in written], np.int32)
    places = column.cat.codes.to_numpy()
    if (places < 0).any():  # the row ends before this column
        codes = np.append(codes, known.setdefault("", len(known))).astype(np.int32)
    return codes[places]


def table_of(
    path: Path | str, rows: Rows, header: Header, reading: Reading, faults: Faults
) -> Table:
    """Sort rows by ticker and session, leaving out those without either, which go to `faults`.

    Raises ValueError where the file is not one of daily bars, or which ticker a row is of is open.
    """
    as_written = None if reading.dates is None else reading.dates == "written"
    stamps = read_stamps(rows.texts["session"], as_written)
    rows = _dated(rows, header, stamps, faults)
    _one_ticker(rows, header, stamps.days, reading)
    tickers = sorted({rows.texts["ticker"][code] for code in np.unique(rows.codes["ticker"])})
    ranks = {name: rank for rank, name in enumerate(tickers)}
    ranked = [ranks.get(name, -1) for name in rows.texts["ticker"]]
    rank = np.array(ranked, np.int64)[rows.codes["ticker"]]
    sessions = stamps.days[rows.codes["session"]]
    clock = stamps.clocks[rows.codes["session"]]
    if "time" in rows.codes:
        times = np.array([_clock(text) for text in rows.texts["time"]], np.int64)
        clock = clock + times[rows.codes["time"]]
    # One whole number orders by ticker, then session, then time of day.
    key = (rank << 42) + (sessions.astype(np.int64) + 10**6) * 2**20 + clock
    order: Any = slice(None)  # most files are in order, and are then not copied
    if (key[1:] < key[:-1]).any():
        order = np.argsort(key, kind="stable")
    key = key[order]
    same_session = key[1:] >> 20 == key[:-1] >> 20
    if (same_session & (key[1:] != key[:-1])).sum() > FEW * len(key):
        raise ValueError("there are several bars of a session: these are not daily bars")
    rank, sessions = rank[order], sessions[order]
    _daily(rank, sessions)
    numbers = {name: rows.numbers.pop(name)[order] for name in list(rows.numbers)}
    numbers.setdefault("volume", np.full(len(key), np.nan))
    same_ticker = np.concatenate([[False], rank[1:] == rank[:-1]])[: len(rank)]
    basis = understand(header, numbers, sessions, same_ticker, reading)
    instants = stamps.instants
    return Table(
        path=path,
        tickers=tuple(tickers),
        offsets=np.searchsorted(rank, np.arange(len(tickers) + 1)),
        sessions=frozen(sessions),
        numbers={name: frozen(values) for name, values in numbers.items()},
        basis=basis.basis,
        understood=basis.words,
        basis_stated=basis.stated,
        findings=_findings(rows, stamps, faults, tickers),
        instants=None if instants is None else frozen(instants[rows.codes["session"]][order]),
        dates_stated=reading.dates == "exchange",
    )


def _dated(rows: Rows, header: Header, stamps: Stamps, faults: Faults) -> Rows:
    """Leave out the rows without a date or a ticker; what is blank altogether is not told."""
    wrong = [wrong_symbol(text) for text in rows.texts["ticker"]]
    unnamed = np.array([reason is not None for reason in wrong], bool)
    nameless = unnamed[rows.codes["ticker"]]
    undated = np.isnat(stamps.days)[rows.codes["session"]]
    left_out = nameless | undated
    for row in np.flatnonzero(left_out).tolist():
        written = rows.text("session", row)
        blank = "ticker" not in header.columns or not rows.text("ticker", row)
        if blank and not written and all(np.isnan(v[row]) for v in rows.numbers.values()):
            continue
        name, reason = "ticker", "there is no ticker"
        if rows.text("ticker", row) and nameless[row]:
            reason = f"this is no ticker: {wrong[int(rows.codes['ticker'][row])]}"
        if undated[row]:
            name, reason = "session", stamps.faults[int(rows.codes["session"][row])]
        ticker = None if nameless[row] else rows.text("ticker", row)
        line = int(rows.lines[row])
        faults.line(Fault(line, header.named(name), reason, Check.UNREADABLE_LINE, ticker))
    return rows.only(~left_out) if left_out.any() else rows


def _one_ticker(rows: Rows, header: Header, days: Sessions, reading: Reading) -> None:
    """Raise ValueError where a column may name the ticker, or not, and nobody says whether."""
    if reading.ticker is not None:
        return
    session = rows.codes["session"]
    count, held = len(session), len(np.unique(days[session]))
    different_tickers = len(np.unique(rows.codes["ticker"]))
    if "ticker" in header.columns and count == held > FEWEST_ROWS and 2 * different_tickers > count:
        raise ValueError(f"{header.named('ticker')} names another ticker each day: {ASK}")
    if header.names_tickers:
        return
    asked = []
    for at in header.unknown:
        texts, codes = rows.texts[f"?{at}"], rows.codes[f"?{at}"]
        different = {text for code in np.unique(codes) if (text := texts[code])}
        if any(map(is_text, different)):
            named = len([text for text in different if is_text(text)]) > 1
        else:
            # A number tells companies apart if it does the bars of a session.
            pairs = np.unique(np.stack([days[session].astype(np.int64), codes]), axis=1)
            named = 1 < len(different) <= count / 2 and (
                pairs.shape[1] - held > FEW * count
                or _OF_COMPANIES.fullmatch(plain(header.cells[at])) is not None
            )
        if named:
            asked.append(header.cells[at].strip() or f"column {at + 1}")
    if asked:
        raise ValueError(f"{' or '.join(asked)} may name the ticker: {ASK}")
    bars = np.stack([days[session].astype(float), rows.numbers["close"]])
    different_bars = np.unique(bars[:, ~np.isnan(bars[1])], axis=1).shape[1]
    if different_bars - held > max(2, FEW * count):
        raise ValueError(
            "there are several bars of a session: if they are of several tickers, say by --column"
            " ticker=NAME which column names them; if not, these are not daily bars"
        )


def _daily(rank: NDArray[np.int64], sessions: Sessions) -> None:
    """Raise ValueError where the bars, sorted by ticker and session, are of weeks or longer."""
    steps = np.diff(sessions).astype(np.int64)
    steps = steps[(rank[1:] == rank[:-1]) & (steps > 0)]
    for what, least, most in _STEPS:
        alike = len(steps) and ((steps >= least) & (steps <= most)).mean() >= MOST_LIKE
        if alike and len(np.unique(sessions)) >= FEWEST_SESSIONS:
            raise ValueError(f"there is one bar {what}: these are not daily bars")


def _clock(text: str) -> int:
    """Return a time as a number that orders, 09:30:00 and 93000 alike."""
    digits = "".join(filter(str.isdecimal, text))[:6]
    return int(digits) if digits.isascii() and digits else 0


def _findings(
    rows: Rows, stamps: Stamps, faults: Faults, tickers: list[str]
) -> dict[str, tuple[Finding, ...]]:
    """Return what could not be read, by ticker; what none can be told of, by the first."""
    if not tickers:
        return {}
    found: dict[str, list[Finding]] = {}
    for fault in (*faults.lines.values(), *faults.cells.values()):
        ticker, session, done = fault.ticker, None, "is left out"
        if fault.line in faults.cells:
            at = next(iter(np.flatnonzero(rows.lines == fault.line).tolist()), None)
            if at is None:  # the line is blank but for this cell
                continue
            ticker, done = rows.text("ticker", at), f"has no {fault.column}"
            session = stamps.days[rows.codes["session"][at]].item()
        message = f"line {fault.line} {done}: {fault.reason}"
        found.setdefault(ticker if ticker in tickers else tickers[0], []).append(
            Finding(check=fault.check, severity=Severity.WARNING, message=message, session=session)
        )
    more = faults.left_out + faults.unread.total() - len(faults.lines) - len(faults.cells)
    if more > 0 and faults.left_out + faults.unread.total() > MOST:
        message = f"{more:,} more lines or cells could not be read"
        found.setdefault(tickers[0], []).append(
            Finding(check=Check.UNREADABLE_LINE, severity=Severity.WARNING, message=message)
        )
    return {ticker: tuple(findings) for ticker, findings in found.items()}
