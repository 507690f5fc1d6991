"""`stockbatch runs`, `retry` and `backfill`: what ran, what to run again, what never ran."""

from datetime import date
from typing import Annotated, Literal

import typer

from jobs.commands import context, options


def runs(
    run_id: Annotated[int | None, typer.Argument(metavar="ID", help="One run in detail.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
) -> None:
    """Show the last runs, or what became of the tickers of one."""
    from jobs.app import running
    from stockbatch.exceptions import UnknownRun
    from stockbatch.records import Action
    from stockbatch.store import runs as run_store

    with running(context.settings(), create=False) as app, app.transaction() as db:
        found = run_store.history(db, limit, run_id)
        reasons = run_store.reasons(db, run_id) if run_id is not None else []
    if run_id is not None and not found:
        raise UnknownRun(run_id=run_id)
    columns = [("id", "right"), ("exchange", "left"), ("session", "left"), ("started", "left")]
    columns += [("trigger", "left"), ("status", "left"), ("tries", "right"), ("tickers", "right")]
    columns += [(action, "right") for action in Action]
    context.show_table(
        "runs",
        [*columns, ("message", "left")],
        [
            (
                *(row[c] for c in ("id", "calendar", "session")),
                f"{row['started_at']:%Y-%m-%d %H:%M}",
                *(row[c] for c in ("trigger", "status", "tries", "instruments")),
                *(row[c] for c in (*Action, "message")),
            )
            for row in found
        ],
    )
    if run_id is not None:
        names = ("action", "reason", "tickers", "first_ticker", "message")
        context.show_table(
            "outcomes",
            [(name.replace("_", " "), "right" if name == "tickers" else "left") for name in names],
            [tuple(row[name] for name in names) for row in reasons],
        )


def retry(exchange: options.ExchangeArgument = None) -> None:
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
        typer.echo("nothing is due")


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

    if first > last:
        raise typer.BadParameter("--from is after --to")
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
                    typer.echo(f"{code}: nothing to run")
