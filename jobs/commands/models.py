"""`stockbatch models`: list, look at and take away trained models."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands import context

models = typer.Typer(name="models", no_args_is_help=True, help="See and export trained models.")
Ticker = Annotated[str, typer.Argument(metavar="TICKER")]


@models.command("list")
def list_() -> None:
    """Show the model in use of every ticker."""
    from jobs.app import running
    from stockbatch.store import models as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        rows = store.summaries(db)
    columns = [("ticker", "left"), ("model", "right"), ("trained through", "left")]
    columns += [("reason", "left"), ("best epoch", "right"), ("validation loss", "right")]
    context.show_table(
        f"{len(rows)} models",
        columns,
        [
            (r.ticker, r.id, r.last_session, r.reason, r.best_epoch, _number(r.validation_loss))
            for r in rows
        ],
    )


@models.command()
def show(ticker: Ticker) -> None:
    """Show everything known of a ticker's model in use."""
    from jobs.app import running
    from stockbatch.store import models as store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        row = store.details(db, ticker)
    columns = [("", "left"), ("", "left")]
    context.show_table(f"model of {ticker}", columns, list(row.items()))


@models.command()
def export(
    ticker: Ticker,
    file: Annotated[Path, typer.Argument(metavar="FILE.keras")],
) -> None:
    """Write a ticker's model as an ordinary Keras file; its input is described by `models show`."""
    from jobs.app import running
    from stockbatch.store import models as store

    if file.suffix != ".keras":
        raise typer.BadParameter("the file's name must end in .keras")
    with running(context.settings(), create=False) as app:
        with app.transaction() as db:
            model = store.champion(db, ticker)
        from stockbatch import lstm
        from stockbatch.config import ModelSettings

        lstm.export(model.weights, ModelSettings.model_validate(model.parameters), file)
    typer.echo(f"{file}: model {model.id} of {ticker}, trained through {model.last_session}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
