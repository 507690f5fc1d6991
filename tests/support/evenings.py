"""A daemon's evenings: a clock that waits for the work, and daemons in processes of their own.

`python -m tests.support.evenings` forks a daemon for every order it reads, so that none has to
import anything. A daemon sends signals to itself at phases or log messages, never after a time.
"""

import faulthandler
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.loop import Care, run_daemon
from jobs.daemon.triggers import Wakes
from stockbatch import database
from stockbatch.config import ServiceManager, Settings
from stockbatch.exceptions import StockbatchError
from stockbatch.methods import registry as methods
from tests.support.market import calendar, fetch, session
from tests.support.places import ROOT
from tests.support.plain import PlainProcess, PlainTrainer

ALONE = ServiceManager(None, None)
LIMIT = 240
"""Seconds after which a daemon of a test is stuck."""
MOMENT = 0.02

Sabotage = tuple[str, int, Sequence[str]]
"""A phase or the beginning of a log message, how often it has come, and the signals to send."""


def evening(offset: int = 0) -> datetime:
    """Return an instant at which the session `offset` sessions after ORIGIN is due."""
    return calendar().close(session(offset)) + timedelta(hours=1)


class Evenings:
    """A clock that goes on to the next instant, and at last ends the daemon, when all is done."""

    def __init__(self, *instants: datetime) -> None:
        self.instants = list(instants)
        self.asked = 0

    def __call__(self) -> datetime:
        self.asked += 1
        return self.instants[0]

    def go_on(self, app: App) -> None:
        """Be the daemon's review."""
        plan = agenda.plan(agenda.load(app), self(), app.settings)
        if plan.due or plan.waiting or plan.skipped:
            return
        if len(self.instants) > 1:
            del self.instants[0]
        else:
            os.kill(os.getpid(), signal.SIGTERM)


def since(app: App, instant: datetime) -> None:
    """Let all tickers have been on the watchlist since an instant."""
    owner = database.engine(app.settings, role="owner")
    with owner.begin() as connection:
        statement = text("UPDATE stockbatch.instruments SET active_since = :instant")
        connection.execute(statement, {"instant": instant})
    owner.dispose()


class ShortSleep(Wakes):
    """Lets a daemon sleep for no longer than a moment."""

    def wait(self, seconds: float) -> set[str]:
        return super().wait(min(seconds, MOMENT))


RUNS = "SELECT calendar, session, trigger, status, tries FROM stockbatch.runs ORDER BY id"


def runs(app: App) -> list[tuple[Any, ...]]:
    """Return calendar, session, trigger, status and tries of every run."""
    return [tuple(row.values()) for row in fetch(app.engine, RUNS)]


def once(event: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Return what does something when an event comes for the first time."""
    left = [event]

    def on_event(now: str) -> None:
        if now in left:
            left.remove(now)
            act()

    return on_event


def work(
    app: App, *instants: datetime, clock: Evenings | None = None, care: Care | None = None
) -> None:
    """Be the daemon through some evenings, in this process; return when all is done."""
    clock = app.clock = clock or Evenings(*instants)
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    try:
        run_daemon(app, care or Care(review=clock.go_on), ALONE, wakes=ShortSleep())
    finally:
        faulthandler.cancel_dump_traceback_later()


class Daemons:
    """Daemons forked from one process that has imported all they need."""

    def __init__(self) -> None:
        environment = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.evenings"],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End with every daemon that is left."""
        self._process.communicate()

    def start(
        self, app: App, *instants: datetime, faults: Sequence[Sabotage] = (), trains: bool = False
    ) -> int:
        """Start a daemon in the database of an App; return its process id."""
        order = {
            "settings": app.settings.model_dump(mode="json", exclude={"alert_urls"})
            | {"database_url": app.settings.database_url.get_secret_value()},
            "instants": [instant.isoformat() for instant in instants],
            "faults": faults,
            "trains": trains,
        }
        return self._ask(order)

    def wait(self, pid: int) -> int:
        """Return how a daemon ended, or the negative number of the signal that stopped it."""
        return self._ask({"wait": pid})

    def run(self, app: App, *instants: datetime, **options: Any) -> int:
        """Start a daemon and return how it ended, or was stopped."""
        return self.wait(self.start(app, *instants, **options))

    def _ask(self, order: Any) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class _Said(logging.Handler):
    """Takes log messages for events."""

    def __init__(self, on_event: Callable[[str], None]) -> None:
        super().__init__()
        self._on_event = on_event

    def emit(self, record: logging.LogRecord) -> None:
        self._on_event(record.getMessage())


def _saboteur(faults: Sequence[Sabotage]) -> Callable[[str], None]:
    left = [[event, count, signals] for event, count, signals in faults]

    def on_event(event: str) -> None:
        for fault in left:
            fault[1] -= event.startswith(fault[0])
            if fault[1] == 0:
                fault[1] = -1
                for name in fault[2]:
                    os.kill(os.getpid(), signal.Signals[name])

    return on_event


def _daemon(order: dict[str, Any]) -> int:
    """Be a daemon; return its exit status."""
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    settings = Settings(**order["settings"])
    on_event = _saboteur(order["faults"])
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(_Said(on_event))
    clock = Evenings(*map(datetime.fromisoformat, order["instants"]))
    trainer = Watched(lambda _: on_event("epoch")) if order["trains"] else PlainTrainer()
    app = App(settings=settings, engine=database.engine(settings), trainer=trainer, clock=clock)
    app.on_event = on_event
    try:
        run_daemon(app, Care(review=clock.go_on), ALONE, wakes=ShortSleep())
    except StockbatchError as error:
        return error.exit_code
    except SystemExit as end:
        return int(end.code or 0)
    return 0


class Watched(PlainProcess):
    """A training process that calls something at every epoch of its child's."""

    def __init__(self, on_epoch: Callable[["Watched"], None], **limits: Any) -> None:
        super().__init__(1, **limits)
        self._on_epoch = on_epoch

    def fit(self, *given: Any, on_epoch: Any = None, **options: Any) -> Any:
        return super().fit(*given, on_epoch=lambda *_: self._on_epoch(self), **options)

    def fit_pooled(self, *given: Any, on_epoch: Any = None, **options: Any) -> Any:
        return super().fit_pooled(*given, on_epoch=lambda *_: self._on_epoch(self), **options)


def main() -> None:
    """Fork a daemon for every order, or wait for one."""
    evening(), database.head(), methods.methods()  # whatever takes long is done once
    living = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], os.WUNTRACED)
            if os.WIFSTOPPED(status):
                answer = -os.WSTOPSIG(status)
            else:
                living.remove(order["wait"])
                answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                try:
                    os._exit(_daemon(order))
                except Exception:  # noqa: BLE001 (told, and an exit status)
                    traceback.print_exc()
                finally:
                    os._exit(99)
            living.add(answer)
        print(answer, flush=True)
    for pid in living:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
