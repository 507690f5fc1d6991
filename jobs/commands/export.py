"""`stockbatch export`: Parquet files for a data lake."""

from typing import Annotated

import typer

from jobs.commands import context, tables
from jobs.commands.tables import number, words


def export(
    to: Annotated[
        str,
        typer.Option(metavar="FOLDER", help="Made where there is none; or s3://BUCKET/PATH."),
    ],
) -> None:
    """Write the views of schema `bi` and the bars as Parquet; again: only what has changed."""
    context.require("stockbatch export", "pyarrow", extra="export")
    from jobs.app import running
    from jobs.care import export as job

    with running(context.settings(), create=False) as app:
        renewals = job.export(app, to)
    columns = [words("relation"), *map(number, ("parts", "written", "removed"))]
    rows = [
        {
            "relation": one.relation.name,
            "parts": one.parts,
            "written": len(one.stale),
            "removed": len(one.surplus),
        }
        for one in renewals
    ]
    tables.show(f"{to}", columns, rows, [column.heading for column in columns])
