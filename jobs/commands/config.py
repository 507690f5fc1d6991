"""`stockbatch config`: what is set, and whether it can be."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from jobs.commands import context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stockbatch.config import Settings
    from stockbatch.exceptions import StockbatchError

config = typer.Typer(name="config", no_args_is_help=True, help="Show and check the settings.")


@config.callback()
def group() -> None:
    """Show and check the settings."""


@config.command()
def show() -> None:
    """Print every setting as TOML; passwords are hidden."""
    from stockbatch import database
    from stockbatch.config.text import describe
    from stockbatch.providers import registry

    typer.echo(describe(context.settings(), registry.models(), database.shown))


@config.command()
def template() -> None:
    """Print a settings file with every setting and what it is for, ready to be changed."""
    from stockbatch.config import text as settings_file
    from stockbatch.providers import registry

    typer.echo(settings_file.template(registry.models()), nl=False)


@config.command()
def check() -> None:
    """Check file, environment and options; name all that is wrong at once, connect to nothing."""
    from stockbatch.providers import registry

    wrong = [*context.problems(), *registry.broken()]
    wrong = wrong or list(_unusable(context.settings()))
    for error in wrong:
        typer.echo(f"wrong  {error}")
    if wrong:
        raise typer.Exit(wrong[0].exit_code)
    typer.echo("ok: the settings can be used; 'stockbatch doctor' tries what they name")


def _unusable(settings: Settings) -> Iterator[StockbatchError]:
    """Yield what only those who use a setting find wrong with it."""
    from stockbatch.exceptions import ConfigurationError, StockbatchError

    for key, check in _checks(settings):
        try:
            check()
        except ConfigurationError as error:
            yield error
        except StockbatchError as error:
            yield ConfigurationError(source="settings", key=key, reason=error)


def _checks(settings: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what uses a setting, without connecting to anything."""
    from jobs.daemon.triggers import crontab
    from stockbatch import database
    from stockbatch.market import sessions
    from stockbatch.news import registry as news
    from stockbatch.providers import registry
    from stockbatch.records import Chore

    for key in Chore:
        yield key, partial(crontab, settings, key)
    if settings.database_url is not None:
        yield "database_url", partial(database.url, settings)
    yield "provider", lambda: registry.create(settings.provider, settings).close()
    for name in settings.event_sources:
        yield "event_sources", partial(_source, settings, name)
    for name in settings.news_sources:
        yield "news_sources", partial(news.kind, name)
    if settings.exchange:
        yield "exchange", partial(sessions.canonical, settings.exchange)
    for code in settings.exchanges:
        yield f"exchanges.{code}", partial(_canonical, code)
    for number, url in enumerate(settings.alert_urls, start=1):
        yield "alert_urls", partial(_can_alert, number, url.get_secret_value())


def _source(settings: Settings, name: str) -> None:
    """Raise what a source of events lacks."""
    from stockbatch.events import registry
    from stockbatch.events.base import SourceSetup

    registry.state(name, SourceSetup(settings=settings))


def _canonical(code: str) -> None:
    """Raise ConfigurationError unless runs know an exchange by this code."""
    from stockbatch.exceptions import ConfigurationError
    from stockbatch.market import sessions

    if (known := sessions.canonical(code)) != code:
        reason = f"runs know this exchange as {known}: write [exchanges.{known}]"
        raise ConfigurationError(source="settings", key=f"exchanges.{code}", reason=reason)


def _can_alert(number: int, url: str) -> None:
    """Raise ConfigurationError, which repeats nothing of a URL, unless Apprise can read it."""
    from stockbatch.exceptions import ConfigurationError

    context.require("alert_urls", "apprise", extra="alerts")
    import apprise

    with apprise.LogCapture():  # type: ignore[no-untyped-call]  # its words repeat the URL
        if not apprise.Apprise().add(url):
            reason = f"number {number} is not a URL that Apprise knows"
            raise ConfigurationError(source="settings", key="alert_urls", reason=reason)
