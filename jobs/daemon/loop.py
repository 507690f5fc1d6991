"""The daemon: wakes up after every close, and does whatever the database says is due.

Exactly one daemon works in a database, the others wait for the end of its lease. Everything it does
can be broken off anywhere and is resumed by whichever daemon comes next.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.exc import DBAPIError

from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.agenda import Due
from jobs.daemon.maintenance import refit_bases
from jobs.daemon.signals import Beat, Notifier, Stop, longest_silence
from jobs.daemon.triggers import BASE_REFIT, MAINTENANCE, Schedule, Wakes
from jobs.daily.ledger import skip_session
from jobs.daily.run import run_session
from stockbatch import database
from stockbatch.config import ServiceManager
from stockbatch.exceptions import (
    DatabaseError,
    LockLost,
    NoInstruments,
    RunInProgress,
    RunStopped,
    RunSuperseded,
    SchemaTooNew,
    StockbatchError,
)
from stockbatch.store import instruments, lease

log = logging.getLogger(__name__)

MINUTE = 60.0
"""Seconds between looks at the database, wakes or not."""
PASSIVE = 2.0
"""Seconds between a waiting daemon's attempts to take over."""
PASSIVE_SAYS = "another daemon is at work: waiting to take over; if it was killed, %g s at most"
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between attempts to reach a database that is gone."""


def _nothing(_app: App) -> None:
    pass


def _nobody(_app: App, _beat: Callable[[], datetime]) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Care:
    """What surrounds the work: who is told, who looks on, who tidies up."""

    review: Callable[[App], None] = _nothing
    """Called after each run, and every minute."""
    serving: Callable[[App, Callable[[], datetime]], AbstractContextManager[object]] = _nobody
    """Entered around everything, with what tells the last sign of life."""
    prune: Callable[[App], object] = _nothing
    """The monthly maintenance."""


def run_daemon(
    app: App, care: Care, manager: ServiceManager, *, wakes: Wakes | None = None
) -> None:
    """Work until told to stop. Raises SchemaTooNew, ConfigurationError.

    All of its sleep is a wait for `wakes`: a simulation brings its own, and the App's clock.
    """
    wakes = wakes or Wakes()
    beat, notifier = Beat(app.clock), Notifier(manager)
    app.trainer.waiting = beat
    with (
        Stop(app.settings.stop_grace_seconds, lambda: wakes.put("stop")) as stop,
        Schedule(app.settings, wakes) as schedule,
        notifier.watched(beat, longest_silence(app.settings)),
        care.serving(app, beat.last),
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
            with _reported(f"{calendar} {session}"):
                skip_session(app, calendar, session)
        left = [d for d in planned.due if (d.calendar, d.session) not in tried]
        if not left:
            return
        tried.add((left[0].calendar, left[0].session))
        _run(app, left[0])
        with _reported("alerts"):
            review(app)


def _run(app: App, one: Due) -> None:
    try:
        with _reported(f"{one.calendar} {one.session}"):
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


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Log a failure that the ledger has, or that somebody else causes; let other things end."""
    try:
        yield
    except (RunInProgress, NoInstruments, RunSuperseded) as error:
        log.info("%s: %s", name, error)
    except (RunStopped, SchemaTooNew):
        raise
    except StockbatchError as error:
        log.error("%s failed, it will be tried again: %s", name, error)
    except Exception:
        log.exception("%s failed, it will be tried again", name)


@dataclass(kw_only=True)
class _Daemon:
    """The loop of a daemon, active while it has the lease and passive while another has."""

    app: App
    care: Care
    stop: Stop
    beat: Beat
    wakes: Wakes
    schedule: Schedule

    def work_until_stopped(self) -> None:
        """Get the lease and work; where the database is gone, try again, ever less often."""
        pause = FIRST_PAUSE
        waited = False
        while not self.stop.asked:
            self.beat()
            try:
                with lease.only_daemon(self.app.engine) as held:
                    if held is None:
                        if not waited:
                            log.info(PASSIVE_SAYS, lease.LENGTH)
                        waited = True
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

        before, app.checkpoint = app.checkpoint, checkpoint
        try:
            while not self.stop.asked:
                checkpoint()
                work_off(app, self.care.review)
                with _reported("alerts"):
                    self.care.review(app)
                with app.transaction() as db:  # the watchlist may have grown
                    codes = list(instruments.exchanges(db))
                self.schedule.follow(codes)
                names = self.wakes.wait(MINUTE)
                if self.stop.asked:  # between runs: none is broken off
                    return
                for name in names:
                    checkpoint()
                    self._tend(name)
        finally:
            app.checkpoint = before

    def _tend(self, name: str) -> None:
        """Do what a wake-up asks for beyond what is due."""
        if name == BASE_REFIT:
            with _reported("refitting base models"):
                refit_bases(self.app)
        elif name == MAINTENANCE:
            with _reported("maintenance"):
                self.care.prune(self.app)
