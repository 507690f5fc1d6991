"""What each session knew of companies' reports, from all that was ever stated of them."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from stockbatch.market import sessions as trading
from stockbatch.market.rhythm import QUARTER, YEAR
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Floats, Reports, Sessions

FEW_DAYS = timedelta(days=5)
"""Dates no farther apart are of one report: of two sources, or corrected after the fact."""
COVERED = 140
"""Sessions after a report until which the ticker's reports count as known: two quarters."""

Places = NDArray[np.intp]
"""Where sessions are on a whole calendar, or statements among all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """What sources stated of reports, arrays of shape (statements,), by ticker and then by date."""

    row: Places
    """Of the ticker."""
    date: Sessions
    session: Sessions
    """The one whose return it moves."""
    vague: NDArray[np.bool_]
    """Whether the hour is unknown."""
    assumed: NDArray[np.bool_]
    known_at: Floats
    """Seconds since 1970."""
    ended_at: Floats
    """When it was seen to hold no longer; infinite: it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """Statements before the sessions that may know them."""

    stated: Statements
    calendar: TradingCalendar
    place: Places
    """Where the sessions are on the calendar, shape (sessions,)."""
    cuts: Floats
    """The instant each of them knows all before of, ascending."""
    reach: int
    """Sessions before an assumed date from which it counts as known."""

    def reports(self, tickers: int) -> Reports:
        """Return what the sessions knew of the reports of so many tickers."""
        stated, shape = self.stated, (tickers, len(self.place))
        rivals = self._rivals()
        moved = self._places(stated.session)
        due, came, lingering, expected = np.zeros((4, *shape), bool)
        for shown, place, only in (
            (due, moved - 1, True),
            (came, moved, True),
            (lingering, moved, stated.vague & (stated.session == stated.date)),
        ):
            column, counted = self._counted(place, rivals)
            counted &= only
            shown[stated.row[counted], column[counted]] = True
        column, counted = self._projected(rivals)
        expected[stated.row[counted], column[counted]] = True
        return Reports(
            due=due,
            came=came,
            lingering=lingering,
            covered=self._covered(shape),
            expected=expected,
        )

    def _places(self, days: Sessions) -> Places:
        """Return where the first session not before each of `days` is."""
        return np.searchsorted(self.calendar.sessions, days)

    def _seen(self, which: Places, column: Places) -> NDArray[np.bool_]:
        """Tell of the statements `which` whether the session of their column knew them."""
        stated, cut = self.stated, self.cuts[column]
        seen = (stated.known_at[which] < cut) & (stated.ended_at[which] >= cut)
        near = self._places(stated.date[which]) - self.place[column] <= self.reach
        # Which of the dates told afterwards was right is known by now: those withdrawn never were.
        return np.where(stated.assumed[which], near & np.isinf(stated.ended_at[which]), seen)

    def _rivals(self) -> tuple[Places, Places]:
        """Return the pairs of statements that are of one report, the worse and the better of each.

        What was seen ahead is better than what is assumed, an hour better than none, then the
        newest.
        """
        stated = self.stated
        rank = np.empty(len(stated.row), np.intp)
        best_first = (-np.arange(len(rank)), -stated.known_at, stated.vague, stated.assumed)
        rank[np.lexsort(best_first)] = np.arange(len(rank))
        few = FEW_DAYS.days
        one, other = self._neighbours(stated.date - few, stated.date + few)
        worse = rank[one] > rank[other]
        return one[worse], other[worse]

    def _neighbours(self, first: Sessions, last: Sessions) -> tuple[Places, Places]:
        """Return, in pairs, each statement and those of its ticker dated from `first` to `last`."""
        # More days than there are, so that one number orders ticker and day.
        tickers = self.stated.row * 10_000_000
        keys = tickers + self.stated.date.astype(np.int64)
        begin = np.searchsorted(keys, tickers + first.astype(np.int64), "left")
        count = np.searchsorted(keys, tickers + last.astype(np.int64), "right") - begin
        one = np.repeat(np.arange(len(keys)), count)
        nth = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
        return one, begin[one] + nth

    def _counted(
        self, place: Places, rivals: tuple[Places, Places]
    ) -> tuple[Places, NDArray[np.bool_]]:
        """Return in which column each statement's `place` is, and whether it counts there.

        It does where that session knew it, and no better statement of the same report.
        """
        column = np.searchsorted(self.place, place).clip(max=len(self.place) - 1)
        counted = (self.place[column] == place) & self._seen(np.arange(len(place)), column)
        worse, better = rivals
        counted[worse[self._seen(better, column[worse])]] = False
        return column, counted

    def _projected(self, rivals: tuple[Places, Places]) -> tuple[Places, NDArray[np.bool_]]:
        """Return the columns before dates moved by a year, and where none is stated instead."""
        day = self.stated.date + YEAR.days
        column, counted = self._counted(self._places(day) - 1, rivals)
        one, other = self._neighbours(day - QUARTER.days, day + QUARTER.days)
        counted[one[self._seen(other, column[one])]] = False
        return column, counted

    def _covered(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Tell where a report is known that is ahead, or not long ago."""
        stated, dated = self.stated, self._places(self.stated.date)
        standing = np.where(np.isinf(stated.ended_at), shape[1], 0)
        begin = np.where(
            stated.assumed,
            np.searchsorted(self.place, dated - self.reach),
            np.searchsorted(self.cuts, stated.known_at, "right"),
        )
        end = np.where(
            stated.assumed, standing, np.searchsorted(self.cuts, stated.ended_at, "right")
        )
        end = np.minimum(end, np.searchsorted(self.place, dated + COVERED, "right"))
        some = begin < end
        # Of each ticker one more where a statement begins to count, one less where it ends.
        change = np.zeros((shape[0], shape[1] + 1), np.int64)
        np.add.at(change, (stated.row[some], begin[some]), 1)
        np.add.at(change, (stated.row[some], end[some]), -1)
        return np.asarray(np.cumsum(change[:, :-1], axis=1) > 0)


def cuts(
    calendar: TradingCalendar, sessions: Sessions, begun: Sessions, begun_at: Floats
) -> tuple[Places, Floats]:
    """Return where `sessions` are on the calendar, and the instant each knows all before of.

    That is the deadline of its forecasts, or the instant its first run began, whichever came
    first: the sessions `begun` have one.
    """
    place = np.searchsorted(calendar.sessions, sessions)
    instants = calendar.deadlines()[place + 1].astype(np.int64).astype(np.float64)
    column, known = trading.columns(sessions, begun)
    instants[column[known]] = np.minimum(instants[column[known]], begun_at[known])
    # No session knows less than the one before: only a clock that was ahead would say so.
    return place, np.maximum.accumulate(instants)
