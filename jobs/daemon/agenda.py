"""What has to be run: the database says it, not the memory of a scheduler.

A session of an exchange is due once it has closed, and its bars had time to appear, for as long as
a ticker that was on the watchlist in time to be forecast from it has no final outcome, waits for
its bar, or its run was interrupted. That it was skipped is no final word: a clock that was ahead
may have said so of a session that turns out to be the current one. Forecasts that can still be live
come first, nearest deadline first, over all exchanges; then what was missed, oldest first.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from jobs.app import App
from stockbatch.config import Settings
from stockbatch.exceptions import OutsideCalendar, UnknownCalendar
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.records import RunStatus, Trigger
from stockbatch.store import instruments, pauses, runs
from stockbatch.store.runs import Lack, LastTry

log = logging.getLogger(__name__)

FIRST_WAIT = timedelta(minutes=5)
"""After the first failure; every further one doubles it."""
LONGEST_WAIT, LONGEST_WAIT_MISSED = timedelta(hours=1), timedelta(days=1)
"""While the forecasts can still be live, and afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An exchange with tickers on the watchlist, and how far its sessions are."""

    calendar: TradingCalendar
    delay: timedelta
    """From the close until the bars are asked for."""
    active_since: datetime
    """When the first of its tickers was put on the watchlist."""
    paused: bool
    last_tries: Mapping[date, LastTry]
    lacks: Mapping[date, Lack]
    """Of the sessions that may be caught up."""

    def is_done(self, session: date) -> bool:
        """Tell whether the newest run of a session came to its end."""
        last = self.last_tries.get(session)
        return last is not None and last.status not in runs.UNFINISHED

    def deadline(self, session: date) -> datetime:
        """Return the instant before which forecasts from a session are live."""
        return self.calendar.deadline_from(session)

    def following(self, now: datetime) -> tuple[datetime, str, date]:
        """Return when the next session is due that is not yet, its calendar, and the session."""
        close = self.calendar.next_close(now - self.delay)
        return close + self.delay, self.calendar.code, self.calendar.last_closed(close)

    def expected(self, now: datetime) -> date | None:
        """Return the newest session whose forecasts are due by now, None where there is none.

        Nothing is expected from before the watchlist had a ticker of the exchange.
        """
        past = [
            session
            for session in self.lacks
            if self.deadline(session) <= now and self.calendar.close(session) >= self.active_since
        ]
        return max(past, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A session of an exchange to be run; `deadline` is when its forecasts stop being live."""

    calendar: str
    session: date
    deadline: datetime
    live: bool

    @property
    def trigger(self) -> Trigger:
        """Return what a run of it is recorded to be started by."""
        return Trigger.SCHEDULE if self.live else Trigger.CATCH_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """What to do now, in this order, and the sessions (calendar, session) that are too old."""

    due: tuple[Due, ...]
    waiting: tuple[Due, ...]
    """Due again, but not yet."""
    skipped: tuple[tuple[str, date], ...]


def load(app: App) -> list[Exchange]:
    """Load every exchange with tickers that are due; none whose calendar has no answer."""
    now = app.clock()
    with app.transaction() as db:
        paused = pauses.since(db)
        exchanges = []
        for code, active_since in instruments.exchanges(db).items():
            delay = app.settings.close_delay(code)
            try:
                calendar = sessions.load(code, now.date())
                window = _window(calendar, now, delay, app.settings)
                first = min(window[0], calendar.previous(active_since.date(), 2))
                deadlines = [calendar.deadline_from(session) for session in window]
            except (UnknownCalendar, OutsideCalendar) as error:
                log.error("%s", error)
                continue
            exchanges.append(
                Exchange(
                    calendar=calendar,
                    delay=delay,
                    active_since=active_since,
                    paused=code in paused or pauses.ALL in paused,
                    last_tries=runs.last_tries(db, code, first),
                    lacks=runs.lacks(db, code, window, deadlines),
                )
            )
    return exchanges


def plan(exchanges: Iterable[Exchange], now: datetime, settings: Settings) -> Agenda:
    """Decide what to do, of what was loaded at about `now`."""
    due: list[Due] = []
    waiting: list[Due] = []
    skipped: list[tuple[str, date]] = []
    for exchange in exchanges:
        if exchange.paused:
            continue
        unfinished = [
            _due(exchange.calendar, session, now)
            for session in _window(exchange.calendar, now, exchange.delay, settings)
            if _is_unfinished(exchange, session, now)
        ]
        missed = [one for one in unfinished if not one.live]
        too_many = missed[: max(0, len(missed) - settings.catch_up_sessions)]
        skipped += [(o.calendar, o.session) for o in too_many if _is_skippable(exchange, o.session)]
        skipped += _too_old(exchange, now, settings)
        for one in unfinished:
            if one not in too_many:
                (due if _is_time(exchange, one, now, settings) else waiting).append(one)
    return Agenda(due=_ordered(due), waiting=_ordered(waiting), skipped=tuple(sorted(skipped)))


def wait(tries: int, longest: timedelta) -> timedelta:
    """Return how long to wait after so many tries."""
    doublings = min(tries - 1, 20)
    return min(FIRST_WAIT * 2**doublings, longest) if tries > 0 else timedelta(0)


def _window(
    calendar: TradingCalendar, now: datetime, delay: timedelta, settings: Settings
) -> list[date]:
    """Return the last session closed and those before it that may be caught up, oldest first."""
    last = calendar.last_closed(now, delay)
    return [as_date(day) for day in calendar.window(last, settings.catch_up_sessions + 1)]


def _due(calendar: TradingCalendar, session: date, now: datetime) -> Due:
    deadline = calendar.deadline_from(session)
    return Due(calendar=calendar.code, session=session, deadline=deadline, live=now < deadline)


def _ordered(sessions_due: Sequence[Due]) -> tuple[Due, ...]:
    return tuple(sorted(sessions_due, key=lambda d: (not d.live, d.deadline, d.calendar)))


def _is_unfinished(exchange: Exchange, session: date, now: datetime) -> bool:
    last, lack = exchange.last_tries.get(session), exchange.lacks.get(session)
    if lack is None:
        return False  # no ticker was on the watchlist by then
    if last is not None and last.status in runs.UNFINISHED:
        return True
    is_too_old = (
        last is not None
        and last.status == RunStatus.SKIPPED
        and not _is_false_skip(exchange, session, last, now)
    )
    return lack.missing > 0 or (lack.waiting > 0 and not is_too_old)


def _is_false_skip(exchange: Exchange, session: date, last: LastTry, now: datetime) -> bool:
    """Tell that a session is not too old after all: it is the last one, or skipped by tomorrow."""
    is_last = session == exchange.calendar.last_closed(now, exchange.delay)
    return is_last or now < exchange.deadline(session) or last.tried_at > now


def _is_skippable(exchange: Exchange, session: date) -> bool:
    """Tell a session nobody worked on from one that only waits for bars that never came."""
    last, lack = exchange.last_tries.get(session), exchange.lacks.get(session, Lack(0, 0))
    return lack.missing > 0 or (last is not None and last.status in runs.UNFINISHED)


def _too_old(exchange: Exchange, now: datetime, settings: Settings) -> list[tuple[str, date]]:
    """Return what was never run, or never finished, before all that may be caught up."""
    calendar = exchange.calendar
    end = _window(calendar, now, exchange.delay, settings)[0]
    first = calendar.previous(exchange.active_since.date(), 2)
    before = [as_date(day) for day in calendar.between(first, end) if as_date(day) < end]
    never = {
        session
        for session in before
        if session not in exchange.last_tries
        and calendar.deadline_from(session) > exchange.active_since
    }
    broken = {
        session
        for session, last in exchange.last_tries.items()
        if session < end and last.status in runs.UNFINISHED
    }
    return [(calendar.code, session) for session in never | broken]


def _is_time(exchange: Exchange, due: Due, now: datetime, settings: Settings) -> bool:
    """Tell whether a session that was tried before has waited long enough to be tried again.

    Tickers that have no outcome at all never wait. A forecast that can still be live is tried once
    more shortly before it is due. Where the clock was set back nothing can be told: it is time.
    """
    last, lack = exchange.last_tries.get(due.session), exchange.lacks.get(due.session, Lack(0, 0))
    if last is None or last.status == RunStatus.STOPPED or last.tried_at > now:
        return True
    if last.status == RunStatus.FINISHED and lack.missing:
        return True
    longest = LONGEST_WAIT if due.live else LONGEST_WAIT_MISSED
    counted = last.tries - (
        last.status == RunStatus.RUNNING
    )  # an interrupted run is resumed at once
    again = last.tried_at + wait(counted, longest)
    last_chance = due.deadline - 2 * timedelta(minutes=settings.deadline_margin_minutes)
    if due.live and last.tried_at < last_chance:
        again = min(again, last_chance)
    return now >= again
