"""Arithmetic of trading sessions: which days an exchange trades, when it opens and closes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stockbatch.exceptions import NotASession, OutsideCalendar, UnknownCalendar
from stockbatch.records import Sessions

log = logging.getLogger(__name__)

DEFAULT_CALENDAR = "XNYS"
"""Of what nobody names a calendar for, where its bars fit."""
FIRST_DAY = date(1990, 1, 1)
"""No calendar holds anything older."""
REACH = timedelta(days=370)
"""A calendar loaded through a day knows at least the sessions of this long after it."""
GRACE = timedelta(hours=2)
"""Time for a forecast after the close where the exchange never pauses."""

Instants = NDArray[np.datetime64]
"""UTC, dtype datetime64[s]."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def as_date(session: np.datetime64) -> date:
    """Return one element of a sessions array as a date."""
    return cast(date, session.astype("datetime64[D]").item())


def columns(
    sessions: Sessions, days: NDArray[np.datetime64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return where each of `days` stands on the axis `sessions`, ascending, and whether it does.

    Both arrays have the shape of `days`; where the second is False, the first means nothing.
    """
    if not len(sessions):
        return np.zeros(days.shape, np.intp), np.zeros(days.shape, bool)
    # A day past the end is sought at the last session, which it is not.
    column = np.searchsorted(sessions, days).clip(max=len(sessions) - 1)
    return column, np.asarray(sessions[column] == days)


@lru_cache(maxsize=256)
def load(code: str, through: date) -> "TradingCalendar":
    """Return the calendar of an exchange, from 1990 until at least REACH after `through`.

    `code` is a name exchange_calendars knows (XNYS, XLON, 24/7) or an alias. Beyond the days it
    knows, weekdays without holidays continue the calendar; past its end a warning is logged once.
    Raises UnknownCalendar.
    """
    return _build(canonical(code), date((through + REACH).year, 12, 31))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TradingCalendar:
    """The sessions of one exchange with the instants they open and close, oldest first.

    Days outside `sessions` raise OutsideCalendar, other days without a session NotASession where a
    session is required.
    """

    code: str
    sessions: Sessions
    opens: Instants
    closes: Instants

    def holds(self, day: date) -> bool:
        """Tell whether `day` is not outside: there are sessions both up to it and after it."""
        return as_date(self.sessions[0]) <= day < as_date(self.sessions[-1])

    def is_session(self, day: date) -> bool:
        """Tell whether the exchange trades on `day`."""
        index = self._count_through(day) - 1
        return index >= 0 and as_date(self.sessions[index]) == day

    def require(self, session: date) -> None:
        """Raise NotASession, naming the nearest sessions, unless `session` is one."""
        self._index(session)

    def next(self, day: date, count: int = 1) -> date:
        """Return the `count`-th session after `day`, which need not be one."""
        return self._at(self._count_through(day) + count - 1, day)

    def previous(self, day: date, count: int = 1) -> date:
        """Return the `count`-th session before `day`, which need not be one."""
        before = int(np.searchsorted(self.sessions, np.datetime64(day, "D")))
        return self._at(before - count, day)

    def open(self, session: date) -> datetime:
        """Return the instant `session` opens."""
        return _as_instant(self.opens[self._index(session)])

    def close(self, session: date) -> datetime:
        """Return the instant `session` closes, early closes included."""
        return _as_instant(self.closes[self._index(session)])

    def last_closed(self, as_of: datetime, delay: timedelta = timedelta(0)) -> date:
        """Return the last session that closed at least `delay` before the aware instant `as_of`."""
        seconds = (as_of - delay - _EPOCH) // _SECOND
        closed = np.searchsorted(self.closes, np.datetime64(seconds, "s"), side="right")
        return self._at(int(closed) - 1, as_of)

    def next_close(self, as_of: datetime) -> datetime:
        """Return the first close after the aware instant `as_of`."""
        seconds = (as_of - _EPOCH) // _SECOND
        index = int(np.searchsorted(self.closes, np.datetime64(seconds, "s"), side="right"))
        return self.close(self._at(index, as_of))

    def closing_after(self, instant: datetime) -> date:
        """Return the first session that closes at the aware `instant` or after it."""
        seconds = -(
            (_EPOCH - instant) // _SECOND
        )  # what a part of a second after a close is after it
        index = int(np.searchsorted(self.closes, np.datetime64(seconds, "s")))
        return self._at(index, instant)

    def between(self, first: date, last: date) -> Sessions:
        """Return the sessions from `first` to `last`, both included."""
        start = np.searchsorted(self.sessions, np.datetime64(first, "D"))
        return self.sessions[start : self._count_through(last)]

    def before(self, day: date, count: int) -> Sessions:
        """Return the `count` sessions before `day`; fewer only near the start of the array."""
        end = int(np.searchsorted(self.sessions, np.datetime64(day, "D")))
        return self.sessions[max(0, end - count) : end]

    def window(self, last: date, count: int) -> Sessions:
        """Return the `count` sessions ending at `last`; fewer only near the start of the array."""
        end = self._index(last) + 1
        return self.sessions[max(0, end - count) : end]

    def deadline(self, target: date, grace: timedelta = GRACE) -> datetime:
        """Return the instant before which a forecast of `target` is live.

        It is the open of `target`, or `grace` after the session before closed where one session
        runs straight into the next.
        """
        index = self._index(target)
        # Its next session opens as this one closes: by the rule of the others no forecast could be
        # live.
        if _never_pauses(self):
            return self.close(self.previous(target)) + grace
        return _as_instant(self.opens[index])

    def deadlines(self) -> Instants:
        """Return the deadline of every session, as `deadline` tells it."""
        if not _never_pauses(self):
            return self.opens
        # Before the first one there is no close to count from.
        before = np.concatenate([self.opens[:1], self.closes[:-1]])
        return np.asarray(before + np.timedelta64(GRACE), "datetime64[s]")

    def deadline_from(self, session: date) -> datetime:
        """Return the instant before which a forecast made from the bars of `session` is live."""
        return self.deadline(self.next(session))

    def _count_through(self, day: date) -> int:
        return int(np.searchsorted(self.sessions, np.datetime64(day, "D"), side="right"))

    def _at(self, index: int, asked: date) -> date:
        if not 0 <= index < len(self.sessions):
            raise OutsideCalendar(
                day=asked,
                calendar=self.code,
                first=as_date(self.sessions[0]),
                last=as_date(self.sessions[-1]),
            )
        return as_date(self.sessions[index])

    def _index(self, session: date) -> int:
        if not self.is_session(session):
            raise NotASession(
                session=session,
                calendar=self.code,
                before=self.previous(session),
                after=self.next(session),
            )
        return self._count_through(session) - 1


@lru_cache(maxsize=64)
def _never_pauses(calendar: TradingCalendar) -> bool:
    # By the median, since one that never pauses may close for a day all the same.
    return bool(np.median(calendar.opens[1:] - calendar.closes[:-1]) <= np.timedelta64(0))


def _as_instant(instant: np.datetime64) -> datetime:
    return cast(datetime, instant.astype("datetime64[s]").item()).replace(tzinfo=UTC)


def canonical(code: str) -> str:
    """Return the code behind a code or an alias such as NYSE, in any case.

    Raises UnknownCalendar, which names the closest.
    """
    import exchange_calendars

    known = {name.upper(): name for name in exchange_calendars.get_calendar_names()}
    name = known.get(code.strip().upper())
    if name is None:
        close = get_close_matches(code.strip().upper(), known, 3)
        hint = f": did you mean {' or '.join(known[each] for each in close)}?" if close else ""
        raise UnknownCalendar(calendar=code, hint=hint)
    return cast(str, exchange_calendars.resolve_alias(name))


@lru_cache(maxsize=64)
def zone(code: str) -> str:
    """Return the name of the zone whose midnight begins a session; raises UnknownCalendar."""
    return str(_short(canonical(code)).tz)


def _short(code: str) -> Any:
    """Return a calendar of one month, which knows the rules of all years; built once."""
    import exchange_calendars

    return exchange_calendars.get_calendar(code, start="2022-01-03", end="2022-02-01")


@lru_cache(maxsize=64)
def _build(code: str, last: date) -> TradingCalendar:
    """Build the calendar of a canonical code from FIRST_DAY to `last`."""
    kind = type(_short(code))
    known_first = _later(FIRST_DAY, kind.bound_min())
    known_last = _earlier(last, kind.bound_max())
    exchange = kind(start=known_first.isoformat(), end=known_last.isoformat())
    if known_last < last:
        log.warning("%s: holidays after %s are unknown, weekdays stand in", code, known_last)
    # Both ends are filled up, so that sessions can be counted and deadlines told wherever bars are.
    before = _weekdays(exchange, FIRST_DAY, known_first - timedelta(days=1))
    after = _weekdays(exchange, known_last + timedelta(days=1), last)
    known = tuple(
        instants.to_numpy(dtype="datetime64[ns]")
        for instants in (exchange.sessions, exchange.opens, exchange.closes)
    )
    days, opens, closes = (
        np.concatenate(parts) for parts in zip(before, known, after, strict=True)
    )
    return TradingCalendar(
        code=code,
        sessions=_frozen(days.astype("datetime64[D]")),
        opens=_frozen(opens.astype("datetime64[s]")),
        closes=_frozen(closes.astype("datetime64[s]")),
    )


@lru_cache(maxsize=256)
def of_years(code: str, first: int, last: int) -> Sessions:
    """Return the sessions of a canonical code in some years, without what it knows nothing of.

    Their hours cost ten times as much, and are not asked for.
    """
    import pandas as pd

    short = _short(code)
    start = _later(date(first, 1, 1), short.bound_min())
    end = _earlier(date(last, 12, 31), short.bound_max())
    days = pd.date_range(start, end, freq=short.day)
    return _frozen(days.to_numpy(dtype="datetime64[ns]").astype("datetime64[D]"))


def _later(day: date, bound: Any) -> date:
    return day if bound is None else max(day, bound.date())


def _earlier(day: date, bound: Any) -> date:
    return day if bound is None else min(day, bound.date())


def _frozen(values: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    values.flags.writeable = False
    return values


def _weekdays(exchange: Any, first: date, last: date) -> tuple[Sessions, Instants, Instants]:
    """Return trading weekdays from `first` to `last` with the usual local opens and closes."""
    days = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)
    days = days[np.is_busday(days, weekmask=exchange.weekmask)]
    return (
        days,
        _local(days, exchange.open_times, exchange.open_offset, exchange.tz),
        _local(days, exchange.close_times, exchange.close_offset, exchange.tz),
    )


def _local(days: Sessions, times: Sequence[tuple[Any, time]], offset: int, zone: Any) -> Instants:
    """Return the UTC instants of the newest of `times` on `days`, `offset` days later."""
    # An exchange that has changed its hours has several: the newest goes on.
    usual = times[-1][1]
    return np.array(
        [
            datetime.combine(as_date(day) + timedelta(days=offset), usual, zone)
            .astimezone(UTC)
            .replace(tzinfo=None)
            for day in days
        ],
        dtype="datetime64[s]",
    )
