"""On which day of an exchange an instant falls, and how it lies to its hours."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from stockbatch.market import sessions
from stockbatch.market.events import timing_at
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
    known = sessions.load(calendar, today)
    return local.date(), timing_at(known, local.date(), local.time())
