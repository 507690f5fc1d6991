"""`stockbatch models`: list, look at, choose and take away trained models."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words
from stockbatch.text import counted

if TYPE_CHECKING:
    from jobs.commands.tables import Row

NAMES = (
    *("ticker", "id", "kind", "parent_id", "last_session", "reason", "verdict", "pruned"),
    *("in_use_from", "in_use_because", "validation_loss", "comparison_loss", "base_loss"),
    *("champion_loss", "gain", "gain_error"),
)
"""What JSON and CSV hold of a model."""
models = typer.Typer(name="models", no_args_is_help=True, help="See, choose and export models.")


@models.command("list")
def list_(
    ticker: options.AnyTicker = None,
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """Show the model in use of every ticker, or all that one ticker has had."""
    from jobs.app import running
    from stockbatch.exceptions import NoModel
    from stockbatch.store import models as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        network = app.settings.model.network
        rows = store.of_ticker(db, ticker, network) if ticker else store.summaries(db, network)
    if ticker and not rows:
        raise NoModel(ticker=ticker, when="")
    columns = [
        words("ticker"),
        number("model", "id"),
        words("kind"),
        number("base", "parent_id", wide=True),
        words("trained through", "last_session"),
        words("reason", wide=True),
        words("verdict", folds=True),
        words("in use from", _used),
        words("because", "in_use_because", wide=True),
        number("validation loss", lambda row: _number(row["validation_loss"]), wide=True),
        number("comparison loss", lambda row: _number(row["comparison_loss"]), wide=True),
        number("base's", lambda row: _number(row["base_loss"]), wide=True),
        number("champion's", lambda row: _number(row["champion_loss"]), wide=True),
        number("gain on base", _gain),
    ]
    known = [row._asdict() for row in rows]
    title = f"{counted(len(known), 'model')} of {network}"
    tables.show(title, columns, known, NAMES, layout, wide=wide)


def _used(row: Row) -> str | None:
    if row["pruned"] or not row["in_use_from"]:
        return "pruned" if row["pruned"] else None
    return f"{row['in_use_from']}"


@models.command()
def show(ticker: options.Ticker) -> None:
    """Show everything known of a ticker's model in use."""
    from jobs.app import running
    from jobs.words import rounded
    from stockbatch.store import models as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        row = store.details(db, ticker, app.settings.model.network)
    known = [(name, rounded(name, value)) for name, value in row.items()]
    tables.facts(f"model of {ticker}", known)


@models.command()
def promote(
    ticker: options.Ticker,
    model: Annotated[int, typer.Argument(metavar="MODEL_ID")],
    first: Annotated[
        date | None,
        options.day(
            "--from", about="First session to forecast from with it; default: the next run's."
        ),
    ] = None,
) -> None:
    """Put a model of your choice into use; it stays until a run trains and promotes another."""
    from jobs.app import running
    from jobs.models import promote as promote_models

    with running(context.settings(), create=False) as app:
        since = promote_models.promote(app, ticker, model, first)
    context.say(f"{ticker}: model {model} is in use from {since} on")


@models.command()
def rollback(ticker: options.Ticker) -> None:
    """Put the model in use before back into use; once more goes further back."""
    from jobs.app import running
    from jobs.models import promote as promote_models

    with running(context.settings(), create=False) as app:
        model, since = promote_models.roll_back(app, ticker)
    context.say(f"{ticker}: back to model {model}, in use from {since} on")


@models.command()
def export(
    ticker: options.Ticker,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.keras", help="Default: TICKER.keras.")
    ] = None,
) -> None:
    """Write a ticker's model as an ordinary Keras file, with its card and a script beside it."""
    from jobs.app import running
    from jobs.models import takeaway
    from stockbatch.config import choose_keras

    choose_keras()
    file = file or Path(f"{_file_name(ticker)}.keras")
    if file.suffix != ".keras":
        raise typer.BadParameter("the file's name must end in .keras")
    with running(context.settings(), create=False) as app:
        model = takeaway.export(app, ticker, file)
    context.say(f"{file}: model {model.id} of {ticker}, trained through {model.last_session}")
    context.say(
        f"beside it its card, {file.stem}.md and {file.stem}.json, and {takeaway.SCRIPT}, which"
        " feeds it with what 'stockbatch models inputs' writes"
    )


@models.command()
def publish(
    to: Annotated[str, typer.Option(metavar="URI", help="MLflow server, e.g. http://HOST:5000.")],
) -> None:
    """Show every training in MLflow, with the model in use as champion; again: what is new."""
    from jobs.app import running
    from stockbatch.config import choose_keras, choose_mlflow

    context.require("'stockbatch models publish'", "mlflow", extra="mlflow")
    if not to.startswith(("http://", "https://")):
        raise typer.BadParameter("write the server's address: http://HOST:PORT", param_hint="--to")
    choose_keras()
    choose_mlflow()
    from jobs.models import publish as job

    with context.ending(), running(context.settings(), create=False) as app:
        added = job.publish(app, to)
    context.say(
        f"{counted(added.runs, 'run')} and {counted(added.versions, 'version')} added, "
        f"{counted(added.champions, 'champion')} changed"
    )


@models.command()
def inputs(
    ticker: options.Ticker,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.csv", help="Default: TICKER.csv.")
    ] = None,
) -> None:
    """Write what a ticker's model saw when it made the last forecast."""
    from jobs.app import running
    from jobs.models import takeaway

    file = file or Path(f"{_file_name(ticker)}.csv")
    with running(context.settings(), create=False) as app:
        example = takeaway.write_inputs(app, ticker, file)
    context.say(f"{file}: {counted(len(example.inputs), 'session')} up to {example.origin}")
    if example.is_as_stored:
        context.say(f"model {example.model.id} makes of it the raw quantiles that are stored")
    else:
        context.say(
            f"model {example.model.id} makes of it other raw quantiles than are stored: bars have"
            " been corrected since, or another model was in use"
        )


def _file_name(ticker: str) -> str:
    """Return what a ticker's files are called where nobody says it: no folder, and in sight."""
    return re.sub(r"[^\w.^=-]|^[.-]", "_", ticker)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _gain(row: Row) -> str | None:
    """Return a gain on the base, with its standard error, in percent of the base's loss."""
    gain, error, base_loss = row["gain"], row["gain_error"], row["base_loss"]
    if gain is None or error is None or not base_loss:
        return None
    return f"{100 * gain / base_loss:+.2f} ± {100 * error / base_loss:.2f} %"
