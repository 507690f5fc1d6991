"""`stockbatch daemon` and what steers it: schedule, pause, resume."""

from __future__ import annotations

import logging
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import words

if TYPE_CHECKING:
    from jobs.app import App

FIRINGS = 3
"""Of every trigger, shown by `schedule`."""
WAIT = 5.0
"""Seconds between attempts to find a database at the start."""
log = logging.getLogger(__name__)


def daemon(
    address: Annotated[
        str | None,
        options.address("Where to be watched; default: the setting `monitoring_address`."),
    ] = None,
) -> None:
    """Run what is due after every close, until told to stop (SIGTERM, Ctrl-C)."""
    from jobs.app import running
    from jobs.care import prune
    from jobs.daemon import alerts
    from jobs.daemon import health as monitoring
    from jobs.daemon.loop import Care, run_daemon
    from jobs.daemon.signals import AT_ONCE
    from stockbatch import config
    from stockbatch.exceptions import DatabaseBusy, DatabaseUnavailable, MigrationInProgress

    settings = context.settings(monitoring_address=address)
    if settings.alert_urls:  # said now, not by a thread when the first alert is due
        context.require("the setting alert_urls", "apprise", extra="alerts")
    # Without a handler the first process of a container would not even notice.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(AT_ONCE))
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)

    def tidy(app: App) -> None:
        alerts.review_commits(app)
        prune.prune_news(app)
        prune.vacuum(app)

    care = Care(
        review=alerts.review,
        serving=monitoring.serving,
        prune=prune.prune_calendar,
        vacuum=tidy,
    )
    while True:
        try:
            with running(settings) as app:
                return run_daemon(app, care, config.service_manager())
        except (DatabaseUnavailable, DatabaseBusy, MigrationInProgress) as error:
            log.warning("%s; trying again in %g s", error, WAIT)
            time.sleep(WAIT)


def schedule(layout: options.Format = "table", wide: options.Wide = False) -> None:
    """Show when the daemon wakes up next, and what is due or waits already."""
    from jobs.app import running
    from jobs.daemon import agenda
    from jobs.daemon.triggers import firings
    from stockbatch.records import Kind
    from stockbatch.store import pauses

    with running(context.settings(), create=False) as app:
        now = app.clock()
        exchanges = agenda.load(app)
        plan = agenda.plan(exchanges, now, app.settings)
        with app.transaction() as db:
            paused = pauses.since(db)
        codes = [exchange.calendar.code for exchange in exchanges]
        coming = firings(codes, app.settings, now, FIRINGS)
    said = [
        f"{word}: {one.calendar} {one.session}, forecasts {Kind.LIVE if one.live else Kind.LATE}"
        for word, sessions in (("due", plan.due), ("waits to be tried again", plan.waiting))
        for one in sessions
    ]
    said += [f"paused: {code} since {since:%Y-%m-%d %H:%M} UTC" for code, since in paused.items()]
    firings_ = [{"at": firing.at, "what": firing.what} for firing in coming]
    if layout != "table":
        tables.export(
            ("at", "what"), [*({"at": None, "what": one} for one in said), *firings_], layout
        )
        return
    if coming:
        typer.echo(f"the daemon wakes up next at {coming[0].at:%a %Y-%m-%d %H:%M} UTC")
    columns = [words("UTC", lambda row: f"{row['at']:%a %Y-%m-%d %H:%M}"), words("what")]
    tables.show("next firings", columns, firings_, (), wide=wide)
    for line in said:
        context.answer(line)


def pause(exchange: options.ExchangeOrAll = None) -> None:
    """Let the daemon leave an exchange alone; what it misses is caught up later."""
    from jobs.app import running
    from stockbatch.store import pauses

    code = exchange or pauses.ALL
    with running(context.settings()) as app, app.transaction() as db:
        pauses.begin(db, code)
    context.say(f"paused: {code} ('stockbatch resume' ends it)")


def resume(exchange: options.ExchangeOrAll = None) -> None:
    """End a pause; without an exchange, every pause."""
    from jobs.app import running
    from stockbatch.store import pauses

    code = exchange or pauses.ALL
    with running(context.settings()) as app, app.transaction() as db:
        pauses.end(db, code)
        left = pauses.since(db)
    context.say(f"still paused: {', '.join(left)}" if left else "nothing is paused")
