"""Write the `bi` views and the bars as partitioned Parquet, and later only what has changed.

    FOLDER/forecast_history/year=2024/month=6/forecast_history.parquet
    FOLDER/next_session_forecast/next_session_forecast.parquet

Every file carries the fingerprint of the rows it was made from, and takes its name when it is
complete. What somebody else keeps in the folder stays. A folder may be one of an object store.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

from pyarrow import parquet
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.care.folders import Fill, Folder, explained, folder_of
from jobs.care.manifest import Manifest
from jobs.care.parquet import blocks, fingerprint_of, schema_of
from stockbatch.store import bi
from stockbatch.store.bi.export import Fingerprints, Relation

LAYOUT = 1
"""Another one rewrites every file."""
NO_MONTH = "__HIVE_DEFAULT_PARTITION__"
"""What readers of Hive's layout take for NULL."""
AT_ONCE = 16
"""So many files are looked at together: an object store answers each late, but many at once."""


@dataclass(kw_only=True)
class Renewal:
    """What is to be done about one relation; files are relative to its folder."""

    relation: Relation
    parts: int
    stale: dict[date | None, str] = field(default_factory=dict)
    """The fingerprint of every part whose file is lacking or was made from other rows."""
    surplus: list[str] = field(default_factory=list)
    """Files of parts that have no rows any more, and what a killed export left."""


def export(app: App, to: str | Path) -> list[Renewal]:
    """Bring the files in a folder, by its path or URL, up to date with the database.

    As it is at one instant. Returns what was done. Raises ExportInProgress, ExportFailed.
    """
    folder = folder_of(to)
    engine = app.engine.execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with Session(engine) as db, folder.alone(db), app.progress() as progress:
        with explained(folder.shown()):
            manifest = Manifest(folder, lambda name: _made_from(folder, name) is not None)
        relations = bi.export.relations(db)
        current = bi.export.fingerprints(db, relations)
        renewals = [_renewal(folder, manifest, one, current[one.name]) for one in relations]
        stale = sum(len(renewal.stale) for renewal in renewals)
        shown = progress.add_task("exporting", total=stale)
        for renewal in renewals:
            for month, made_from in renewal.stale.items():
                app.on_event("part")
                name = _name(renewal.relation, month)
                lines = bi.export.rows(db, renewal.relation, month)
                with explained(folder.shown(name)):
                    manifest.write(name, _fill(lines, renewal.relation, made_from))
                progress.advance(shown)
            for name in renewal.surplus:
                with explained(folder.shown(name)):
                    manifest.remove(name)
        with explained(folder.shown()):
            manifest.settle()
    return renewals


def _renewal(
    folder: Folder, manifest: Manifest, relation: Relation, current: Fingerprints
) -> Renewal:
    """Compare what is there with what should be."""
    columns = " ".join(f"{name} {kind}" for name, kind in relation.columns.items())
    renewal = Renewal(relation=relation, parts=len(current))
    parts = {_name(relation, month): month for month in sorted(current, key=str)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        of_ours = [name for name in parts if manifest.has(name)]
        found = dict(zip(of_ours, pool.map(partial(_made_from, folder), of_ours), strict=True))
    for name, month in parts.items():
        # Columns count as well: a view that got one has every file written anew.
        whole = f"{LAYOUT} {columns} {current[month]}"
        made_from = hashlib.sha256(whole.encode()).hexdigest()
        if found.get(name) != made_from:
            renewal.stale[month] = made_from
    renewal.surplus = manifest.surplus(relation.name, set(parts))
    return renewal


def _name(relation: Relation, month: date | None) -> str:
    folders = [relation.name]
    if relation.is_monthly:
        year, number = (month.year, month.month) if month else (NO_MONTH, NO_MONTH)
        folders += [f"year={year}", f"month={number}"]
    return "/".join([*folders, f"{relation.name}.parquet"])


def _made_from(folder: Folder, name: str) -> str | None:
    """Return the fingerprint that a file carries; None where it cannot be read."""
    try:
        return fingerprint_of(folder.source(name))
    except OSError:
        return None


def _fill(lines: Iterator[bytes], relation: Relation, made_from: str) -> Fill:
    schema = schema_of(relation.columns, made_from)

    def fill(file: Path) -> None:
        with file.open("wb") as sink, parquet.ParquetWriter(sink, schema) as writer:
            for block in blocks(lines, schema):
                writer.write_table(block)

    return fill
