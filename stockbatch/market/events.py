"""Which session's return an event moves."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from stockbatch.market.sessions import TradingCalendar, zone
from stockbatch.records import Timing


def moved_session(calendar: TradingCalendar, day: date, timing: Timing) -> date:
    """Return the session whose return an event of `day` moves.

    What comes after the close moves the next one, all else its own, or the first after a closed
    day. Raises OutsideCalendar.
    """
    if timing is Timing.AFTER_CLOSE or not calendar.is_session(day):
        return calendar.next(day)
    return day


def timing_at(calendar: TradingCalendar, day: date, clock: time) -> Timing:
    """Return where in its day an event is that comes when the exchange's clock shows `clock`.

    Midnight is what those write who do not know the hour. On a closed day it does not matter.
    """
    if clock == time(0) or not calendar.is_session(day):
        return Timing.UNKNOWN
    instant = datetime.combine(day, clock, ZoneInfo(zone(calendar.code)))
    if instant < calendar.open(day):
        return Timing.BEFORE_OPEN
    return Timing.DURING if instant < calendar.close(day) else Timing.AFTER_CLOSE
