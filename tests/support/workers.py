"""What workers of tests work with: networks made up in no time, a clock that stands, faults.

`python -m tests.support.workers` is workers of the cluster that the settings name.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from distributed import get_worker

from jobs.app import App
from jobs.daily import chunk
from jobs.workers import serving
from jobs.workers.process import Desk
from stockbatch import config, database
from stockbatch.config import Settings
from stockbatch.engine.training import TrainingProcess
from tests.support.evenings import evening
from tests.support.market import NOW, TICKERS
from tests.support.plain import PlainProcess, PlainTrainer

MORE = (*TICKERS, "DDD", "EEE", "FFF")
"""Tickers of which some are left when a worker has one."""


@contextmanager
def open_plain(settings: Settings) -> Iterator[App]:
    """Be a worker that does what the folder of its settings says when a phase comes."""
    engine = database.engine(settings)
    faults = _Faults(settings.home)
    load = chunk.load

    def deadly(app: App, run: Any, around: Any, tickers: Sequence[Any], targets: Any) -> Any:
        faults.kill_for({one.ticker for one in tickers})
        return load(app, run, around, tickers, targets)

    chunk.load = deadly  # type: ignore[assignment]
    yield App(
        settings=settings,
        engine=engine,
        trainer=PlainTrainer(),  # type: ignore[arg-type]
        clock=lambda: NOW,
        on_event=faults,
    )
    engine.dispose()


@contextmanager
def open_in_the_evening(settings: Settings) -> Iterator[App]:
    """Be a worker on the evening of the first session: its forecasts are not due yet."""
    with open_plain(settings) as app:
        app.clock = evening
        yield app


@contextmanager
def open_training(settings: Settings) -> Iterator[App]:
    """Be a worker that trains real networks."""
    engine = database.engine(settings)
    with TrainingProcess(settings.threads) as trainer:
        yield App(settings=settings, engine=engine, trainer=trainer, clock=lambda: NOW)
    engine.dispose()


@contextmanager
def open_counting(settings: Settings) -> Iterator[App]:
    """Be a worker that trains in a child, and leaves a file where it begins to."""
    with open_plain(settings) as app, PlainProcess(1) as trainer:
        app.trainer = trainer
        app.on_event = lambda event: _mark(settings.home, event)
        yield app


def begin(desk: Desk, _order: object) -> int | None:
    """Have a training child, and return its number."""
    desk.app.trainer.start()
    return desk.app.trainer.pid


def hoard(desk: Desk, share: float) -> str:
    """Hold a share of the memory that this worker may have, for long enough to be noticed."""
    limit = get_worker().memory_manager.memory_limit
    more = int(share * limit) - psutil.Process().memory_info().rss
    desk.kept("hoard", 0, partial(np.ones, max(0, more), np.uint8))
    time.sleep(1)
    return desk.address


def _mark(home: Path, event: str) -> None:
    (home / event).touch()


@contextmanager
def open_otherwise(settings: Settings) -> Iterator[App]:
    """Be a worker whose settings are not those of whoever sends orders."""
    with open_plain(settings.model_copy(update={"retrain_after_sessions": 99})) as app:
        yield app


def alone(app: App) -> None:
    """Let an App have no workers any more."""
    app.settings = app.settings.model_copy(update={"workers": 0})


def workers_of(parent: int | None = None) -> list[psutil.Process]:
    """Return the workers that a process has started, by default this one."""
    found = []
    for one in psutil.Process(parent).children():
        with suppress(psutil.NoSuchProcess):  # what other tests have left may be ending
            if any("spawn_main" in word for word in one.cmdline()):
                found.append(one)
    return found


def fault(home: Path, event: str, number: signal.Signals) -> None:
    """Let the first worker that comes to a phase get a signal there."""
    home.mkdir(exist_ok=True)
    (home / "fault.json").write_text(json.dumps([event, number]))


def kill_for(home: Path, *tickers: str) -> None:
    """Let every worker die that loads one of these tickers."""
    home.mkdir(exist_ok=True)
    (home / "deadly.json").write_text(json.dumps(tickers))


class _Faults:
    def __init__(self, home: Path) -> None:
        self._fault, self._deadly = home / "fault.json", home / "deadly.json"
        self._met = home / "fault.met"

    def __call__(self, event: str) -> None:
        with suppress(FileNotFoundError):
            at, number = json.loads(self._fault.read_text())
            if event == at:
                self._fault.rename(self._met)  # one worker's alone
                self._met.write_text(str(os.getpid()))
                os.kill(os.getpid(), number)

    def kill_for(self, tickers: set[str]) -> None:
        if self._deadly.exists() and tickers & set(json.loads(self._deadly.read_text())):
            os.kill(os.getpid(), signal.SIGKILL)


def met(home: Path, patience: float = 30) -> int:
    """Return the process that met the fault, once one has."""
    for _ in range(int(patience / 0.02)):
        with suppress(FileNotFoundError, ValueError):
            return int((home / "fault.met").read_text())
        time.sleep(0.02)
    raise AssertionError("nobody has met the fault")


if __name__ == "__main__":
    asyncio.run(serving.workers(config.load(), 2, print, open_counting))
