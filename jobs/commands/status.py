"""`stockbatch status`: which database, what is in it, what ran last."""

from __future__ import annotations

import typer

from jobs.commands import accuracy, context, options, tables
from jobs.commands.history import outcomes
from jobs.commands.tables import number, words

RUNS = 10
"""Runs that are shown."""


def status(layout: options.Format = "table", wide: options.Wide = False) -> None:
    """Show the database in use, the watchlist, what is missing, the last runs, how good it was."""
    from jobs import refresh
    from jobs.app import running
    from stockbatch import database
    from stockbatch.market import calendars
    from stockbatch.store import bi, issues
    from stockbatch.store.totals import totals

    settings = context.settings()
    with running(settings, create=False) as app, app.transaction() as db:
        facts = [("database", database.redacted(app.engine.url)), *totals(db).items()]
        facts.append(("network", settings.model.network))
        facts.append(("events", refresh.freshness(db, settings, app.clock())))
        good = accuracy.summary(accuracy.found(db, None, accuracy.WINDOW))
        facts += [("accuracy", one) for one in good]
        facts += [("warning", f"{one.calendar}: {one}") for one in bi.completeness.shortfalls(db)]
        facts += [("warning", one) for one in calendars.doubts(issues.off_calendar(db))]
        runs = bi.runs.latest(db, RUNS).rows()
    if layout != "table":
        rows = [{"name": name, "value": value} for name, value in facts]
        tables.export(("name", "value"), rows, layout)
        return
    for name, value in facts:
        context.answer(f"{name}: {value}")
    columns = [
        words("exchange", "calendar"),
        words("session"),
        words("started", lambda row: f"{row['started_at']:%Y-%m-%d %H:%M}", wide=True),
        words("status"),
        number("seconds", lambda row: _seconds(row["duration_seconds"])),
        number("tickers", "instruments"),
        words("outcomes", outcomes, folds=True),
        words("message", folds=True),
    ]
    if runs:
        typer.echo("")
        tables.show("last runs", columns, runs, (), wide=wide)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"
