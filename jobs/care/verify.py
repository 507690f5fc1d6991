"""Backups by schedule: each is restored as a test at once, and what fails is told."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, text

from jobs import files
from jobs.care.backup import backup, restore
from jobs.daemon import alerts
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.exceptions import (
    RestoreFailed,
    StockbatchError,
    UnwritableFile,
    VerificationFailed,
)
from stockbatch.text import counted

TABLES = ("instruments", "bars", "runs", "models", "forecasts", "scores", "outcomes")
"""Whose rows are counted: what could not be had again."""
_NAME = "stockbatch-{:%Y%m%dT%H%M%SZ}.backup"
_SCRATCH = "stockbatch-verify-"
_NAMED = re.compile(r"stockbatch-\d{8}T\d{6}Z\.backup")
# The throw-away server has nothing to lose, and little room: no copy of what is loaded in its log.
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
}


def keep(
    settings: Settings, folder: Path, newest: int, now: datetime, scratch: Path | None = None
) -> tuple[Path, dict[str, int]]:
    """Write a backup into a folder, restore it as a test, and remove all but the newest ones.

    Only files named as these backups are go, and none where the test fails. Returns the file and
    its rows by table. Raises BackupFailed, VerificationFailed, UnwritableFile, and what
    `database.engine` raises.
    """
    file = folder / _NAME.format(now)
    owner = database.engine(settings, "owner", create=False)
    try:
        with owner.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            snapshot = str(connection.scalar(text("SELECT pg_export_snapshot()")))
            expected = _rows(connection)
            backup(settings, file, snapshot=snapshot)
    finally:
        owner.dispose()
    verify(settings, file, scratch, expected)
    try:
        kept = sorted(path for path in folder.iterdir() if _NAMED.fullmatch(path.name))
        for path in kept[:-newest]:
            path.unlink()
    except OSError as error:
        reason = f"older backups cannot be removed: {error.strerror}"
        raise UnwritableFile(path=folder, reason=reason) from None
    return file, expected


def verify(
    settings: Settings,
    file: Path,
    scratch: Path | None = None,
    expected: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Restore a backup into a server that is thrown away; return its rows by table.

    The server is below `scratch`, or the system's folder for temporary files. Raises
    VerificationFailed, also where there are other rows than expected.
    """
    files.remove_left(Path(scratch or tempfile.gettempdir()), _SCRATCH + r"\w{8}", _throw_away)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=scratch) as home,
            files.locked(Path(home)),
        ):
            aside = settings.model_copy(update={"home": Path(home), "database_url": None})
            try:
                found = _restored(aside, file)
            finally:
                embedded_server.stop(aside.home)
    except OSError as error:
        place = scratch or tempfile.gettempdir()
        raise VerificationFailed(path=file, reason=f"{place}: {error.strerror}") from None
    except StockbatchError as error:
        reason = error.values["reason"] if isinstance(error, RestoreFailed) else error
        raise VerificationFailed(path=file, reason=reason) from None
    for table, rows in (expected or {}).items():
        if found[table] != rows:
            reason = f"{counted(found[table], 'row')} of {table} came back of {rows}"
            raise VerificationFailed(path=file, reason=reason)
    return found


@contextmanager
def telling(settings: Settings, subject: str) -> Iterator[None]:
    """Tell every channel of the settings what fails inside, and let it go on its way."""
    try:
        yield
    except Exception as error:
        alerts.tell(settings, f"{subject} failed", str(error) or type(error).__name__)
        raise


def _throw_away(home: Path) -> None:
    """End the server of a restore test that was killed, and remove it."""
    with suppress(StockbatchError):
        embedded_server.stop(home)
    shutil.rmtree(home)


def _restored(settings: Settings, file: Path) -> dict[str, int]:
    embedded_server.start(settings.home, options=_OPTIONS)
    restore(settings, file)
    owner = database.engine(settings, "owner")
    try:
        database.require_current(owner)
        with owner.connect() as connection:
            return _rows(connection)
    finally:
        owner.dispose()


def _rows(connection: Connection) -> dict[str, int]:
    query = "SELECT count(*) FROM stockbatch.{}"
    return {table: connection.scalar(text(query.format(table))) or 0 for table in TABLES}
