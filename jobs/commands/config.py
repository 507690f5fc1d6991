"""`stockbatch config`: what is set, and where it is set."""

import typer

from jobs.commands import context

config = typer.Typer(name="config", no_args_is_help=True, help="Show the settings.")


@config.callback()
def group() -> None:
    """Show the settings."""


@config.command()
def show() -> None:
    """Print every setting as TOML; passwords are hidden."""
    from stockbatch.config import describe

    typer.echo(describe(context.settings()))
