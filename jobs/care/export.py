"""Write the `bi` views and the bars as partitioned Parquet, and later only what has changed.

    FOLDER/forecast_history/year=2024/month=6/forecast_history.parquet
    FOLDER/next_session_forecast/next_session_forecast.parquet

Every file carries the fingerprint of the rows it was made from. It is written under a name that
readers pass over, and renamed when it is complete. What somebody else keeps in the folder stays.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from pyarrow import parquet
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.care.manifest import Manifest, alone, explained
from jobs.care.parquet import blocks, fingerprint_of, schema_of
from stockbatch.store import bi
from stockbatch.store.bi.export import Fingerprints, Relation

LAYOUT = 1
"""Another one rewrites every file."""
NO_MONTH = "__HIVE_DEFAULT_PARTITION__"
"""What readers of Hive's layout take for NULL."""


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
    with alone(folder), Session(engine) as db, app.progress() as progress:
        with explained(folder):
            manifest = Manifest(folder, lambda file: fingerprint_of(file) is not None)
        relations = bi.export.relations(db)
        current = bi.export.fingerprints(db, relations)
        renewals = [_renewal(manifest, relation, current[relation.name]) for relation in relations]
        stale = sum(len(renewal.stale) for renewal in renewals)
        shown = progress.add_task("exporting", total=stale)
        for renewal in renewals:
            for month, made_from in renewal.stale.items():
                app.on_event("part")
                lines = bi.export.rows(db, renewal.relation, month)
                _write(manifest, lines, renewal.relation, month, made_from)
                progress.advance(shown)
            for file in renewal.surplus:
                with explained(file):
                    manifest.remove(file)
        with explained(folder):
            manifest.settle()
    return renewals


def _renewal(manifest: Manifest, relation: Relation, current: Fingerprints) -> Renewal:
    """Compare what is there with what should be."""
    columns = " ".join(f"{name} {kind}" for name, kind in relation.columns.items())
    renewal = Renewal(relation=relation, parts=len(current))
    kept = set()
    for month, fingerprint in sorted(current.items(), key=str):
        # Columns count as well: a view that got one has every file written anew.
        whole = f"{LAYOUT} {columns} {fingerprint}"
        made_from = hashlib.sha256(whole.encode()).hexdigest()
        file = _file(manifest.folder, relation, month)
        kept.add(file)
        if not manifest.has(file) or fingerprint_of(file) != made_from:
            renewal.stale[month] = made_from
    with explained(manifest.folder):
        renewal.surplus = manifest.surplus(manifest.folder / relation.name, kept)
    return renewal


def _file(folder: Path, relation: Relation, month: date | None) -> Path:
    file = folder / relation.name
    if relation.is_monthly:
        year, number = (month.year, month.month) if month else (NO_MONTH, NO_MONTH)
        file = file / f"year={year}" / f"month={number}"
    return file / f"{relation.name}.parquet"


def _write(
    manifest: Manifest,
    lines: Iterator[bytes],
    relation: Relation,
    month: date | None,
    made_from: str,
) -> None:
    schema = schema_of(relation.columns, made_from)
    file = _file(manifest.folder, relation, month)

    def fill(partial: Path) -> None:
        with partial.open("wb") as sink, parquet.ParquetWriter(sink, schema) as writer:
            for block in blocks(lines, schema):
                writer.write_table(block)

    with explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        manifest.write(file, fill)
