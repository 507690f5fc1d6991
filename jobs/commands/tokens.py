"""`stockbatch tokens`: who may use the REST service."""

from datetime import timedelta
from typing import Annotated

import typer

from jobs.commands import context

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
def list_() -> None:
    """Show every token ever made; none can be shown itself."""
    from jobs.app import running
    from stockbatch.store import tokens as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        rows = store.everything(db)
        now = app.clock()
    columns = [("name", "left"), ("state", "left"), ("per minute", "right"), ("made", "left")]
    shown = []
    for row in rows:
        state = "valid" if row.expires_at is None else f"valid until {row.expires_at:%Y-%m-%d}"
        if row.expires_at is not None and row.expires_at <= now:
            state = f"expired {row.expires_at:%Y-%m-%d}"
        if row.revoked_at is not None:
            state = f"revoked {row.revoked_at:%Y-%m-%d}"
        shown.append((row.name, state, row.requests_per_minute, f"{row.created_at:%Y-%m-%d}"))
    context.show_table(f"{len(rows)} tokens", columns, shown)


@tokens.command()
def revoke(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """End a token for good; the service refuses it within seconds."""
    from jobs.app import running
    from stockbatch.store import tokens as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        store.revoke(db, name)
    context.say(f"revoked: {name}")
