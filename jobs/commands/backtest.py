"""`stockbatch backtest`: forecasts of the past by the production code, scored."""

from datetime import date
from typing import Annotated

import typer

from jobs.commands import context, options
from stockbatch.text import counted


def backtest(
    first: Annotated[date, options.day("--from", about="First origin.")],
    last: Annotated[date, options.day("--to", about="Last origin.")],
    tickers: options.Tickers = None,
    exchange: options.Exchange = None,
    retrain_every: Annotated[
        int | None, typer.Option(min=1, help="Sessions between trainings of a ticker.")
    ] = None,
    base_every: Annotated[
        int | None, typer.Option(min=1, help="Sessions between trainings of the base model.")
    ] = None,
) -> None:
    """Walk forward over past sessions and record and score what would have been forecast."""
    from jobs.app import running
    from jobs.daily.choice import calendars_of
    from jobs.isolation import one_by_one
    from jobs.replay import backtest as job

    options.require_span(first, last)
    settings = context.settings(
        exchange=exchange, retrain_after_sessions=retrain_every, base_after_sessions=base_every
    )
    with running(settings) as app:
        codes = calendars_of(app, settings.exchange, tickers)
        with one_by_one() as each:
            for code in codes:
                with each():
                    for done in job.backtest(app, code, first, last, tickers=tickers):
                        context.say(
                            f"{done.first} to {done.last}: {counted(done.added, 'forecast')} added"
                        )
    context.say("scored; 'stockbatch accuracy' sums it up")
