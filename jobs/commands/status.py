"""`stockbatch status`: which database, what is in it, what ran last."""

import typer

from jobs.commands import context

WINDOW = 250
"""Sessions of the accuracy shown."""
METRICS = ("mae", "mae_return", "directional_accuracy", "pinball", "coverage_80", "coverage_95")
"""Those that are shown."""


def status() -> None:
    """Show the database in use, the watchlist, the last runs and the accuracy so far."""
    from jobs import refresh
    from jobs.app import running
    from stockbatch import database
    from stockbatch.market import calendars
    from stockbatch.records import Action
    from stockbatch.store import bi, issues
    from stockbatch.store.totals import totals

    settings = context.settings()
    with running(settings, create=False) as app, app.transaction() as db:
        typer.echo(f"database: {database.redacted(app.engine.url)}")
        for name, value in totals(db).items():
            typer.echo(f"{name}: {value}")
        context.say(f"events: {refresh.freshness(db, settings, app.clock())}")
        runs = bi.runs.latest(db, 10).rows()
        accuracy = bi.accuracy.of_calendars(db, WINDOW).rows()
        off = issues.off_calendar(db)
    for sentence in calendars.doubts(off):
        context.say(f"warning: {sentence}")
    columns = [("exchange", "left"), ("session", "left"), ("status", "left"), ("started", "left")]
    columns += [(c, "right") for c in ("seconds", "tickers", *Action)]
    context.show_table(
        "last runs",
        [*columns, ("message", "left")],
        [
            (
                r["calendar"],
                r["session"],
                r["status"],
                f"{r['started_at']:%Y-%m-%d %H:%M}",
                None if r["duration_seconds"] is None else f"{r['duration_seconds']:.1f}",
                *(r[c] for c in ("instruments", *Action, "message")),
            )
            for r in runs
        ],
    )
    if accuracy:
        accuracy_table(f"accuracy over all tickers, last {WINDOW} sessions", accuracy)


def accuracy_table(title: str, rows: list[dict[str, object]]) -> None:
    """Print those rows of bi.accuracy that tell people most."""
    columns = [("ticker", "left"), ("method", "left"), ("kind", "left"), ("window", "right")]
    columns += [("metric", "left")]
    columns += [(name, "right") for name in ("forecasts", "value", "baseline", "skill")]
    context.show_table(
        title,
        columns,
        [
            (
                r["ticker"] or f"all of {r['calendar']}",
                *(r[c] for c in ("method", "kind", "window_sessions", "metric", "n")),
                f"{r['value']:.5g}",
                "" if r["baseline"] is None else f"{r['baseline']:.5g}",
                "" if r["skill_pct"] is None else f"{r['skill_pct']:+.2f} %",
            )
            for r in rows
            if r["metric"] in METRICS
        ],
    )
