"""The bars of one CSV file, in arrays sorted by ticker and session."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stockbatch.providers.csv.cells import as_session, day_first, simple_ratios
from stockbatch.providers.csv.header import NUMBERS, TEXTS, Header
from stockbatch.records import (
    ActionKind,
    Bars,
    CorporateAction,
    Finding,
    Floats,
    PriceBasis,
    Sessions,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The bars of one file, sorted by ticker and session, in arrays of shape (rows,)."""

    tickers: tuple[str, ...]
    offsets: NDArray[np.intp]
    """Where each ticker's rows begin, and the end: shape (tickers + 1,)."""
    sessions: Sessions
    numbers: Mapping[str, Floats]
    basis: PriceBasis
    understood: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def as_traded(self) -> bool:
        """Tell whether the prices do not contain the splits."""
        return self.basis is PriceBasis.AS_TRADED

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


def table_of(frames: Iterable[pd.DataFrame], header: Header, ticker: str) -> Table:
    """Sort the rows by ticker and session; raises ValueError for a bad date or no ticker."""
    texts: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
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
    # One whole number orders by ticker, then session: days since 1970 fit into its lower half.
    key = (rank.astype(np.int64) << 32) + sessions.astype(np.int64)
    order: Any = slice(None)  # most files are in order, and are then not copied
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
        basis=PriceBasis.AS_TRADED if header.as_traded else PriceBasis.SPLIT_ADJUSTED,
        understood=f"columns {', '.join(header.cells[at] for at in header.columns.values())}",
    )


def _columns_of(
    frames: Iterable[pd.DataFrame], header: Header, texts: Mapping[str, dict[str, int]]
) -> dict[str, NDArray[Any]]:
    """Return arrays of shape (rows,) by the keys of NAMES: numbers, and numbers for the texts.

    `texts` is filled with what these stand for.
    """
    names = (*texts, *(name for name in NUMBERS if name in header.columns))
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for frame in frames:  # of which one is in memory at a time
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
    # Of all dates of the file at once: a single 13/01/2024 tells how all the others are meant.
    days_first = day_first(texts)
    return np.array([as_session(text, days_first) for text in texts], "datetime64[D]")


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    # The bars handed out are views: whoever changed them would change the table for all others.
    values.flags.writeable = False
    return values
