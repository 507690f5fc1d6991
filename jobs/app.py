"""The composition root: what a job is given, put together from the settings."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobs import memory
from jobs.clock import Clock
from jobs.logs import PROGRESS
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.engine.training import TrainingProcess
from stockbatch.events.base import EventSource
from stockbatch.exceptions import SchemaOutOfDate
from stockbatch.news.base import NewsSource
from stockbatch.providers import registry
from stockbatch.providers.base import BarProvider
from stockbatch.store import quota, runs
from stockbatch.store.lease import Lease

log = logging.getLogger(PROGRESS)
SOON, LATE = 10.0, 60.0
"""Seconds between lines about a task: at least, where a tenth more of it is done, and at most."""


@dataclass(frozen=True)
class RequestLedger:
    """Counts requests in the database, each in a transaction that no failure of a job undoes."""

    engine: Engine

    def spend(self, provider: str, day: date, limit: int) -> bool:
        """Count one more request; False, and none counted, where `limit` were made that day."""
        with Session(self.engine) as db, db.begin():
            return quota.spend(db, provider, day, limit)


def _ignore(_event: str) -> None:
    pass


def _go_on() -> None:
    pass


@dataclass(kw_only=True)
class App:
    """The world a job runs in.

    What has a default but `console` is the seam for tests and simulations.
    """

    settings: Settings
    engine: Engine
    trainer: TrainingProcess
    console: Console = field(default_factory=lambda: Console(stderr=True))
    clock: Callable[[], datetime] = field(default_factory=Clock)
    on_event: Callable[[str], None] = _ignore
    """Called with the name of each phase as it begins."""
    waiting: Callable[[], None] = _go_on
    """Called while a provider is waited for, from any thread."""
    checkpoint: Callable[[], None] = _go_on
    """Called between batches, where nothing is lost by raising RunStopped."""
    providers: dict[str, BarProvider] = field(default_factory=dict)
    """By specification: those handed in, and those made because a job asked for them."""
    event_sources: dict[str, EventSource] = field(default_factory=dict)
    """By name: those handed in, used instead of the ones that settings name."""
    news_sources: dict[str, NewsSource] = field(default_factory=dict)
    """By name, likewise."""
    open_worker: "Callable[[Settings], AbstractContextManager[App]]" = field(
        default_factory=lambda: running  # type: ignore[has-type]
    )
    """Opens what a worker of this machine works with, in its own process."""
    _leases: list[Lease] = field(default_factory=list, init=False, repr=False)

    @contextmanager
    def transaction(self, engine: Engine | None = None) -> Iterator[Session]:
        """Open a session whose work is committed at the end, or undone by an exception.

        It is the jobs', unless another engine is given. Raises LockLost where something was
        written, and a lease of this process is over.
        """
        with Session(engine or self.engine) as db, db.begin():
            yield db
            for lease in tuple(self._leases):
                lease.confirm(db)

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Let nothing be committed without a lease."""
        self._leases.append(lease)
        try:
            yield
        finally:
            self._leases.remove(lease)

    @contextmanager
    def exclusive(self, calendar: str) -> Iterator[None]:
        """Be the only process that runs `calendar` in this database. Raises RunInProgress."""
        with (
            runs.exclusive(self.engine, calendar, self.checkpoint) as lease,
            self.holding(lease),
        ):
            yield

    def compare_clocks(self) -> timedelta:
        """Return how far this machine's clock is behind the database's, 0 where they agree.

        From here on `clock` goes by the database's where they do not.
        """
        if not isinstance(self.clock, Clock):
            return timedelta(0)  # simulated time is nobody's
        self.clock.compare(self.engine)
        return self.clock.behind

    def require_one_time(self) -> None:
        """Raise ClocksApart where the database's clock is far from this machine's."""
        if isinstance(self.clock, Clock):
            self.clock.require_agreement(self.engine)

    def provider(self, specification: str) -> BarProvider:
        """Return the provider of a specification, the same one each time."""
        if specification not in self.providers:
            self.providers[specification] = registry.create(
                specification,
                self.settings,
                RequestLedger(self.engine),
                waiting=lambda: self.waiting(),
            )
        return self.providers[specification]

    def close(self) -> None:
        """Close the providers that were used."""
        for provider in self.providers.values():
            provider.close()

    def progress(self) -> Progress:
        """Return a progress display: a bar on a terminal, elsewhere a line now and then.

        There is neither where the log of progress is off.
        """
        is_shown = self.console.is_terminal and log.isEnabledFor(logging.INFO)
        kind = Progress if self.console.is_terminal else ProgressLines
        return kind(
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not is_shown,
        )


class ProgressLines(Progress):
    """Logs how far a task is: each tenth of it, or each minute; of what is done soon, nothing."""

    def __init__(self, *columns: Any, **options: Any) -> None:
        super().__init__(*columns, **options)
        self._told: dict[TaskID, tuple[float, float]] = {}
        """When a task was told of last, and how much of it was done then."""

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Note that more is done."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Note what has changed."""
        super().update(task_id, **changes)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        task = next(task for task in self.tasks if task.id == task_id)
        now = self.get_time()
        since, done = self._told.setdefault(task_id, (task.start_time or now, 0.0))
        has_moved = task.total is not None and 10 * (task.completed - done) >= task.total
        if now - since >= (SOON if has_moved else LATE):
            of_all = "" if task.total is None else f": {task.completed:.0f} of {task.total:.0f}"
            log.info("%s%s", task.description, of_all)
            self._told[task_id] = now, task.completed


@contextmanager
def running(settings: Settings, *, create: bool = True) -> Iterator[App]:
    """Open the database for jobs and clean up afterwards.

    The embedded database is created, started and migrated as needed; an external one must be at
    this program's revision. Raises SchemaOutOfDate and what `database.engine` raises.
    """
    memory.keep_freed()
    engine = database.engine(settings, role="writer", create=create)
    try:
        _bring_up_to_date(settings, engine)
        with (
            TrainingProcess(
                settings.threads,
                memory_mib=settings.training_memory_mib,
                silence=60 * settings.training_silence_minutes,
            ) as trainer,
            closing(App(settings=settings, engine=engine, trainer=trainer)) as app,
        ):
            app.compare_clocks()
            yield app
    finally:
        engine.dispose()


def _bring_up_to_date(settings: Settings, engine: Engine) -> None:
    """Migrate the embedded database. Raises SchemaOutOfDate where another one would have to be."""
    try:
        database.require_current(engine)
    except SchemaOutOfDate:
        # Somebody else's database is migrated by hand: others may be using it.
        if settings.database_url is not None:
            raise
        database.migrate(settings)
        engine.dispose()  # its connections took their role before the migration made it
