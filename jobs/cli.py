"""The `stockbatch` command: what a user types, and the one line said when it cannot be done."""

import inspect
import io
import logging
import os
import sys
import traceback
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from jobs.commands import context
from jobs.commands.accuracy import accuracy
from jobs.commands.alerts import alerts
from jobs.commands.api import api
from jobs.commands.backtest import backtest
from jobs.commands.cluster import cluster
from jobs.commands.config import config
from jobs.commands.daemon import daemon, pause, resume, schedule
from jobs.commands.dashboard import dashboard
from jobs.commands.database import db, migrate
from jobs.commands.demo import demo
from jobs.commands.doctor import doctor
from jobs.commands.events import events
from jobs.commands.export import export
from jobs.commands.fetch import fetch
from jobs.commands.forecasts import forecasts
from jobs.commands.headline import headline
from jobs.commands.history import backfill, retry, runs
from jobs.commands.models import models
from jobs.commands.news import news
from jobs.commands.portfolios import portfolios
from jobs.commands.providers import providers
from jobs.commands.prune import prune
from jobs.commands.quality import quality
from jobs.commands.report import report
from jobs.commands.run import run
from jobs.commands.status import status
from jobs.commands.teams import teams
from jobs.commands.tickers import tickers
from jobs.commands.tokens import tokens
from jobs.commands.tune import tune
from jobs.commands.watchlists import watchlists
from stockbatch.text import printable

INTERRUPTED = 130
UNEXPECTED = 70

PANELS: dict[str, tuple[Any, ...]] = {
    "Forecasts": (demo, run, status, forecasts, accuracy, runs, doctor),
    "Watchlist and bars": (
        *(tickers, watchlists, portfolios, events, news),
        *(providers, fetch, quality),
    ),
    "By itself": (daemon, schedule, pause, resume, retry, backfill, alerts, cluster),
    "For others to see": (dashboard, report, export, api, tokens, teams),
    "Models": (models, headline, backtest, tune),
    "Database and settings": (db, migrate, prune, config),
}
"""Commands as the help groups them."""

app = typer.Typer(
    name="stockbatch",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Daily bars in, next-session forecasts with intervals and scores out, in PostgreSQL. "
    "Not investment advice.",
)
for panel, commands in PANELS.items():
    for command in commands:
        if isinstance(command, typer.Typer):
            app.add_typer(command, rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(command)


def _flow(commands: typer.Typer) -> None:
    """Let the terminal break the lines of every help; all but the first paragraph kept theirs."""
    for command in commands.registered_commands:
        words = inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(part.split()) for part in words.split("\n\n"))
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _flow(group.typer_instance)


_flow(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stockbatch {version('stockbatch')}")
        raise typer.Exit


@app.callback()
def common(
    config: Annotated[
        Path | None, typer.Option(help="Settings file; default: stockbatch.toml in the home.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. model.units=32."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say only what is asked for, or wrong.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    _: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Show the version."),
    ] = False,
) -> None:
    """Take what every command has in common."""
    from jobs import logs

    logs.configure(logging.INFO if verbose else logging.WARNING, progress=not quiet)
    context.choose(config, settings or [], debug=debug, quiet=quiet)


def main() -> None:
    """Run the command line and end with its exit status."""
    _have_streams()
    if sys.flags.optimize >= 2:
        _end(
            "error: Python was told to forget all docstrings, which are what this program says:"
            " start it without -OO, and without PYTHONOPTIMIZE",
            2,
        )
    try:
        status = app(standalone_mode=False)
    except Exception as error:  # noqa: BLE001 (the one place where a user is told)
        # Imported only now: `--help` answers at once.
        from stockbatch.exceptions import StockbatchError

        if context.debug():
            traceback.print_exc()
        if isinstance(error, StockbatchError):
            _end(f"error: {error}", error.exit_code)
        if hasattr(error, "format_message"):
            _usage(error)
        name = type(error).__name__
        _end(f"unexpected {name}: {error} ('stockbatch --debug …' shows where)", UNEXPECTED)
    if status == INTERRUPTED:  # Typer's word for a KeyboardInterrupt
        _end("interrupted: what was committed stays, the same command goes on from there", status)
    sys.exit(status)


def _have_streams() -> None:
    """Have all three standard streams, whoever closed them, and any text go through them."""
    # What is opened first gets the number of a closed one: errors would go to the database.
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _usage(error: Any) -> NoReturn:
    """End because of what was typed: with what is wrong about it, or with the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(error.exit_code)
    hint = f" ('{error.ctx.command_path} --help' tells more)" if error.ctx else ""
    message = error.format_message().replace("Value error, ", "")
    _end(f"error: {message}{hint}", error.exit_code)


def _end(message: str, status: int) -> NoReturn:
    with suppress(OSError):  # whoever cannot be told sees the status
        typer.echo(printable(" ".join(message.split())), err=True)
    sys.exit(status)
