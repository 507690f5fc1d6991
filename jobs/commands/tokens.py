"""`stockbatch tokens`: who may use the REST service."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words
from stockbatch.text import counted

tokens = typer.Typer(name="tokens", no_args_is_help=True, help="Keep the REST service's tokens.")


@tokens.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who it is for.")],
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="It ends then; default: never.")
    ] = None,
    per_minute: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="Requests a minute answered at most.")
    ] = 600,
) -> None:
    """Make a bearer token and print it, once: only its hash is kept."""
    from jobs.app import running
    from stockbatch.store import tokens as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        expires_at = app.clock() + timedelta(days=days) if days else None
        token = store.issue(db, name, requests_per_minute=per_minute, expires_at=expires_at)
    typer.echo(token)


@tokens.command("list")
def list_(layout: options.Format = "table", wide: options.Wide = False) -> None:
    """Show every token ever made; none can be shown itself."""
    from jobs.app import running
    from stockbatch.store import tokens as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        rows = store.everything(db)
        now = app.clock()
    columns = [
        words("name", folds=True),
        words("state"),
        number("per minute", "requests_per_minute"),
        words("made", lambda row: f"{row['created_at']:%Y-%m-%d}"),
    ]
    shown = [{**row._asdict(), "state": _state(row, now)} for row in rows]
    names = ("name", "state", "requests_per_minute", "created_at", "expires_at", "revoked_at")
    tables.show(counted(len(rows), "token"), columns, shown, names, layout, wide=wide)


def _state(row: Any, now: datetime) -> str:
    if row.revoked_at is not None:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    if row.expires_at is None:
        return "valid"
    word = "expired" if row.expires_at <= now else "valid until"
    return f"{word} {row.expires_at:%Y-%m-%d}"


@tokens.command()
def revoke(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """End a token for good; the service refuses it within seconds."""
    from jobs.app import running
    from stockbatch.store import tokens as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        store.revoke(db, name)
    context.say(f"revoked: {name}")
