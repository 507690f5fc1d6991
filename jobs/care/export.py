"""Write the `bi` views and the bars as partitioned Parquet, and later only what has changed.

    FOLDER/forecast_history/year=2024/month=6/forecast_history.parquet
    FOLDER/next_session_forecast/next_session_forecast.parquet

Every file carries the fingerprint of the rows it was made from: there is no list of files beside
them that could be wrong. It is written under a name that readers pass over, and renamed when it is
complete.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet
from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch.exceptions import ExportFailed, ExportInProgress
from stockbatch.store import bi
from stockbatch.store.bi.export import Fingerprints, Relation

LAYOUT = 1
"""Another one rewrites every file."""
NO_MONTH = "__HIVE_DEFAULT_PARTITION__"
"""What readers of Hive's layout take for NULL."""
BLOCK = 50_000
"""Rows in memory at once, and in a row group."""

_MADE_FROM = b"stockbatch.made_from"
_TYPES = {
    "bool": pa.bool_(),
    "date": pa.date32(),
    "float8": pa.float64(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "text": pa.string(),
    "timestamptz": pa.timestamp("us", "UTC"),
}


@dataclass(kw_only=True)
class Renewal:
    """What is to be done about one relation; files are relative to its folder."""

    relation: Relation
    parts: int
    stale: dict[date | None, str] = field(default_factory=dict)
    """The fingerprint of every part whose file is lacking or was made from other rows."""
    surplus: list[Path] = field(default_factory=list)
    """Files of parts that have no rows any more, and what a killed export left."""


def export(app: App, folder: Path) -> list[Renewal]:
    """Bring the files in `folder` up to date with the database, as it is at one instant.

    Returns what was done. Raises ExportInProgress, ExportFailed.
    """
    engine = app.engine.execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with _alone(folder), Session(engine) as db, app.progress() as progress:
        relations = bi.export.relations(db)
        current = bi.export.fingerprints(db, relations)
        renewals = [_renewal(folder, relation, current[relation.name]) for relation in relations]
        stale = sum(len(renewal.stale) for renewal in renewals)
        shown = progress.add_task("exporting", total=stale)
        for renewal in renewals:
            for month, made_from in renewal.stale.items():
                app.on_event("part")
                lines = bi.export.rows(db, renewal.relation, month)
                _write(lines, renewal.relation, _file(folder, renewal.relation, month), made_from)
                progress.advance(shown)
            for file in renewal.surplus:
                _remove(file, folder)
    return renewals


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time write into a folder; make it first."""
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".stockbatch.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportInProgress(folder=folder) from None
        yield
    finally:
        os.close(lock)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportFailed(path=path, reason=error.strerror or error) from None


def _renewal(folder: Path, relation: Relation, current: Fingerprints) -> Renewal:
    """Compare what is there with what should be."""
    columns = " ".join(f"{name} {kind}" for name, kind in relation.columns.items())
    renewal = Renewal(relation=relation, parts=len(current))
    with _explained(folder):
        found = {path for path in (folder / relation.name).rglob("*") if path.is_file()}
    for month, fingerprint in sorted(current.items(), key=str):
        # Columns count as well: a view that got one has every file written anew.
        whole = f"{LAYOUT} {columns} {fingerprint}"
        made_from = hashlib.sha256(whole.encode()).hexdigest()
        file = _file(folder, relation, month)
        if file not in found or _made_from(file) != made_from:
            renewal.stale[month] = made_from
        found.discard(file)
    # What somebody else keeps in the folder stays.
    ours = {f"{relation.name}.parquet", _partial(Path(f"{relation.name}.parquet")).name}
    renewal.surplus = sorted(path for path in found if path.name in ours)
    return renewal


def _file(folder: Path, relation: Relation, month: date | None) -> Path:
    file = folder / relation.name
    if relation.is_monthly:
        year, number = (month.year, month.month) if month else (NO_MONTH, NO_MONTH)
        file = file / f"year={year}" / f"month={number}"
    return file / f"{relation.name}.parquet"


def _partial(file: Path) -> Path:
    return file.with_name(f".{file.name}.partial")


def _made_from(file: Path) -> str | None:
    """Return the fingerprint that a file carries; None where it cannot be read."""
    try:
        metadata: dict[bytes, bytes] = parquet.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    return metadata.get(_MADE_FROM, b"").decode()


def _write(lines: Iterator[bytes], relation: Relation, file: Path, made_from: str) -> None:
    """Replace a file at one stroke."""
    types = {name: _TYPES[kind] for name, kind in relation.columns.items()}
    schema = pa.schema(list(types.items()), {_MADE_FROM: made_from})
    partial = _partial(file)
    with _explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as sink:
            with parquet.ParquetWriter(sink, schema) as writer:
                while block := b"".join(islice(lines, BLOCK)):
                    writer.write_table(_table(block, types))
            sink.flush()
            os.fsync(sink.fileno())
        partial.replace(file)
        _settle(file.parent)


def _table(block: bytes, types: dict[str, pa.DataType]) -> pa.Table:
    return csv.read_csv(
        pa.BufferReader(block),
        read_options=csv.ReadOptions(column_names=list(types)),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _settle(folder: Path) -> None:
    """Let what was renamed in a folder survive a loss of power."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove(file: Path, folder: Path) -> None:
    """Remove a file, and the folders that are empty then."""
    with _explained(file):
        file.unlink(missing_ok=True)  # what was begun before may be complete now
        for parent in file.parents:
            if parent == folder or any(parent.iterdir()):
                break
            parent.rmdir()
