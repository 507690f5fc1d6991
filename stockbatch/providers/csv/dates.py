"""What the stamps of a table of bars say: days, or instants that an exchange's zone makes days."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockbatch.providers.csv.cells import shown
from stockbatch.records import Sessions

Instants = NDArray[np.datetime64]
"""UTC, dtype datetime64[s]."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?:(?:[T ]|,\s)\s*(\d.*))?"
_YEAR_FIRST = re.compile(
    rf"(\d{{4}})([-/.])\s?(\d\d?)\2\s?(\d\d?)\.?{_TIME}|(\d{{4}})(\d\d)(\d\d)(?:\.0)?{_TIME}",
    re.ASCII,
)
_YEAR_LAST = re.compile(rf"(\d\d?)([-/.])(\d\d?)\2(\d{{4}}|\d\d){_TIME}", re.ASCII)
_DAY_MONTH = re.compile(
    r"(\d\d?)[- ]([a-z]{3})[a-z]*\.?[- ,]\s*(\d{4}|\d\d)", re.ASCII | re.IGNORECASE
)
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+", re.ASCII | re.IGNORECASE)
_MONTH_DAY = re.compile(r"([a-z]{3})[a-z]*\.? (\d\d?),? (\d{4})", re.ASCII | re.IGNORECASE)
_IDEOGRAPHS = re.compile(r"(\d{4})[年년]\s?(\d\d?)[月월]\s?(\d\d?)[日일]", re.ASCII)
_CLOCK = re.compile(
    r"(\d\d?):?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_EPOCH = re.compile(r"(-?\d{9,19})(?:\.\d+)?", re.ASCII)
_UNITS = {range(9, 12): 1, range(12, 15): 10**3, range(15, 18): 10**6, range(18, 20): 10**9}
"""Of one second, by how many digits of it have passed since 1970."""
_MAJORITY = 10
"""So many times more dates must tell of one order of day and month than of the other."""

_FEWER = 1.5
"""Read right, dates are of so many times fewer months than read in another way."""


class Stamp(NamedTuple):
    """What one cell says: a day, and how the clock stood, if it says so."""

    day: date
    """As it is written; that of UTC where it is an epoch."""
    clock: int = 0
    """Seconds since midnight, as written."""
    offset: int | None = None
    """Seconds east of Greenwich; None where no zone is stated."""

    @property
    def instant(self) -> int | None:
        """Seconds since 1970, where there is a zone."""
        if self.offset is None:
            return None
        return (self.day - date(1970, 1, 1)).days * 86_400 + self.clock - self.offset


@dataclass(frozen=True, slots=True)
class Stamps:
    """What different stamps of a file say, in arrays of shape (stamps,)."""

    days: Sessions
    """As written; NaT where there is no date."""
    clocks: NDArray[np.int64]
    instants: Instants | None
    """Where each of them is one whose day depends on the zone."""
    faults: Mapping[int, str]
    """What is wrong with those that have no date, by their place."""


def day_first(texts: Iterable[str]) -> bool | None:
    """Tell whether dates like 3/12/2024 begin with the day; None where nothing shows it."""
    pairs = [(int(found[1]), int(found[3])) for text in texts if (found := _slashed(text))]
    days = sum(first > 12 >= second for first, second in pairs)
    months = sum(second > 12 >= first for first, second in pairs)
    # One odd line must not turn the dates of all others, nor may two halves be read as one.
    if days > _MAJORITY * months:
        return True
    return False if months > _MAJORITY * days else None


def _slashed(text: str) -> re.Match[str] | None:
    found = _YEAR_LAST.fullmatch(text.strip())
    return found if found and found[2] != "." else None


def years_are_last(texts: Iterable[str]) -> bool:
    """Tell whether the last of 31/12/24 is the year: there are far fewer months than days then."""
    found = [match for text in texts if (match := _YEAR_LAST.fullmatch(text.strip()))]
    parts = {(match[1], match[3], match[4]) for match in found if len(match[4]) == 2}
    last = min(len({(year, part[at]) for *part, year in parts}) for at in (0, 1))
    first = len({(year, month) for year, month, _ in parts})
    return _FEWER * last <= first


def as_session(text: str, days_first: bool | None = None, *, years_last: bool = False) -> date:
    """Read a date, with or without a time behind it, as it is written; raises ValueError.

    Year first (2024-12-31, 20241231), day first with dots (31.12.2024), or with an English month;
    12/31/2024 only where `days_first` tells which of its numbers is the day, and 12/31/24 where
    `years_last` tells that none of the others is the year.
    """
    return as_stamp(text, days_first, years_last=years_last).day


def as_stamp(text: str, days_first: bool | None = None, *, years_last: bool = False) -> Stamp:
    """Read a date as `as_session` does, with its time and zone, or an epoch; raises ValueError."""
    plain = _WEEKDAY.sub("", text.strip(), count=1)
    clock: str | None = None
    if found := _YEAR_FIRST.fullmatch(plain):
        year, month, day, clock = found.group(*((1, 3, 4, 5) if found[1] else (6, 7, 8, 9)))
    elif found := _YEAR_LAST.fullmatch(plain):
        first, second, year, clock = found.group(1, 3, 4, 5)
        if (found[2] != "." and days_first is None) or (len(year) == 2 and not years_last):
            raise ValueError(f"{shown(text)} can be read as two dates: write it as 2024-12-31")
        day, month = (first, second) if found[2] == "." or days_first else (second, first)
    elif (found := _DAY_MONTH.fullmatch(plain)) and found[2].lower() in _MONTHS:
        day, month, year = found[1], str(_MONTHS.index(found[2].lower()) + 1), found[3]
    elif (found := _MONTH_DAY.fullmatch(plain)) and found[1].lower() in _MONTHS:
        month, day, year = str(_MONTHS.index(found[1].lower()) + 1), found[2], found[3]
    elif found := _IDEOGRAPHS.fullmatch(plain):
        year, month, day = found.group(1, 2, 3)
    elif found := _EPOCH.fullmatch(plain):
        return _of_epoch(text, found[1])
    else:
        raise ValueError(f"{shown(text)} is not a date like 2024-12-31")
    try:
        return Stamp(date(_whole_year(year), int(month), int(day)), *_clock(clock))
    except ValueError:
        raise ValueError(f"{shown(text)} is not a date of the calendar") from None


def _whole_year(year: str) -> int:
    """Return a year of two digits as the last one that is not still to come."""
    if len(year) > 2:
        return int(year)
    this = datetime.now(UTC).year + 1  # it has begun in some zone
    return this - (this - int(year)) % 100


def _of_epoch(text: str, digits: str) -> Stamp:
    unit = next(unit for lengths, unit in _UNITS.items() if len(digits.lstrip("-")) in lengths)
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(digits) // unit)
    except OverflowError:
        raise ValueError(f"{shown(text)} is not a date like 2024-12-31") from None
    return Stamp(moment.date(), moment.hour * 3600 + moment.minute * 60 + moment.second, 0)


def _clock(text: str | None) -> tuple[int, int | None]:
    """Return seconds since midnight, and those east of Greenwich where a zone is stated."""
    found = _CLOCK.match(text) if text else None
    if not found:
        return 0, None
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3] or 0)
    zone = found[4]
    if zone is None:
        half = re.search(r"([ap])\.?m", text or "", re.IGNORECASE)
        if half:
            seconds = seconds % 43_200 + 43_200 * (half[1].lower() == "p")
        return seconds, None
    if zone[0] not in "+-":
        return seconds, 0
    east = int(zone[1:3]) * 3600 + int(zone[3:].lstrip(":") or 0) * 60
    return seconds, east if zone[0] == "+" else -east


def read_stamps(texts: Sequence[str], as_written: bool | None) -> Stamps:
    """Read all different stamps of a file at once.

    `as_written` tells to take the days as they are written (True), or those of the exchange
    (False); where it is None, the stamps must show it: raises ValueError where some have a zone
    and some have none.
    """
    # Of all of them at once: a single 13/01/2024 tells how all the others are meant.
    days_first, years_last = day_first(texts), years_are_last(texts)
    stamps: list[Stamp | None] = []
    faults = {}
    for place, text in enumerate(texts):
        try:
            stamps.append(as_stamp(text, days_first, years_last=years_last))
        except ValueError as error:
            faults[place] = str(error)
            stamps.append(None)
    return Stamps(
        days=np.array([stamp and stamp.day for stamp in stamps], "datetime64[D]"),
        clocks=np.array([stamp.clock if stamp else 0 for stamp in stamps], np.int64),
        instants=_instants(stamps, as_written),
        faults=faults,
    )


def _instants(stamps: Sequence[Stamp | None], as_written: bool | None) -> Instants | None:
    known = [stamp for stamp in stamps if stamp]
    # Midnight of a zone other than UTC is the exchange's own: its day is the day that is written.
    local = not any(stamp.clock for stamp in known) and any(stamp.offset for stamp in known)
    zoned = sum(stamp.offset is not None for stamp in known)
    if as_written or not zoned or (local and as_written is None):
        return None
    if zoned < len(known):
        reason = "some dates state a zone and others do not: say what they mean by --dates written"
        raise ValueError(reason)
    return np.array([stamp.instant if stamp else None for stamp in stamps], "datetime64[s]")
