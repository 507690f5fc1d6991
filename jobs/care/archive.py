"""Move months of baselines' forecasts, with their scores, from the database to Parquet files.

    FOLDER/archived_forecasts/calendar=XNYS/year=2022/month=6/archived_forecasts-1.parquet
    FOLDER/archived_scores/calendar=XNYS/year=2022/month=6/archived_scores-1.parquet

A month is one transaction, and its files come first: killed in between, it has them and its rows,
and the next archive writes the same files again. They are compared with the database row by row,
as read from the disk, before anything is deleted.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
from pyarrow import parquet
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobs import files
from jobs.app import App
from jobs.care.folders import Local, explained
from jobs.care.manifest import Manifest
from jobs.care.parquet import BLOCK, blocks, fingerprint_of, schema_of
from jobs.daily.losses import WINDOWS
from jobs.isolation import one_by_one
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.exceptions import ArchiveFailed, ExportFailed
from stockbatch.market import sessions
from stockbatch.market.sessions import as_date
from stockbatch.methods import registry
from stockbatch.store import archives
from stockbatch.store.archives import FORECASTS, SCORES, Contents
from stockbatch.text import counted, printable

log = logging.getLogger(__name__)

KEPT = 2 * max(WINDOWS)
"""Sessions before the last run of which everything stays, at least: twice what the longest window
looks at, so that the metrics of a year of sessions can be computed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month of a calendar: its first day, its first and its last session."""

    calendar: str
    day: date
    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.calendar} {self.day:%Y-%m}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How many rows the two files of a month hold, and their size together."""

    forecasts: int
    scores: int
    size: int

    def __str__(self) -> str:
        moved = f"{counted(self.forecasts, 'forecast')} and {counted(self.scores, 'score')}"
        return f"{moved} archived, {self.size / 2**20:.1f} MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What became of a month: what was moved, and how many forecasts wait for bars or scores."""

    month: Month
    written: Written
    waiting: int

    def __str__(self) -> str:
        said = [str(self.written)] if self.written.forecasts else []
        if self.waiting:
            left = counted(self.waiting, "forecast")
            said.append(f"{left} left, for want of a final bar or a score")
        return f"{self.month}: {'; '.join(said)}"


def archive(app: App, folder: Path) -> Iterator[Archived]:
    """Move what no window reads any more to `folder`, month by month, as the owner of the ledger.

    Raises AccessDenied where the login is not the owner, ExportInProgress, ExportFailed,
    ArchiveFailed, ClocksApart, and at the end RunInProgress where that kept an exchange out.
    """
    app.require_one_time()
    owner = database.engine(app.settings, role="owner")
    try:
        with Session(owner) as db, db.begin():
            archives.claim(db)  # who may not is told at once
            codes = archives.calendars(db)
        place = Local(folder)
        with place.alone():
            manifest = _manifest(place)
            with one_by_one() as each:
                for code in codes:
                    with each():
                        yield from _archive_calendar(app, owner, manifest, code)
            with explained(place.shown()):
                manifest.settle()
    finally:
        owner.dispose()


def _manifest(folder: Local) -> Manifest:
    """Return the list of our files in a folder, without what a killed archive was writing."""
    with explained(folder.shown()):
        manifest = Manifest(folder, lambda name: fingerprint_of(folder.source(name)) is not None)
        for contents in (FORECASTS, SCORES):
            for name in manifest.surplus(contents.name, set()):
                if not name.endswith(".parquet"):
                    manifest.remove(name)
    return manifest


def _archive_calendar(app: App, owner: Engine, manifest: Manifest, code: str) -> Iterator[Archived]:
    with app.transaction(owner) as db:
        span = archives.span(db, code)
    for month in _months(app, code, *span) if span else ():
        app.checkpoint()
        # A run in between is welcome to the months that come after.
        with app.exclusive(code), app.transaction(owner) as db:
            archived = _archive_month(app, db, manifest, month)
        if archived.written.forecasts or archived.waiting:
            log.info("%s", archived)
            yield archived


def sessions_kept(settings: Settings) -> int:
    """Return of how many sessions before the last run everything stays: also what is caught up."""
    return max(KEPT, settings.catch_up_sessions)


def _months(app: App, code: str, first: date, last_run: date) -> Iterator[Month]:
    """Yield the months that nothing looks at any more, oldest first.

    Where the calendar does not reach back so far, there is none.
    """
    calendar = sessions.load(code, app.clock().date())
    kept = as_date(calendar.before(last_run, sessions_kept(app.settings))[0])
    day = first.replace(day=1)
    while (following := (day + timedelta(days=31)).replace(day=1)) <= kept:
        held = calendar.between(day, following - timedelta(days=1))
        if len(held):
            yield Month(calendar=code, day=day, first=as_date(held[0]), last=as_date(held[-1]))
        day = following


def _archive_month(app: App, db: Session, manifest: Manifest, month: Month) -> Archived:
    """Write the files of a month, read them again, and delete what is in them."""
    archives.claim(db)
    methods = registry.baselines()
    chosen, waiting = archives.choose(db, month.calendar, methods, month.first, month.last)
    written = Written(forecasts=0, scores=0, size=0)
    if chosen:
        part = archives.next_part(db, month.calendar, month.day)
        written = _write(app, db, manifest, month, part)
        app.on_event("archive: delete")
        in_files = {"unscored": 0, "scores": written.scores, "forecasts": chosen}
        gone = archives.drop(db, month.calendar, month.first, month.last)
        if gone != in_files or chosen != written.forecasts:
            reason = f"{gone} would go, and {in_files} are in files"
            raise ArchiveFailed(what=month, reason=reason)
        archives.add(
            db,
            calendar=month.calendar,
            month=month.day,
            part=part,
            first_session=month.first,
            through_session=month.last,
            methods=methods,
            forecasts=written.forecasts,
            scores=written.scores,
            bytes=written.size,
            folder=printable(manifest.folder.shown()),
        )
        app.on_event("archive: commit")
    return Archived(month=month, written=written, waiting=waiting)


def _write(app: App, db: Session, manifest: Manifest, month: Month, part: int) -> Written:
    """Write the files of a month, and read them again; return what they hold."""
    counts, size = [], 0
    for contents in (FORECASTS, SCORES):
        name = _name(contents, month, part)
        file = Path(manifest.folder.shown(name))
        with explained(str(file)):
            app.on_event("archive: write")
            _write_file(db, manifest, name, contents)
            app.on_event("archive: read")
            counts.append(_compared(db, file, contents))
            size += file.stat().st_size
    forecasts, scores = counts
    return Written(forecasts=forecasts, scores=scores, size=size)


def _name(contents: Contents, month: Month, part: int) -> str:
    folders = [contents.name, f"calendar={quote(month.calendar, safe='')}"]
    folders += [f"year={month.day.year}", f"month={month.day.month}"]
    return "/".join([*folders, f"{contents.name}-{part}.parquet"])


def _write_file(db: Session, manifest: Manifest, name: str, contents: Contents) -> None:
    """Write what was chosen; a file in its place is one that no archive was committed with."""
    file = Path(manifest.folder.shown(name))
    if manifest.has(name) and file.exists():
        _require_in_database(db, file, contents)
    schema = schema_of(archives.columns(db, contents), contents.name)
    _make_folder(file.parent, Path(manifest.folder.shown()))

    def fill(partial: Path) -> None:
        with partial.open("wb") as sink, parquet.ParquetWriter(sink, schema) as writer:
            for block in blocks(archives.rows(db, contents), schema):
                writer.write_table(block)

    manifest.write(name, fill)


def _make_folder(folder: Path, within: Path) -> None:
    """Make a folder such that it survives a loss of power."""
    folder.mkdir(parents=True, exist_ok=True)
    for parent in folder.parents:
        files.settle(parent)
        if parent == within:
            break


def _require_in_database(db: Session, file: Path, contents: Contents) -> None:
    """Raise ExportFailed where a file holds what the database does not: nothing replaces it."""
    try:
        found = parquet.ParquetFile(file)
        batches = found.iter_batches(BLOCK, columns=list(contents.key))
        keys = (tuple(row.values()) for batch in batches for row in batch.to_pylist())
        absent = archives.absent(db, contents, keys)
    except pa.ArrowException as error:
        reason = f"a file of that name cannot be read, move it away: {error}"
        raise ExportFailed(path=file, reason=reason) from None
    if absent:
        reason = (
            f"it holds {counted(absent, 'row')} that this database lacks, as one restored from an"
            " older backup does, or another one: give another folder"
        )
        raise ExportFailed(path=file, reason=reason)


def _compared(db: Session, file: Path, contents: Contents) -> int:
    """Return how many rows a file holds, having compared each with the database.

    Raises ArchiveFailed where any differs.
    """
    count = number = 0
    differs = ArchiveFailed(what=file, reason="read again, it is not what was written")
    try:
        found = parquet.ParquetFile(file)
        for block in blocks(archives.rows(db, contents), found.schema_arrow):
            if number == found.num_row_groups or not found.read_row_group(number).equals(block):
                raise differs
            number, count = number + 1, count + block.num_rows
    except pa.ArrowException:
        raise differs from None
    if (number, count) != (found.num_row_groups, found.metadata.num_rows):
        raise differs
    return count
