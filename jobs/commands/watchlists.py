"""`stockbatch watchlists`: named sets of tickers, for looking at."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words
from stockbatch.text import counted

watchlists = typer.Typer(
    name="watchlists",
    no_args_is_help=True,
    help="Name sets of tickers to look at; what is fetched and forecast is kept by 'tickers'.",
)
Name = Annotated[str, typer.Argument(metavar="NAME")]
Tickers = Annotated[list[str], typer.Argument(metavar="TICKER")]


@watchlists.command()
def add(name: Name, tickers: Tickers) -> None:
    """Put tickers into a named watchlist; the first ones make it."""
    from jobs import watchlist
    from jobs.app import running
    from stockbatch.records import GroupKind

    with running(context.settings(), create=False) as app:
        watchlist.tag(app, tickers, [(GroupKind.WATCHLIST, name)])
    context.say(f"in {name}: {', '.join(tickers)}")


@watchlists.command()
def remove(name: Name, tickers: Tickers) -> None:
    """Take tickers out of a named watchlist; they go on being fetched and forecast."""
    from jobs import watchlist
    from jobs.app import running

    with running(context.settings(), create=False) as app:
        count = watchlist.leave(app, name, tickers)
    context.say(f"{count} of {len(tickers)} taken out of {name}")


@watchlists.command()
def delete(name: Name) -> None:
    """Forget a named watchlist; its tickers go on being fetched and forecast."""
    from jobs import watchlist
    from jobs.app import running

    with running(context.settings(), create=False) as app:
        count = watchlist.leave(app, name, None)
    context.say(f"{name} is forgotten, of {counted(count, 'ticker')}")


@watchlists.command("list")
def list_(layout: options.Format = "table", wide: options.Wide = False) -> None:
    """Show the named watchlists and who is in them."""
    from jobs.app import running
    from stockbatch.records import GroupKind
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        found = bi.groups.members(db, GroupKind.WATCHLIST)
    rows = [
        {"watchlist": name, "number": len(tickers), "tickers": ", ".join(tickers)}
        for (_, name), tickers in found.items()
    ]
    columns = [words("watchlist", folds=True), number("number"), words("tickers", folds=True)]
    names = [column.heading for column in columns]
    tables.show(counted(len(rows), "named watchlist"), columns, rows, names, layout, wide=wide)
