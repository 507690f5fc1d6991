"""On which day of an exchange an instant falls, and how it lies to its hours."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from stockbatch.market import sessions
from stockbatch.records import Timing

MIDNIGHT = time()


def placed(instant: datetime, calendar: str, today: date) -> tuple[date, Timing]:
    """Return the date by the exchange's clock, and the timing by its hours of that day.

    Midnight, in UTC or there, is how sources write a date without an hour: it is taken for the date
    it is written as. West of Greenwich the exchange's clock would make it the day before. `today`
    is a day through which the calendar has to be known at least. Raises UnknownCalendar.
    """
    utc = instant.astimezone(UTC)
    if utc.time() == MIDNIGHT:
        return utc.date(), Timing.UNKNOWN
    local = instant.astimezone(ZoneInfo(sessions.zone(calendar)))
    if local.time() == MIDNIGHT:
        return local.date(), Timing.UNKNOWN
    return local.date(), _timing(instant, local.date(), sessions.load(calendar, today))


def _timing(instant: datetime, day: date, known: sessions.TradingCalendar) -> Timing:
    # On a day without a session everybody has slept over it by the next open, as after a close.
    if not known.is_session(day) or instant >= known.close(day):
        return Timing.AFTER_CLOSE
    return Timing.BEFORE_OPEN if instant < known.open(day) else Timing.DURING
