"""`stockbatch db` and `stockbatch migrate`: the embedded server and the schema."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.commands import context

if TYPE_CHECKING:
    from stockbatch.config import Settings


db = typer.Typer(name="db", no_args_is_help=True, help="Start, stop and reach the database.")
ScratchOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Room for the restore test: that of the database; default: for temporary files.",
    ),
]
RoleOption = Annotated[
    Literal["owner", "writer", "reader", "api"], typer.Option(help="Role to connect as.")
]


@db.command()
def start() -> None:
    """Start the embedded PostgreSQL, creating it first where there is none."""
    from stockbatch import database
    from stockbatch.database import embedded_server

    settings = context.settings()
    _require_embedded(settings.database_url is None)
    embedded_server.start(settings.home)
    context.say(f"running: {database.redacted(database.url(settings, 'reader'))}")


@db.command()
def stop() -> None:
    """Stop the embedded PostgreSQL; its data stay."""
    from stockbatch.database import embedded_server

    settings = context.settings()
    _require_embedded(settings.database_url is None)
    stopped = embedded_server.stop(settings.home)
    context.say("stopped" if stopped else "it was not running")


@db.command()
def url(role: RoleOption = "reader") -> None:
    """Print the connection URL, password included, for psql and BI tools."""
    from stockbatch import database

    address = database.url(context.settings(), role, create=False)
    typer.echo(database.for_clients(address))


@db.command()
def psql(role: RoleOption = "reader") -> None:
    """Open an SQL prompt."""
    from stockbatch import database
    from stockbatch.config import environment

    arguments, variables = database.psql(context.settings(), role, create=False)
    os.execvpe(arguments[0], arguments, environment(variables))  # noqa: S606


@db.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    keep: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="FILE is a folder: of the newest N, one more."),
    ] = None,
    scratch: ScratchOption = None,
) -> None:
    """Write everything to a file that `restore` takes; jobs may go on meanwhile.

    With --keep it is what a schedule calls: a new file in a folder, restored as a test; then all
    but the newest N are removed. What fails is told to the channels of `alert_urls`.
    """
    from jobs.care.backup import backup as job

    if keep:
        _keep(file, keep, scratch)
        return
    with context.ending():
        size = job(context.settings(), file)
    context.say(f"{file}: {size / 2**20:.1f} MiB; keep it as safe as the database")


@db.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)],
    scratch: ScratchOption = None,
) -> None:
    """Restore a backup into a server that is thrown away; what fails is told to `alert_urls`."""
    from jobs.care import verify as job

    settings = _tellable()
    with context.ending(), job.telling(settings, "the restore test of a backup"):
        rows = job.verify(settings, file, scratch)
    context.say(f"{file} was restored: {_counted(rows)}")


@db.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)],
) -> None:
    """Fill an empty database from a backup and bring its schema to this program's revision."""
    from jobs.care.backup import restore as job
    from stockbatch import database

    settings = context.settings()
    job(settings, file)
    context.say(f"{database.redacted(database.url(settings))} is restored from {file}")


@db.command()
def dictionary() -> None:
    """Print the data dictionary of the `bi` views, as Markdown."""
    from itertools import groupby

    from sqlalchemy.orm import Session

    from stockbatch import database
    from stockbatch.store import bi

    engine = database.engine(context.settings(), "reader", create=False)
    try:
        with Session(engine) as session:
            columns = bi.dictionary.columns(session)
    finally:
        engine.dispose()
    typer.echo("# Data dictionary\n\nThe views of schema `bi`. Columns are only ever appended.")
    for (view, grain), of_view in groupby(columns, lambda column: (column.view, column.grain)):
        typer.echo(f"\n## bi.{view}\n\n{grain}\n\n| column | type | meaning |\n|---|---|---|")
        for column in of_view:
            typer.echo(f"| `{column.name}` | {column.type} | {column.meaning} |")


def migrate() -> None:
    """Bring the database's schema to this program's revision."""
    from stockbatch import database

    settings = context.settings()
    database.migrate(settings)
    context.say(f"{database.redacted(database.url(settings))} is at revision {database.head()}")


def _keep(folder: Path, newest: int, scratch: Path | None) -> None:
    from jobs.care import verify as job

    settings = _tellable()
    with context.ending(), job.telling(settings, "the backup by schedule"):
        file, rows = job.keep(settings, folder, newest, datetime.now(UTC), scratch)
    context.say(f"{file}: {file.stat().st_size / 2**20:.1f} MiB, restored: {_counted(rows)}")


def _tellable() -> Settings:
    """Return the settings, whose channels can be told."""
    settings = context.settings()
    if settings.alert_urls:
        context.require("the setting alert_urls", "apprise", extra="alerts")
    return settings


def _counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {table}" for table, number in rows.items())


def _require_embedded(embedded: bool) -> None:
    from stockbatch.exceptions import ConfigurationError

    if not embedded:
        raise ConfigurationError(
            source="settings",
            key="database_url",
            reason="it names an external server, which is not this program's to start or stop",
        )
