"""`stockbatch export`: Parquet files for a data lake."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands import context


def export(
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Made where there is none.")],
) -> None:
    """Write the views of schema `bi` and the bars as Parquet; again: only what has changed."""
    context.require("stockbatch export", "pyarrow", extra="export")
    from jobs.app import running
    from jobs.care import export as job

    with running(context.settings(), create=False) as app:
        renewals = job.export(app, to.absolute())
    columns = [("relation", "left"), *((name, "right") for name in ("parts", "written", "removed"))]
    rows = [(p.relation.name, p.parts, len(p.stale), len(p.surplus)) for p in renewals]
    context.show_table(f"{to}", columns, rows)
