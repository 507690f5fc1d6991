"""The composition root: what a job is given, put together from the settings."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from stockbatch import database
from stockbatch.config import Settings
from stockbatch.engine.training import TrainingProcess
from stockbatch.exceptions import MigrationInProgress, SchemaOutOfDate
from stockbatch.providers import registry
from stockbatch.providers.base import BarProvider
from stockbatch.store import quota

PATIENCE = 120
"""Seconds that the first runs of two processes at once may wait for each other's migration."""


@dataclass(frozen=True)
class RequestLedger:
    """Counts requests in the database, each in a transaction that no failure of a job undoes."""

    engine: Engine

    def spend(self, provider: str, day: date, limit: int) -> bool:
        """Count one more request; False, and none counted, where `limit` were made that day."""
        with Session(self.engine) as db, db.begin():
            return quota.spend(db, provider, day, limit)


def _now() -> datetime:
    return datetime.now(UTC)


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
    clock: Callable[[], datetime] = _now
    on_event: Callable[[str], None] = _ignore
    """Called with the name of each phase as it begins."""
    checkpoint: Callable[[], None] = _go_on
    """Called between batches, where nothing is lost by raising RunStopped."""
    providers: dict[str, BarProvider] = field(default_factory=dict)
    """By specification: those handed in, and those made because a job asked for them."""

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a session whose work is committed at the end, or undone by an exception."""
        with Session(self.engine) as db, db.begin():
            yield db

    def provider(self, specification: str) -> BarProvider:
        """Return the provider of a specification, the same one each time."""
        if specification not in self.providers:
            self.providers[specification] = registry.create(
                specification, self.settings, RequestLedger(self.engine)
            )
        return self.providers[specification]

    def close(self) -> None:
        """Close the providers that were used."""
        for provider in self.providers.values():
            provider.close()

    def progress(self) -> Progress:
        """Return a progress display; on anything but a terminal it stays silent."""
        return Progress(
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )


@contextmanager
def running(settings: Settings, *, create: bool = True) -> Iterator[App]:
    """Open the database for jobs and clean up afterwards.

    The embedded database is created, started and migrated as needed; an external one must be at
    this program's revision. Raises SchemaOutOfDate and what `database.engine` raises.
    """
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
        _migrate(settings)
        engine.dispose()  # its connections took their role before the migration made it


def _migrate(settings: Settings) -> None:
    """Migrate; where another process is at it, wait for it. Raises MigrationInProgress."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return database.migrate(settings)
        except MigrationInProgress:  # its lock is only tried, never waited for
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
