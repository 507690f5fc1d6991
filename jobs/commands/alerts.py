"""`stockbatch alerts`: what is or was wrong, and whether anybody can be told."""

from typing import Annotated

import typer

from jobs.commands import context

alerts = typer.Typer(name="alerts", help="List alerts, or try the channels they go to.")


@alerts.callback(invoke_without_command=True)
def list_(
    chosen: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
) -> None:
    """List the alerts that are on; with --all the last 100."""
    if chosen.invoked_subcommand:
        return
    from jobs.app import running
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        rows = bi.alerts.latest(db, everything=everything).rows()
    columns = [("since", "left"), ("until", "left"), ("condition", "left"), ("what", "left")]
    context.show_table(
        f"{len(rows)} alerts" if everything else f"{len(rows)} alerts are on",
        [*columns, ("untold", "right")],
        [
            (
                f"{row['raised_at']:%Y-%m-%d %H:%M}",
                f"{row['cleared_at']:%Y-%m-%d %H:%M}" if row["cleared_at"] else "",
                row["condition"],
                row["message"],
                row["undelivered"] or "",
            )
            for row in rows
        ],
    )


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
        context.say(f"{channel}: {failure or 'delivered'}")
    if any(answers.values()):
        raise typer.Exit(1)
