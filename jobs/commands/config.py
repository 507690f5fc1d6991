"""`stockbatch config`: what is set, and whether it can be."""

import typer

from jobs.commands import context

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
    for error in wrong:
        typer.echo(f"wrong  {error}")
    if wrong:
        raise typer.Exit(wrong[0].exit_code)
    context.settings()
    typer.echo("ok: the settings can be used; 'stockbatch doctor' tries what they name")
