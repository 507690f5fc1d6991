"""`stockbatch config`: what is set, and whether it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from jobs.commands import context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stockbatch.config import Settings
    from stockbatch.exceptions import StockbatchError

config = typer.Typer(name="config", no_args_is_help=True, help="Show and check the settings.")


@config.callback()
def group() -> None:
    """Show and check the settings."""


@config.command()
def show() -> None:
    """Print every setting as TOML; passwords are hidden."""
    from stockbatch.config.text import describe
    from stockbatch.providers import registry

    typer.echo(describe(context.settings(), registry.models()))


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
    from jobs.daemon.triggers import crontab
    from stockbatch import database
    from stockbatch.exceptions import ConfigurationError

    for key in ("base_refit", "maintenance"):
        try:
            crontab(settings, key)
        except ConfigurationError as error:
            yield error
    if settings.database_url is not None:
        try:
            database.url(settings)
        except ConfigurationError as error:
            yield error
