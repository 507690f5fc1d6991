"""What every exchange owes: sessions without a finished run, and those past their deadline."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from jobs.app import App
from stockbatch import sessions
from stockbatch.sessions import TradingCalendar, as_date
from stockbatch.store import health

LOOK_BACK = 10
"""Closed sessions looked at: older ones are nobody's concern any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An exchange with instruments to run, as the ledger has it at one instant."""

    calendar: TradingCalendar
    since: datetime
    """Sessions that closed before have nobody to be run for."""
    as_of: datetime
    attempts: Mapping[date, tuple[str, str | None]]
    """Status and message of the last attempt by session."""

    def closed(self, delay: timedelta = timedelta(0)) -> list[date]:
        """Return the last sessions that closed at least `delay` ago, oldest first."""
        last = self.calendar.last_closed(self.as_of, delay)
        window = map(as_date, self.calendar.window(last, LOOK_BACK))
        return [session for session in window if self.calendar.close(session) >= self.since]

    def due(self, delay: timedelta) -> list[date]:
        """Return the sessions that could be run and are not finished."""
        return [session for session in self.closed(delay) if not self.is_done(session)]

    def is_done(self, session: date) -> bool:
        """Tell whether nothing is left to do for `session`."""
        return self.attempts.get(session, ("running", None))[0] not in ("running", "failed")

    def deadline(self, session: date) -> datetime:
        """Return the instant before which forecasts from `session` are live."""
        return self.calendar.deadline(self.calendar.next(session))

    def last_expected(self) -> date | None:
        """Return the newest session whose deadline is past, None where there is none."""
        past = [session for session in self.closed() if self.deadline(session) <= self.as_of]
        return past[-1] if past else None


def exchanges(app: App) -> list[Exchange]:
    """Return the exchanges with active instruments, demonstrations aside."""
    now = app.clock()
    with app.transaction() as db:
        watched = health.watched(db)
        # Twice as many days as sessions cover every week-end and most holidays.
        attempts = health.attempts(db, (now - timedelta(days=3 * LOOK_BACK)).date())
    return [
        Exchange(
            calendar=sessions.load(code, now.date()),
            since=since,
            as_of=now,
            attempts={session: what for (of, session), what in attempts.items() if of == code},
        )
        for code, since in watched.items()
    ]
