"""The bars of one CSV file, in arrays sorted by ticker and session."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stockbatch.exceptions import BadFile, UnknownCalendar
from stockbatch.market import sessions as calendars
from stockbatch.providers.csv.dates import Instants
from stockbatch.providers.csv.lines import refuse
from stockbatch.records import (
    ActionKind,
    BarRequest,
    Bars,
    CorporateAction,
    FetchedBars,
    Finding,
    Floats,
    PriceBasis,
    Sessions,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The bars of one file, sorted by ticker and session, in arrays of shape (rows,)."""

    path: Path | str
    tickers: tuple[str, ...]
    offsets: NDArray[np.intp]
    """Where each ticker's rows begin, and the end: shape (tickers + 1,)."""
    sessions: Sessions
    """The days as they are written; of UTC where there are instants: see `on`."""
    numbers: Mapping[str, Floats]
    basis: PriceBasis
    understood: str
    """How the basis was told, and which columns were ignored."""
    basis_stated: bool
    """Whether the file says its basis; False: it states no split, and none is seen."""
    findings: Mapping[str, tuple[Finding, ...]]
    """What could not be read, by ticker."""
    instants: Instants | None = None
    """When each bar was stamped, where its day depends on the exchange's zone."""
    dates_stated: bool = False
    """Whether the user says that instants mean the exchange's days."""
    _on: dict[str, "Table"] = field(default_factory=dict, repr=False)

    @property
    def as_traded(self) -> bool:
        """Tell whether the prices are as traded, the splits beside them."""
        return self.basis is PriceBasis.AS_TRADED

    def on(self, calendar: str | None) -> "Table":
        """Return the table with the days of an exchange where it has instants.

        Where all are midnight of UTC, that may be a plain date as well: the reading whose days are
        sessions is taken. Raises BadFile where both are, and UnknownCalendar.
        """
        if self.instants is None or calendar is None:
            return self
        if calendar not in self._on:
            self._on[calendar] = replace(self, sessions=self._days(calendar), instants=None)
        return self._on[calendar]

    def _days(self, calendar: str) -> Sessions:
        assert self.instants is not None
        instants, places = np.unique(self.instants, return_inverse=True)
        zone = calendars.zone(calendar)
        local = pd.DatetimeIndex(instants, tz="UTC").tz_convert(zone).tz_localize(None)
        days = local.to_numpy().astype("datetime64[D]")
        written = instants.astype("datetime64[D]")
        if not self.dates_stated and (instants == written).all() and (days != written).any():
            last = calendars.as_date(max(days[-1], written[-1]))
            known = calendars.load(calendar, last).sessions
            closed, closed_as_written = (int((~np.isin(d, known)).sum()) for d in (days, written))
            if closed == closed_as_written:
                reason = (
                    f"midnight of UTC can be the day that is written or that of {calendar}, and"
                    " both are sessions: say which by --dates written or --dates exchange"
                )
                refuse(self.path, 1, 1, reason)
            days = days if closed < closed_as_written else written
        return frozen(days[places])

    def answer(self, request: BarRequest) -> FetchedBars:
        """Return what there is of a request, be it nothing; raises BadFile."""
        try:
            table = self.on(request.calendar)
        except (ValueError, UnknownCalendar) as error:
            raise BadFile(path=self.path, line=1, column=1, reason=error) from None
        rows = table.rows(request.symbol, request.first, request.last)
        return FetchedBars(
            symbol=request.symbol,
            bars=table.bars(rows),
            actions=table.actions(rows),
            price_basis=table.basis,
            findings=table.findings.get(request.symbol, ()),
        )

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


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array that cannot be written to."""
    # The bars handed out are views: whoever changed them would change the table for all others.
    values.flags.writeable = False
    return values
