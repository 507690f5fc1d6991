"""`stockbatch teams`: readers who see the tickers of one named watchlist, and no others."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import words
from stockbatch.text import counted

teams = typer.Typer(
    name="teams",
    no_args_is_help=True,
    help="Let teams read the views of one named watchlist; for whoever owns the database.",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and _.")]


@teams.command()
def add(
    name: Name,
    watchlist: Annotated[str, typer.Option(help="Named watchlist whose tickers it sees.")],
) -> None:
    """Make the views and the login of a team; after an upgrade once more, for new columns.

    What is put on the watchlist later is seen, too.
    """
    from stockbatch.database import teams as readers

    team = readers.add(context.settings(), name, watchlist)
    context.say(f"{team.login} sees the tickers of {watchlist} in the views of {team.schema}")


@teams.command("list")
def list_(layout: options.Format = "table", wide: options.Wide = False) -> None:
    """Show the teams, their logins and their watchlists."""
    from stockbatch.database import teams as readers

    found = readers.everything(context.settings())
    rows = [
        {"team": one.name, "login": one.login, "schema": one.schema, "watchlist": one.watchlist}
        for one in found
    ]
    columns = [words("team"), words("login"), words("schema"), words("watchlist", folds=True)]
    names = [column.heading for column in columns]
    tables.show(counted(len(rows), "team"), columns, rows, names, layout, wide=wide)


@teams.command()
def url(name: Name) -> None:
    """Print a team's connection URL; the embedded server's with the password."""
    from stockbatch import database
    from stockbatch.database import teams as readers

    typer.echo(database.for_clients(readers.url(context.settings(), name)))


@teams.command()
def remove(name: Name) -> None:
    """Take the views of a team away, and its login's right to connect; watchlist and bars stay."""
    from stockbatch.database import teams as readers

    settings = context.settings()
    team = readers.remove(settings, name)
    context.say(f"{team.schema} is removed")
    if settings.database_url is not None:
        context.say(f"{team.login} may not connect any more; an administrator can drop it")
