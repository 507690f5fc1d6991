"""Which exchange calendar the days of a ticker's bars speak for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np

from stockbatch.market import sessions
from stockbatch.market.sessions import DEFAULT_CALENDAR, as_date
from stockbatch.records import Sessions

JUDGED = timedelta(days=3 * 365)
"""The newest bars alone are judged: older calendars are less sure, and hours of no use here."""
OFF_WEIGHT = 5
"""A bar on a closed day speaks so many times louder than a missing one: many shares skip days."""
FEW = 0.01
"""Share of bars on closed days that any feed may have."""
CLEARLY = 3
"""So much better, in days that a calendar does not explain, is more than chance."""
LONGEST_GAP = 5
"""Days between bars, in the median, from which on they are not daily, and fit no calendar."""
LAST_DAY = np.datetime64("2100-01-01")
"""No calendar goes further, and no bar is from then."""
FUTURES = frozenset({"CMES", "IEPA", "XCBF", "us_futures"})
"""Calendars of futures: they trade on holidays of the shares they are told apart from."""
NOBODY_ASKS = frozenset({"AIXK", "XEEE", "XEUR"})
"""Of derivatives, energy, and one with sessions of days nobody else has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Bars that `calendar` does not explain, and those that do, best first; none: none does."""

    calendar: str
    bars: int
    off: int
    """Bars of days on which the calendar is closed, and of them, those of weekends."""
    weekends: int
    example: date
    """The newest such day."""
    proposals: tuple[str, ...]

    def __str__(self) -> str:
        days = "weekend days" if self.weekends == self.off else "days"
        where = f"{self.off} of {self.bars} bars are of {days} on which {self.calendar} is closed"
        return f"{where}, the last of {self.example}"

    @property
    def advice(self) -> str:
        """Return what calendars to give."""
        *others, last = self.proposals or ("that of its exchange",)
        return f"{', '.join(others)} or {last}" if others else last


def doubt(days: Sessions, calendar: str = DEFAULT_CALENDAR) -> Doubt | None:
    """Return why days with bars, in any order, are not those of `calendar`; None where they may be.

    A calendar is kept unless others are clearly better, or nothing explains the bars.
    Raises UnknownCalendar.
    """
    days = np.unique(days[~np.isnat(days)].astype("datetime64[D]"))
    days = days[(days >= np.datetime64(sessions.FIRST_DAY, "D")) & (days < LAST_DAY)]
    if not len(days):
        return None
    days = days[days > days[-1] - np.timedelta64(JUDGED)]
    held = _sessions(sessions.canonical(calendar), as_date(days[0]), as_date(days[-1]))
    off = days[~np.isin(days, held)]
    if not len(off):
        return None
    proposals = _proposals(days, calendar)
    if proposals is None or (not proposals and len(off) <= max(2, FEW * len(days))):
        return None
    return Doubt(
        calendar=calendar,
        bars=len(days),
        off=len(off),
        weekends=int((~np.is_busday(off)).sum()),
        example=as_date(off[-1]),
        proposals=proposals,
    )


def doubts(days: Mapping[tuple[str, str], Sessions]) -> list[str]:
    """Return a sentence for every calendar that tickers, by (calendar, ticker), do not fit."""
    found: dict[str, dict[str, Doubt]] = {}
    for (calendar, ticker), of_one in days.items():
        doubted = doubt(of_one, calendar)
        if doubted is not None:
            found.setdefault(calendar, {})[ticker] = doubted
    sentences = []
    for calendar, by_ticker in found.items():
        worst = max(by_ticker, key=lambda ticker: by_ticker[ticker].off)
        others = f" and {len(by_ticker) - 1} more" if len(by_ticker) > 1 else ""
        sentences.append(
            f"{calendar} does not fit {worst}{others}: {by_ticker[worst]}; remove what trades"
            f" elsewhere and add it with --calendar {by_ticker[worst].advice}"
        )
    return sentences


def _proposals(days: Sessions, calendar: str) -> tuple[str, ...] | None:
    """Return the calendars that explain `days` best; None where `calendar` is one of them.

    None of them where nothing explains the days: bars of weeks or months, say.
    """
    if len(days) > 1 and np.median(np.diff(days)) >= np.timedelta64(LONGEST_GAP):
        return ()
    costs = {code: _cost(days, code) for code in {*candidates(), calendar}}
    least = min(costs.values())
    if costs[calendar] < least + CLEARLY:
        return None
    best = sorted((cost, code) for code, cost in costs.items() if cost <= least + 1)
    # Days read in a wrong zone are nobody's, whoever comes nearest to them.
    if _off(days, best[0][1]) > max(1, 2 * FEW * len(days)):
        return ()
    return tuple(code for _, code in best)[:8]


@lru_cache(maxsize=1)
def candidates() -> tuple[str, ...]:
    """Return the codes of all calendars that shares, currencies and coins trade by."""
    import exchange_calendars

    known = exchange_calendars.get_calendar_names(include_aliases=False)
    return tuple(code for code in known if code not in FUTURES | NOBODY_ASKS)


def _off(days: Sessions, code: str) -> int:
    return int((~np.isin(days, _sessions(code, as_date(days[0]), as_date(days[-1])))).sum())


def _cost(days: Sessions, code: str) -> float:
    """Return how many days a calendar leaves unexplained, bars on closed days weighted."""
    held = _sessions(code, as_date(days[0]), as_date(days[-1]))
    off = int((~np.isin(days, held)).sum())
    return OFF_WEIGHT * off + len(held) - (len(days) - off)


def _sessions(code: str, first: date, last: date) -> Sessions:
    """Return the sessions of a calendar from `first` to `last`, as far as it knows them."""
    known = sessions.of_years(code, first.year, last.year)
    return known[(known >= np.datetime64(first, "D")) & (known <= np.datetime64(last, "D"))]
