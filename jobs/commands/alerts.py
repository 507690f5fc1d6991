"""`stockbatch alerts`: what is or was wrong, and whether anybody can be told."""

from typing import Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words
from stockbatch.text import counted

alerts = typer.Typer(name="alerts", help="List alerts, or try the channels they go to.")


@alerts.callback(invoke_without_command=True)
def list_(
    chosen: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """List the alerts that are on; with --all the last 100."""
    if chosen.invoked_subcommand:
        return
    from jobs.app import running
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        found = bi.alerts.latest(db, everything=everything)
    columns = [
        words("since", lambda row: f"{row['raised_at']:%Y-%m-%d %H:%M}"),
        words("until", lambda row: row["cleared_at"] and f"{row['cleared_at']:%Y-%m-%d %H:%M}"),
        words("condition"),
        words("what", "message", folds=True),
        number("untold", lambda row: row["undelivered"] or None),
    ]
    title = counted(len(found.values), "alert") + ("" if everything else " on")
    tables.show(title, columns, found.rows(), found.columns, layout, wide=wide)


@alerts.command()
def test() -> None:
    """Send one alert that means nothing to every channel of `alert_urls`."""
    from jobs.app import running
    from jobs.daemon import alerts as job
    from stockbatch.exceptions import ConfigurationError

    settings = context.settings()
    if not settings.alert_urls:
        raise ConfigurationError(
            source="settings", key="alert_urls", reason="empty: name a channel, e.g. mailto://…"
        )
    context.require("the setting alert_urls", "apprise", extra="alerts")
    with running(settings, create=False) as app:
        answers = job.test(app)
    for channel, failure in answers.items():
        context.answer(f"{channel}: {failure or 'delivered'}")
    if any(answers.values()):
        raise typer.Exit(1)
