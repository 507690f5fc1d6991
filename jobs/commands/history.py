"""`stockbatch runs`, `retry` and `backfill`: what ran, what to run again, what never ran."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words

if TYPE_CHECKING:
    from jobs.commands.tables import Row

NAMES = (
    *("id", "calendar", "session", "trigger", "status", "tries", "started_at", "finished_at"),
    *("instruments", "trained", "reused", "base", "naive", "none", "message"),
)
"""What JSON and CSV hold of a run."""


def runs(
    run_id: Annotated[int | None, typer.Argument(metavar="ID", help="One run in detail.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """Show the last runs, or what became of the tickers of one."""
    from jobs.app import running
    from stockbatch.exceptions import UnknownRun
    from stockbatch.store import runs as run_store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        found = run_store.history(db, limit, run_id)
        reasons = run_store.reasons(db, run_id) if run_id is not None else []
    if run_id is not None and not found:
        raise UnknownRun(run_id=run_id)
    columns = [
        number("id"),
        words("exchange", "calendar"),
        words("session"),
        words("started", lambda row: f"{row['started_at']:%Y-%m-%d %H:%M}", wide=True),
        words("trigger", wide=True),
        words("status"),
        number("tries", wide=True),
        number("tickers", "instruments"),
        words("outcomes", outcomes, folds=True),
        words("message", folds=True),
    ]
    tables.show("runs", columns, found, NAMES, layout, wide=wide)
    if run_id is not None and layout == "table":
        of_tickers = [
            words("action"),
            words("reason"),
            number("tickers"),
            words("first ticker", "first_ticker"),
            words("message", folds=True),
        ]
        tables.show("outcomes", of_tickers, reasons, ())


def outcomes(row: Row) -> str:
    """Return how many tickers of a run ended how, in words."""
    from stockbatch.records import Action

    return ", ".join(f"{row[action]} {action}" for action in Action if row[action])


def retry(exchange: options.ExchangeOrAll = None) -> None:
    """Run what failed or waits for bars now, without waiting for its turn."""
    from jobs.app import running
    from jobs.replay import backfill as job
    from stockbatch.store.pauses import ALL

    done = 0
    with running(context.settings()) as app:
        for summary in job.retry(app, None if exchange == ALL else exchange):
            context.say(summary)
            done += 1
    if not done:
        context.say("nothing is due")


def backfill(
    first: Annotated[date, options.day("--from", about="First session.")],
    last: Annotated[date, options.day("--to", about="Last session.")],
    exchange: options.Exchange = None,
    reprocess: Annotated[
        Literal["none", "failed", "completed"],
        typer.Option(help="Run failed, or even completed, sessions once more."),
    ] = "none",
    dry_run: Annotated[bool, typer.Option(help="Only say what would be run.")] = False,
) -> None:
    """Run the sessions of the past that never ran; their forecasts are late, never live."""
    from jobs.app import running
    from jobs.isolation import one_by_one
    from jobs.replay import backfill as job
    from stockbatch.store import instruments

    options.require_span(first, last)
    with running(context.settings()) as app:
        with app.transaction() as db:
            codes = [exchange] if exchange else list(instruments.exchanges(db))
        with one_by_one() as each:
            for code in codes:
                steps = job.survey(app, code, first, last, job.Reprocess(reprocess))
                for step in steps if dry_run else ():
                    verb = "run" if step.chosen else "leave"
                    typer.echo(f"{step.calendar} {step.session} is {step.state}: would {verb} it")
                with each():
                    for summary in () if dry_run else job.backfill(app, steps):
                        context.say(summary)
                if not any(step.chosen for step in steps):
                    context.say(f"{code}: nothing to run")
