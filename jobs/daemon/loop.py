"""The daemon: wakes up after every close, and does whatever the database says is due.

Exactly one daemon works in a database, the others wait for its lock. Everything it does can be
broken off anywhere and is resumed by whichever daemon comes next.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import date, datetime
from queue import Empty, SimpleQueue

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from sqlalchemy.exc import DBAPIError

from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.agenda import Due
from jobs.daemon.maintenance import refit_bases
from jobs.daemon.signals import Beat, Service, Stop, longest_silence
from jobs.daemon.triggers import SessionTrigger, crontab
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
    UnknownCalendar,
)
from stockbatch.store import instruments, lease

log = logging.getLogger(__name__)

MINUTE = 60.0
"""Seconds between looks at the database, wakes or not."""
PASSIVE = 2.0
"""Seconds between a waiting daemon's attempts to take over."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between attempts to reach a database that is gone."""
MISFIRE_GRACE = 3600
"""A wake-up missed by less than an hour is made up for; what is due is done in any case."""


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


def run_daemon(app: App, care: Care, manager: ServiceManager) -> None:
    """Work until told to stop. Raises SchemaTooNew, ConfigurationError."""
    wakes: SimpleQueue[str] = SimpleQueue()
    beat, service = Beat(app.clock), Service(manager)
    app.trainer.waiting = beat
    with (
        Stop(app.settings.stop_grace_seconds, lambda: wakes.put("stop")) as stop,
        _scheduler(app, wakes) as scheduler,
        service.watched(beat, longest_silence(app.settings)),
        care.serving(app, beat.last),
    ):
        service.tell("READY=1")
        daemon = _Daemon(app, care, stop, beat, wakes, scheduler)
        daemon.work_until_stopped()
        service.tell("STOPPING=1")
    log.info("stopped")


def work_off(app: App, review: Callable[[App], None] = _nothing) -> None:
    """Do all that is due now; each session is tried once, and its failure stops no other.

    Raises RunStopped, SchemaTooNew, SchemaOutOfDate, and DatabaseUnavailable.
    """
    tried: set[tuple[str, date]] = set()
    while True:
        app.checkpoint()
        database.require_current(app.engine)
        plan = agenda.plan(agenda.load(app), app.clock(), app.settings)
        for calendar, session in plan.skipped:
            app.checkpoint()
            with _reported(f"{calendar} {session}"):
                skip_session(app, calendar, session)
        left = [d for d in plan.due if (d.calendar, d.session) not in tried]
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


class _Daemon:
    """The loop of a daemon, active while it has the lock and passive while another has."""

    def __init__(
        self,
        app: App,
        care: Care,
        stop: Stop,
        beat: Beat,
        wakes: "SimpleQueue[str]",
        scheduler: BackgroundScheduler,
    ) -> None:
        self._app, self._care, self._stop, self._beat = app, care, stop, beat
        self._wakes, self._scheduler = wakes, scheduler

    def work_until_stopped(self) -> None:
        """Get the lock and work; where the database is gone, try again, ever less often."""
        pause = FIRST_PAUSE
        waited = False
        while not self._stop.asked:
            self._beat()
            try:
                with lease.only_daemon(self._app.engine) as require:
                    if require is None:
                        if not waited:
                            log.info("another daemon is at work: waiting to take over")
                        waited = True
                        self._wait(PASSIVE)
                        continue
                    log.info("this daemon is at work")
                    pause, waited = FIRST_PAUSE, False
                    self._work(require)
            except LockLost as error:
                log.warning("%s", error)
            except RunStopped as error:
                log.info("%s", error)
            except SchemaTooNew:
                raise
            except (DatabaseError, DBAPIError) as error:
                log.warning("%s; trying again in %g s", str(error).splitlines()[0], pause)
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _work(self, require: Callable[[], None]) -> None:
        """Do what is due, then sleep until something wakes the daemon up, again and again."""
        app = self._app

        def checkpoint() -> None:
            self._beat()
            if self._stop.asked:
                raise RunStopped(reason="the daemon was told to stop")
            require()

        before, app.checkpoint = app.checkpoint, checkpoint
        try:
            while not self._stop.asked:
                checkpoint()
                work_off(app, self._care.review)
                with _reported("alerts"):
                    self._care.review(app)
                self._follow()
                wakes = self._wait(MINUTE)
                if self._stop.asked:  # between runs: none is broken off
                    return
                for wake in wakes:
                    checkpoint()
                    if wake == "base_refit":
                        with _reported("refitting base models"):
                            refit_bases(app)
                    elif wake == "maintenance":
                        with _reported("maintenance"):
                            self._care.prune(app)
        finally:
            app.checkpoint = before

    def _wait(self, seconds: float) -> set[str]:
        """Return what woke the daemon up, nothing after so many seconds."""
        wakes = set()
        with suppress(Empty):
            wakes.add(self._wakes.get(timeout=seconds))
            while True:
                wakes.add(self._wakes.get_nowait())
        return wakes

    def _follow(self) -> None:
        """Have a trigger for every exchange of the watchlist."""
        with self._app.transaction() as db:
            codes = set(instruments.exchanges(db))
        known = {job.id for job in self._scheduler.get_jobs()}
        for code in sorted(codes - known):
            with suppress(UnknownCalendar):  # said where the plan is made
                trigger = SessionTrigger(code, self._app.settings.close_delay(code))
                _add(self._scheduler, trigger, code, self._wakes)


@contextmanager
def _scheduler(app: App, wakes: "SimpleQueue[str]") -> Iterator[BackgroundScheduler]:
    """Run a scheduler that only ever puts names into `wakes`."""
    scheduler = BackgroundScheduler(
        timezone="UTC",
        job_defaults={
            "coalesce": True,
            "max_instances": 1,
            "misfire_grace_time": MISFIRE_GRACE,
        },
    )
    for key in ("base_refit", "maintenance"):
        _add(scheduler, crontab(app.settings, key), key, wakes)
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


def _add(
    scheduler: BackgroundScheduler, trigger: BaseTrigger, name: str, wakes: "SimpleQueue[str]"
) -> None:
    scheduler.add_job(wakes.put, trigger, args=[name], id=name)
