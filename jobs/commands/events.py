"""`stockbatch events`: dates of reports and other events."""

from typing import Annotated

import typer

from jobs.commands import context

events = typer.Typer(name="events", no_args_is_help=True, help="Dates of reports and other events.")


@events.command()
def refresh(
    tickers: Annotated[list[str] | None, typer.Argument(metavar="TICKER")] = None,
) -> None:
    """Ask the sources of the setting `event_sources` for dates of reports, of all or of some.

    The daemon does it by itself. Ends with status 4 if a source was asked and none answered.
    """
    from jobs import refresh as job
    from jobs.app import running
    from stockbatch.exceptions import ConfigurationError, ProviderError

    settings = context.settings()
    if not settings.event_sources:
        reason = "nobody is named: yahoo, alpha_vantage and edgar are there to be asked"
        raise ConfigurationError(source="settings", key="event_sources", reason=reason)
    job.require_sources(settings)
    with running(settings, create=False) as app:
        done = job.refresh_events(app, tickers=tickers)
    for one in done:
        context.say(one)
    if not done:
        typer.echo(f"none of the tickers is one that {', '.join(settings.event_sources)} covers")
    elif not any(one.answered for one in done):
        raise typer.Exit(ProviderError.exit_code)
