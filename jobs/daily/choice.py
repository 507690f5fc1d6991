"""Which exchanges and which session are meant, where a command names none."""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch.exceptions import NoBarsThen, SessionNotClosed
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Instrument
from stockbatch.store import bars, instruments


def calendars_of(
    app: App,
    calendar_code: str | None,
    tickers: Sequence[str] | None,
    session: date | None = None,
) -> list[str]:
    """Return the calendars to handle: the one named, else those of the tickers, or of all due.

    Of several, those that do not trade on `session` are left out, unless none does.
    """
    if calendar_code is not None:
        return [calendar_code]
    with app.transaction() as db:
        codes = instruments.calendars(db, tickers)
    today = app.clock().date()
    trading = [c for c in codes if session is None or sessions.load(c, today).is_session(session)]
    return trading or codes


def closed_session(
    app: App, calendar_code: str, session: date | None
) -> tuple[TradingCalendar, date]:
    """Return the calendar and the session, by default the last one closed, late bars waited for.

    Raises NotASession, SessionNotClosed.
    """
    now = app.clock()
    calendar = sessions.load(calendar_code, now.date())
    if session is None:
        return calendar, calendar.last_closed(now, app.settings.close_delay(calendar.code))
    calendar.require(session)
    close = calendar.close(session)
    if close > now:
        raise SessionNotClosed(session=session, calendar=calendar.code, close=close)
    return calendar, session


def require_bars(
    db: Session,
    app: App,
    calendar: TradingCalendar,
    chosen: Sequence[Instrument],
    first: date,
    last: date,
) -> None:
    """Raise NoBarsThen where a replay from `first` to `last` would have nothing to look at.

    The session after the last bar is allowed, and weekends and holidays with it.
    """
    span = bars.span(db, [instrument.id for instrument in chosen])
    day, where = first, None
    if first > app.clock().date() + timedelta(days=1):
        where = "in the future, and after"
    elif span is None:
        where = "not among"
    elif last <= span[0]:
        day, where = last, "not after the first of"
    elif first > calendar.next(span[1]):
        where = "after the last of"
    if where is not None:
        known = "there are none: 'stockbatch fetch' brings them"
        if span is not None:
            known = f"they are from {span[0]} to {span[1]}"
        raise NoBarsThen(day=day, where=where, calendar=calendar.code, known=known)
