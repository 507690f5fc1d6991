"""A daemon whose time is simulated, in a process of its own.

Whoever drives it decides when it wakes up and what time it is then; at phase events that the driver
has asked for, it waits to be told how it goes on. The driver does to it what the world can do: kill
it, suspend it, end its connections. All else is the daemon's own code.
"""

import csv
import logging
import os
import signal
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import Engine, event

from jobs.app import App
from jobs.daemon import alerts
from jobs.daemon import health as monitoring
from jobs.daemon.loop import Care, run_daemon
from jobs.daemon.triggers import Wakes
from stockbatch import database
from stockbatch.config import ServiceManager, Settings
from stockbatch.engine.training import Fitted, TrainingProcess
from stockbatch.exceptions import ProviderUnavailable, RateLimited
from stockbatch.market import sessions
from stockbatch.records import BarRequest, FetchedBars
from stockbatch.store import instruments
from tests.support.feed import Feed
from tests.support.market import BEFORE, CODE, COLUMNS, Market, PlainTrainer

FIRST = date(2031, 1, 2)
"""In the future, so that the database, whose clock is real, takes the forecasts for live ones."""
CALENDAR = sessions.load(CODE, FIRST)
sessions.load(CODE, datetime.now(UTC).date())  # inherited by daemons, whose triggers ask for it
ASLEEP = "asleep"
"""The event that a daemon with nothing to do begins to wait."""
LOCK_TIMEOUT = "300ms"
SILENCE = 1.0
"""Seconds after which a training child that is never done is taken to be stuck."""
STATEMENT_TIMEOUT_MS = 1


class World(Market):
    """A market of as many sessions as a simulation needs, with its splits and dividends.

    A part of the tickers is in a CSV file, the rest is what a live provider answers.
    """

    def __init__(
        self, file: Path, *, tickers: int, count: int, seed: int, written: bool = True
    ) -> None:
        self.file, self.bars, self._seed = file, {}, seed
        self._written = False
        self.sessions = [CALENDAR.next(FIRST, number) for number in range(count)]
        self._days = CALENDAR.window(CALENDAR.next(FIRST, count), BEFORE + count).tolist()
        for number in range(tickers):
            self.list(f"T{number}")
        self.in_file = sorted(self.bars)[::2]
        self.live = sorted(self.bars)[1::2]
        self._written = written
        self.write()

    def list(self, ticker: str, sessions: int = 0) -> None:
        """Make up the bars of a ticker, a dividend a quarter, and at times a split."""
        rng = np.random.default_rng([self._seed, zlib.crc32(ticker.encode())])
        count = len(self._days)
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, count)))
        opened = close * np.exp(rng.normal(0, 0.005, count))
        high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.005, count)))
        low = np.minimum(opened, close) / np.exp(np.abs(rng.normal(0, 0.005, count)))
        volume = rng.integers(100, 10_000, count)
        rows = zip(opened, high, low, close, volume, strict=True)
        self.bars[ticker] = {
            day: dict(zip(COLUMNS, (*map(float, row), 0.0, 1.0), strict=True))
            for day, row in zip(self._days, rows, strict=True)
        }
        for position in range(int(rng.integers(1, 63)), count, 63):
            self.dividend(ticker, 0.01 * self.bars[ticker][self._days[position]]["close"],
                          self._days[position])  # fmt: skip
        for position in rng.integers(1, count, rng.integers(0, 3)).tolist():
            self.split(ticker, 2.0, self._days[position])

    def write(self) -> None:
        """Write the tickers of the file."""
        if self._written:
            self.write_but({})

    def write_but(self, other: dict[tuple[str, date], dict[str, float] | None]) -> None:
        """Write the file with other bars in some places, None: with none."""
        with self.file.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("symbol", "timestamp", *COLUMNS))
            for ticker in self.in_file:
                for day, bar in self.bars[ticker].items():
                    told = other.get((ticker, day), bar)
                    if told is not None:
                        writer.writerow((ticker, day, *map(repr, told.values())))


def spoilt(bar: dict[str, float]) -> dict[str, float]:
    """Return a bar that cannot be: its high is below its low."""
    return bar | {"high": bar["low"] / 2}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What the live provider does wrong, and with which tickers."""

    kind: str = ""
    tickers: frozenset[str] = frozenset()
    last: date = date.max
    """The last session of which there are bars."""


class LiveFeed(Feed):
    """The live provider: its newest bar can still change overnight."""

    trouble = Trouble()

    def _bars(self, request: BarRequest) -> FetchedBars:
        request = replace(request, last=min(request.last, self.trouble.last))
        kind = self.trouble.kind if request.symbol in self.trouble.tickers else ""
        about: dict[str, Any] = {"provider": self.name, "ticker": request.symbol}
        known = self.market.bars[request.symbol]
        if kind == "provider unreachable":
            raise ProviderUnavailable(**about, reason="nobody answers")
        if kind == "provider's rate limit":
            raise RateLimited(**about)
        kept = known[request.last]
        self.asked.clear()
        try:
            if kind == "no bar yet":
                del known[request.last]
            if kind == "bad bar":
                known[request.last] = spoilt(kept)
            return super()._bars(request)
        finally:
            known[request.last] = kept


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a daemon is started with."""

    settings: Settings
    world: dict[str, Any]
    now: datetime
    log: Path
    tensorflow: bool


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the driver says to a daemon that waits for it: what is given is so from now on."""

    now: datetime | None = None
    stop_at: tuple[str, int] | None = None
    """The event, and how often it has to come, at which the daemon asks how it goes on."""
    trouble: Trouble | None = None
    wake: str = "time"
    fault: str = ""
    """What goes wrong at this event: an exception, or the next statement."""
    child: signal.Signals | None = None
    """What the next training child is sent while it is at work."""


class Simulation(Wakes):
    """Time as the driver has it, and the events it asked for: the daemon's clock and its sleep."""

    def __init__(self, driver: Connection, now: datetime) -> None:
        super().__init__()
        self._driver, self._now = driver, now
        self._stop_at: tuple[str, int] | None = None
        self._bell, self._rope = os.pipe()
        self.obey: Callable[[Told], None] = lambda told: None

    def clock(self) -> datetime:
        return self._now

    def on_event(self, name: str) -> None:
        """Ask the driver how to go on, if it wants to be asked now."""
        if self._stop_at is None or self._stop_at[0] != name:
            return
        event, left = self._stop_at
        self._stop_at = (event, left - 1) if left > 1 else None
        if left == 1:
            self._driver.send(("reached", 0.0))
            self._take(self._driver.recv())

    def put(self, name: str) -> None:
        """Wake the daemon up because it was told to stop; its triggers are the driver's affair."""
        if name == "stop":
            os.write(self._rope, b"!")

    def wait(self, seconds: float) -> set[str]:
        """Sleep: say for how long, and return what the driver wakes the daemon up for."""
        self.on_event(ASLEEP)
        self._driver.send(("sleeps", seconds))
        if self._bell in wait([self._driver, self._bell]):
            os.read(self._bell, 1)
            return {"stop"}
        told: Told = self._driver.recv()
        self._take(told)
        return {told.wake}

    def _take(self, told: Told) -> None:
        self._now = told.now or self._now
        self._stop_at = told.stop_at
        self.obey(told)


class Trainer:
    """Made-up networks in no time; with `real`, those of a training process as in production."""

    def __init__(self, process: TrainingProcess, *, real: bool) -> None:
        self._process, self._real = process, real
        self._hit: signal.Signals | None = None
        self._plain = PlainTrainer()
        self.waiting: Callable[[], None] = lambda: None

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def discard(self) -> None:
        self._process.discard()

    def fit(self, *arrays: Any, **options: Any) -> Fitted:
        return self._trainer().fit(*arrays, **options)

    def fit_pooled(self, *arrays: Any, **options: Any) -> Fitted:
        return self._trainer().fit_pooled(*arrays, **options)

    def hit(self, number: signal.Signals) -> None:
        """Send a signal to the child while its parent waits for it the next time."""
        self._hit = number

    def _trainer(self) -> TrainingProcess | PlainTrainer:
        if self._hit is None and not self._real:
            return self._plain
        hit, self._hit = self._hit, None

        def wait() -> None:
            self.waiting()
            if hit is not None and self.pid is not None:
                os.kill(self.pid, hit)

        self._process.waiting = wait
        return self._process


class EndlessProcess(TrainingProcess):
    """A training process whose child is never done."""

    program = (sys.executable, "-S", "-c", "import sys; sys.stdin.buffer.read()")


def live(order: Order, driver: Connection) -> None:
    """Be a daemon until told to stop: the target of a process."""
    logging.basicConfig(
        filename=order.log,
        level=logging.INFO,
        format="%(asctime)s %(process)d %(levelname)s %(message)s",
    )
    simulation = Simulation(driver, order.now)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    world = World(Path(os.devnull), **order.world, written=False)
    feed = LiveFeed("live", world)
    engine = database.engine(order.settings)
    event.listen(engine, "connect", _be_impatient)
    real = order.tensorflow
    process = TrainingProcess(1, silence=60) if real else EndlessProcess(1, silence=SILENCE)
    with process as trainer:
        app = App(
            settings=order.settings,
            engine=engine,
            trainer=Trainer(trainer, real=real),  # type: ignore[arg-type]
            clock=simulation.clock,
            on_event=simulation.on_event,
        )
        app.providers[feed.specification] = feed
        simulation.obey = partial(_obey, app, feed)
        care = Care(review=alerts.review, serving=monitoring.serving)
        run_daemon(app, care, ServiceManager(None, None), wakes=simulation)
    engine.dispose()


def _be_impatient(connection: psycopg.Connection[Any], _record: object) -> None:
    """Wait for a lock for a shorter time than production does."""
    connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    connection.commit()


def _obey(app: App, feed: LiveFeed, told: Told) -> None:
    """Let go wrong what the driver says."""
    if told.trouble is not None:
        feed.trouble = told.trouble
    if told.child is not None:
        app.trainer.hit(told.child)
    if told.fault == "statement":
        _time_out(app.engine)
    if told.fault == "exception":
        raise RuntimeError("an exception that nobody expected")


def _time_out(engine: Engine) -> None:
    """Let the next statement of a transaction last too long for the server."""

    def slow(connection: Any, cursor: Any, *statement: Any) -> tuple[str, dict[str, Any]]:
        query, parameters, _, _ = statement
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            return query, parameters
        event.remove(engine, "before_cursor_execute", slow)
        cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}")
        return "SELECT pg_sleep(60)", {}

    event.listen(engine, "before_cursor_execute", slow, retval=True)


def watch(app: App, world: World, since: datetime, owner: Engine) -> None:
    """Put the world's tickers on the watchlist as of an instant."""
    source = app.provider(world.specification)
    with app.transaction() as db:
        listings = [source.listing(ticker) for ticker in world.in_file]
        instruments.add(db, listings, provider=source.specification)
        live_feed = LiveFeed("live", world)
        listings = [live_feed.listing(ticker) for ticker in world.live]
        instruments.add(db, listings, provider="live")
    with owner.begin() as connection:
        connection.exec_driver_sql("UPDATE stockbatch.instruments SET active_since = %s", (since,))
