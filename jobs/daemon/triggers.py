"""When the daemon wakes up: after every close of every exchange, and at the times of crontabs."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Self

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from stockbatch.config import Settings
from stockbatch.exceptions import ConfigurationError, OutsideCalendar, UnknownCalendar
from stockbatch.market import sessions
from stockbatch.records import Chore

MISFIRE_GRACE = 3600
"""A wake-up missed by less than an hour is made up for; what is due is done in any case."""
INSTANT = timedelta(microseconds=1)
LONGEST = timedelta(days=400)
"""Nothing is done less often."""


class Wakes:
    """What wakes the daemon up: names of wake-ups that it has not seen yet."""

    def __init__(self) -> None:
        # A simple queue's `put` may interrupt itself: signal handlers call it as threads do.
        self._names: SimpleQueue[str] = SimpleQueue()

    def put(self, name: str) -> None:
        """Wake the daemon up."""
        self._names.put(name)

    def wait(self, seconds: float) -> set[str]:
        """Sleep until there is a wake-up; return all there are, none after so many seconds."""
        names = set()
        with suppress(Empty):
            names.add(self._names.get(timeout=seconds))
            while True:
                names.add(self._names.get_nowait())
        return names


class Schedule:
    """Puts a name into `wakes` whenever a trigger fires, for as long as it is entered.

    Raises ConfigurationError.
    """

    def __init__(self, settings: Settings, wakes: Wakes) -> None:
        self._settings, self._wakes = settings, wakes
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            job_defaults={
                "coalesce": True,
                "max_instances": 1,
                "misfire_grace_time": MISFIRE_GRACE,
            },
        )
        for key in Chore:
            self._add(crontab(settings, key), key)

    def __enter__(self) -> Self:
        self._scheduler.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._scheduler.shutdown(wait=False)

    def follow(self, calendars: Iterable[str]) -> None:
        """Have a trigger for every exchange; a calendar nobody knows is left out."""
        known = {job.id for job in self._scheduler.get_jobs()}
        for code in sorted(set(calendars) - known):
            with suppress(UnknownCalendar, OutsideCalendar):  # said where the agenda is made
                self._add(SessionTrigger(code, self._settings.close_delay(code)), code)

    def _add(self, trigger: BaseTrigger, name: str) -> None:
        self._scheduler.add_job(self._wakes.put, trigger, args=[name], id=name)


class SessionTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires a delay after every close of an exchange: early closes, holidays, summer time and all.

    The calendar is asked each time, so that its end is never reached.
    """

    __slots__ = ("calendar", "delay")

    def __init__(self, calendar: str, delay: timedelta) -> None:
        self.calendar = calendar
        self.delay = delay

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first instant after the previous one, or else not before `now`.

        Raises UnknownCalendar.
        """
        after = previous_fire_time or now - INSTANT
        calendar = sessions.load(self.calendar, after.astimezone(UTC).date())
        return calendar.next_close(after - self.delay) + self.delay

    def __str__(self) -> str:
        return f"{self.delay} after every close of {self.calendar}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """What the daemon wakes up for, and when."""

    at: datetime
    what: str


def crontab(settings: Settings, key: Chore) -> CronTrigger:
    """Return the trigger of a setting. Raises ConfigurationError."""
    try:
        return CronTrigger.from_crontab(getattr(settings, key), timezone=UTC)
    except ValueError as error:
        raise ConfigurationError(source="settings", key=key, reason=error) from None


def last_firing(settings: Settings, key: Chore, now: datetime) -> datetime:
    """Return when the trigger of a setting fired last; raises ConfigurationError.

    Of one that has not fired for LONGEST, the instant as long ago.
    """
    trigger = crontab(settings, key)
    # A crontab tells what comes next only: looked for from ever further back.
    for reach in (timedelta(hours=1), timedelta(days=1), timedelta(days=8), LONGEST):
        at: datetime | None = trigger.get_next_fire_time(None, now - reach)
        if at is None or at > now:
            continue
        while (after := trigger.get_next_fire_time(at, at + INSTANT)) and after <= now:
            at = after
        return at
    return now - LONGEST


def firings(
    calendars: Iterable[str], settings: Settings, now: datetime, count: int
) -> list[Firing]:
    """Return the next `count` firings of every trigger, earliest first."""
    triggers: dict[str, BaseTrigger] = {
        f"{code}: daily run": SessionTrigger(code, settings.close_delay(code)) for code in calendars
    }
    triggers["all: base models about to expire"] = crontab(settings, Chore.BASE_REFIT)
    if settings.event_sources:
        triggers["all: dates of reports"] = crontab(settings, Chore.EVENT_REFRESH)
    triggers["all: maintenance"] = crontab(settings, Chore.MAINTENANCE)
    found = []
    for what, trigger in triggers.items():
        at = None
        for _ in range(count):
            at = trigger.get_next_fire_time(at, now if at is None else at + INSTANT)
            found.append(Firing(at=at, what=what))
    return sorted(found, key=lambda firing: (firing.at, firing.what))
