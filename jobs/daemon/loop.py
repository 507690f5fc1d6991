"""The daemon: wakes up after every close, and does whatever the database says is due.

Exactly one daemon works in a database, the others wait for the end of its lease. Everything it does
can be broken off anywhere and is resumed by whichever daemon comes next.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date

from sqlalchemy.exc import DBAPIError

from jobs import memory
from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.agenda import Due
from jobs.daemon.chores import Chores
from jobs.daemon.reported import reported
from jobs.daemon.signals import Beat, Notifier, Stop
from jobs.daemon.triggers import Schedule, Wakes
from jobs.daily.ledger import skip_session
from jobs.daily.run import run_session
from stockbatch import database
from stockbatch.config import ServiceManager
from stockbatch.exceptions import (
    DatabaseError,
    EmbeddedServerFailed,
    LockLost,
    RunStopped,
    SchemaTooNew,
)
from stockbatch.store import instruments, lease
from stockbatch.text import some_of

log = logging.getLogger(__name__)

MINUTE = 60.0
"""Seconds between looks at the database, wakes or not."""
PASSIVE = 2.0
"""Seconds between a waiting daemon's attempts to take over."""
PASSIVE_SAYS = "another daemon is at work: waiting to take over; if it was killed, %g s at most"
NAMED = 3
"""Sessions that are named where many wait."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between attempts to reach a database that is gone."""


def _nothing(_app: App) -> None:
    pass


def _nothing_of(_app: App, _calendar: str) -> None:
    pass


def _nobody(_app: App, _beat: Beat) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Care:
    """What surrounds the work: who is told, who looks on, who tidies up."""

    review: Callable[[App], None] = _nothing
    """Called after each run, and every minute."""
    serving: Callable[[App, Beat], AbstractContextManager[object]] = _nobody
    """Entered around everything, with what tells the last sign of life."""
    prune: Callable[[App, str], object] = _nothing_of
    """The monthly maintenance of an exchange."""
    vacuum: Callable[[App], object] = _nothing
    """And of the whole database."""


def run_daemon(
    app: App, care: Care, manager: ServiceManager, *, wakes: Wakes | None = None
) -> None:
    """Work until told to stop. Raises SchemaTooNew, ConfigurationError.

    All of its sleep is a wait for `wakes`: a simulation brings its own, and the App's clock.
    """
    wakes = wakes or Wakes()
    beat, notifier = Beat(app.clock), Notifier(manager)
    app.waiting = app.trainer.waiting = beat
    with (
        Stop(app.settings.stop_grace_seconds, lambda: wakes.put("stop")) as stop,
        Schedule(app.settings, wakes) as schedule,
        notifier.watched(beat),
        care.serving(app, beat),
    ):
        notifier.tell("READY=1")
        daemon = _Daemon(app=app, care=care, stop=stop, beat=beat, wakes=wakes, schedule=schedule)
        daemon.work_until_stopped()
        notifier.tell("STOPPING=1")
    log.info("stopped")


def work_off(app: App, review: Callable[[App], None] = _nothing) -> None:
    """Do all that is due now; each session is tried once, and its failure stops no other.

    Raises RunStopped, SchemaTooNew, SchemaOutOfDate, and DatabaseUnavailable.
    """
    tried: set[tuple[str, date]] = set()
    while True:
        app.checkpoint()
        database.require_current(app.engine)
        apart = app.compare_clocks()
        planned = agenda.plan(agenda.load(app), app.clock(), app.settings)
        for calendar, session in () if apart else planned.skipped:
            app.checkpoint()
            with reported(f"{calendar} {session}"):
                skip_session(app, calendar, session)
        left = [d for d in planned.due if (d.calendar, d.session) not in tried]
        if not left:
            return
        tried.add((left[0].calendar, left[0].session))
        _run(app, left[0])
        with reported("alerts"):
            review(app)


def _run(app: App, one: Due) -> None:
    try:
        with reported(f"{one.calendar} {one.session}"):
            summary = run_session(
                app,
                one.calendar,
                one.session,
                trigger=one.trigger,
                active_before=one.deadline,
            )
            log.info("%s", summary)
    finally:
        app.trainer.discard()  # what it holds in memory goes with it
        memory.give_back()


def waits_for(app: App) -> str:
    """Return what a daemon with nothing to do waits for, in a line."""
    exchanges = agenda.load(app)
    awake = [exchange for exchange in exchanges if not exchange.paused]
    if not exchanges:
        return "nothing is due; the watchlist is empty: 'stockbatch tickers add' fills it"
    if not awake:
        return "nothing is due; all exchanges are paused: 'stockbatch resume' ends it"
    now = app.clock()
    at, calendar, session = min(exchange.following(now) for exchange in awake)
    said = f"nothing is due; the next session: {calendar} {session}, at {at:%Y-%m-%d %H:%M} UTC"
    if again := agenda.plan(exchanges, now, app.settings).waiting:
        sessions = [f"{one.calendar} {one.session}" for one in again]
        said += f"; tried again before: {some_of(sessions, NAMED)}"
    return said


@dataclass(kw_only=True)
class _Daemon:
    """The loop of a daemon, active while it has the lease and passive while another has."""

    app: App
    care: Care
    stop: Stop
    beat: Beat
    wakes: Wakes
    schedule: Schedule
    _said: str = ""

    def _say(self, what: str) -> None:
        """Log what the daemon waits for, once."""
        if what != self._said:
            log.info("%s", what)
            self._said = what

    def work_until_stopped(self) -> None:
        """Get the lease and work; where the database is gone, try again, ever less often."""
        pause = FIRST_PAUSE
        waited = False
        while not self.stop.asked:
            if not self.beat.trouble:
                self.beat()
            try:
                with lease.only_daemon(self.app.engine) as held:
                    if held is None:
                        if not waited:
                            log.info(PASSIVE_SAYS, lease.LENGTH)
                        waited = True
                        self.beat()
                        self.wakes.wait(PASSIVE)
                        continue
                    log.info("this daemon is at work")
                    pause, waited = FIRST_PAUSE, False
                    with self.app.holding(held):
                        self._work(held.require)
            except LockLost as error:
                log.warning("%s", error)
            except RunStopped as error:
                log.info("%s", error)
            except SchemaTooNew:
                raise
            except (DatabaseError, DBAPIError) as error:
                # Of others' servers no restart of the daemon would be any help.
                self.beat.trouble = str(error) if isinstance(error, EmbeddedServerFailed) else ""
                log.warning("%s; trying again in %g s", str(error).splitlines()[0], pause)
                self.wakes.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _work(self, require: Callable[[], None]) -> None:
        """Do what is due, then sleep until something wakes the daemon up, again and again."""
        app = self.app

        def checkpoint() -> None:
            self.beat()
            if self.stop.asked:
                raise RunStopped(reason="the daemon was told to stop")
            require()

        chores = Chores(app=app, prune=self.care.prune, vacuum=self.care.vacuum)
        before, app.checkpoint = app.checkpoint, checkpoint
        try:
            while not self.stop.asked:
                checkpoint()
                work_off(app, self.care.review)
                with reported("alerts"):
                    self.care.review(app)
                with app.transaction() as db:  # the watchlist may have grown
                    codes = list(instruments.exchanges(db))
                self.schedule.follow(codes)
                if self.stop.asked:  # between runs: none is broken off
                    return
                chores.work_off()
                with reported("telling what is waited for"):
                    self._say(waits_for(app))
                self.wakes.wait(MINUTE)
        finally:
            app.checkpoint = before
