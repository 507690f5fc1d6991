"""`stockbatch headline`: which method is shown first, and from which session on."""

from datetime import date
from typing import Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import words

headline = typer.Typer(
    name="headline", no_args_is_help=True, help="See and choose the method that is shown first."
)


@headline.command("list")
def list_(layout: options.Format = "table", wide: options.Wide = False) -> None:
    """Show every change: of a session the last one from it, or from before it, counts."""
    from jobs.app import running
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        found = bi.headlines.changes(db)
    columns = [
        words("from session", lambda row: row["from_session"] or "the beginning"),
        words("method"),
        words("title", folds=True),
        words("set", lambda row: f"{row['set_at']:%Y-%m-%d %H:%M}"),
    ]
    tables.show("headline", columns, found.rows(), found.columns, layout, wide=wide)


@headline.command("set")
def set_(
    method: Annotated[str, typer.Argument(metavar="METHOD")],
    first: Annotated[
        date | None,
        options.day(
            "--from", about="First target session to show it for; default: the next one forecast."
        ),
    ] = None,
) -> None:
    """Show a method first from a session on that has not been forecast yet; history stays.

    Where it makes no forecast of a ticker, lstm is shown, or else rolling_quantile.
    """
    from jobs.app import running
    from stockbatch.exceptions import UnsuitableHeadline
    from stockbatch.methods import registry
    from stockbatch.store import headlines, methods

    possible = registry.possible_headlines()
    if method not in possible:
        what = "it states no intervals" if method in registry.methods() else "it is not installed"
        reason = f"{what}; choose one of {', '.join(possible)}"
        raise UnsuitableHeadline(method=method, when="", reason=reason)
    with running(context.settings(), create=False) as app, app.transaction() as db:
        methods.add_missing(db, registry.described())
        since = headlines.change(db, method, first)
    when = "from the beginning" if since == date.min else f"from {since} on"
    context.say(f"{method} is shown first {when}")
