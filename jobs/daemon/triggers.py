"""When the daemon wakes up: after every close of every exchange, and at two times of a crontab."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from stockbatch.config import Settings
from stockbatch.exceptions import ConfigurationError
from stockbatch.market import sessions

INSTANT = timedelta(microseconds=1)


class SessionTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires a delay after every close of an exchange: early closes, holidays, summer time and all.

    The calendar is asked each time, so that its end is never reached. Raises UnknownCalendar.
    """

    __slots__ = ("calendar", "delay")

    def __init__(self, calendar: str, delay: timedelta) -> None:
        self.calendar = sessions.load(calendar, datetime.now(UTC).date()).code
        self.delay = delay

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first instant after the previous one, or else not before `now`."""
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


def crontab(settings: Settings, key: str) -> CronTrigger:
    """Return the trigger of a setting. Raises ConfigurationError."""
    try:
        return CronTrigger.from_crontab(getattr(settings, key), timezone=UTC)
    except ValueError as error:
        raise ConfigurationError(source="settings", key=key, reason=error) from None


def firings(
    calendars: Iterable[str], settings: Settings, now: datetime, count: int
) -> list[Firing]:
    """Return the next `count` firings of every trigger, earliest first."""
    triggers: dict[str, BaseTrigger] = {
        f"{code}: daily run": SessionTrigger(code, settings.close_delay(code)) for code in calendars
    }
    triggers["all: base models about to expire"] = crontab(settings, "base_refit")
    triggers["all: maintenance"] = crontab(settings, "maintenance")
    found = []
    for what, trigger in triggers.items():
        at = None
        for _ in range(count):
            at = trigger.get_next_fire_time(at, now if at is None else at + INSTANT)
            found.append(Firing(at=at, what=what))
    return sorted(found, key=lambda firing: (firing.at, firing.what))
