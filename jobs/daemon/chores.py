"""What the daemon does now and then: refit bases, ask for dates of reports, tidy the database.

The database says what is due: what was last done before its crontab fired. A wake-up is lost where
the daemon is passive, the exchange paused, or somebody else at work. Each exchange has its own
chores, and what cannot be done of one keeps no other waiting.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from jobs import refresh
from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.maintenance import refit_base
from jobs.daemon.reported import reported
from jobs.daemon.triggers import INSTANT, crontab, last_firing
from stockbatch.config import Settings
from stockbatch.records import Chore
from stockbatch.store import chores as store
from stockbatch.store import instruments, pauses, retention

Key = tuple[Chore, str]
"""A chore, and the calendar it is of; ALL: of the whole database."""


def due(app: App) -> list[Key]:
    """Return what is due: base models first, the database last."""
    now = app.clock()
    with app.transaction() as db:
        since, paused, done = instruments.exchanges(db), pauses.since(db), store.last_done(db)
        trained = retention.calendars(db)
        # Of these each ticker has its own turn, new ones at once.
        lacking = refresh.is_due(app, db, last_firing(app.settings, Chore.EVENT_REFRESH, now))
    if not since or pauses.ALL in paused:
        return []
    keys = [(Chore.BASE_REFIT, code) for code in since]
    keys += [(Chore.MAINTENANCE, code) for code in (*trained, pauses.ALL)]
    # What was never done counts from the day on which there was something to do.
    first = min(since.values())
    keys = [
        (chore, code)
        for chore, code in keys
        if code not in paused
        and _is_due(app.settings, chore, done.get((chore, code)), since.get(code, first), now)
    ]
    return [*keys, (Chore.EVENT_REFRESH, pauses.ALL)] if lacking else keys


def _is_due(
    settings: Settings, chore: Chore, done: datetime | None, since: datetime, now: datetime
) -> bool:
    if done is not None and done > now:  # the clock was set back: nothing can be told
        return True
    last = done + INSTANT if done else since
    fires = crontab(settings, chore).get_next_fire_time(None, last)
    return fires is not None and fires <= now


@dataclass(kw_only=True)
class Chores:
    """Does what is due; what fails or cannot be done yet is tried again after a while."""

    app: App
    prune: Callable[[App, str], object]
    vacuum: Callable[[App], object]
    _again: dict[Key, tuple[int, datetime, datetime]] = field(default_factory=dict)
    """Of what was tried in vain: how often, when it was last, and when it may be again."""

    def work_off(self) -> None:
        """Do all that is due. Raises RunStopped."""
        for key in due(self.app):
            self.app.checkpoint()
            begun = self.app.clock()
            tries, last, again = self._again.pop(key, (0, begun, begun))
            if last <= begun < again:
                self._again[key] = tries, last, again
                continue
            done = False
            with reported(f"{key[1]} {key[0]}"):
                if done := self._do(*key):
                    with self.app.transaction() as db:
                        store.record(db, *key, begun)
            if not done:
                wait = agenda.wait(tries + 1, agenda.LONGEST_WAIT)
                self._again[key] = tries + 1, begun, begun + wait

    def _do(self, chore: Chore, calendar: str) -> bool:
        """Do a chore; return False where something else has to be done before."""
        if chore is Chore.BASE_REFIT:
            return refit_base(self.app, calendar)
        if chore is Chore.EVENT_REFRESH:
            return self._refresh_events()
        if calendar == pauses.ALL:
            self.vacuum(self.app)
        else:
            self.prune(self.app, calendar)
        return True

    def _refresh_events(self) -> bool:
        """Ask for dates of reports, until forecasts are due; return whether nothing is left."""

        def runs_are_due() -> bool:
            exchanges = agenda.load(self.app)
            return bool(agenda.plan(exchanges, self.app.clock(), self.app.settings).due)

        since = last_firing(self.app.settings, Chore.EVENT_REFRESH, self.app.clock())
        done = refresh.refresh_events(self.app, since, enough=runs_are_due)
        return all(one.complete for one in done)
