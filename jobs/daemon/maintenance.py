"""Refit base models that are about to expire, when there is time: otherwise a daily run does it."""

import logging

from jobs.app import App
from jobs.daily.ledger import carry_out
from jobs.isolation import one_by_one
from jobs.models.base import train_base
from stockbatch.engine.material import sessions_needed
from stockbatch.market import sessions
from stockbatch.records import Run, RunStatus, Trigger
from stockbatch.store import instruments, market, runs

log = logging.getLogger(__name__)

AHEAD = 5
"""Sessions until the next time: a base that lasts as long is left alone."""


def refit_bases(app: App) -> None:
    """Refit the base of every exchange whose last session is finished.

    It belongs to the run of that session, which is reopened: a process that has lost the run cannot
    write it. Raises RunInProgress, when all other exchanges are done.
    """
    with app.transaction() as db:
        codes = list(instruments.exchanges(db))
    with one_by_one() as each:
        for code in codes:
            app.checkpoint()
            with each():
                _refit(app, code)


def _refit(app: App, code: str) -> None:
    calendar = sessions.load(code, app.clock().date())
    session = calendar.last_closed(app.clock(), app.settings.close_delay(code))
    window = calendar.window(session, sessions_needed(app.settings))

    def refit(run: Run) -> bool:
        with app.transaction() as db:
            known = market.load(db, code, window)
        base = train_base(app, run, window, known, demo=False, ahead=AHEAD)
        age = base.age(window) if base else 0
        log.info("%s: base model of %s, %d sessions old", code, session, age)
        return False  # the run itself keeps its end

    with app.exclusive(code):
        with app.transaction() as db:
            last = runs.last_tries(db, code, session).get(session)
        if (
            last is not None and last.status == RunStatus.FINISHED
        ):  # otherwise its own run comes first
            carry_out(app, calendar, session, refit, trigger=Trigger.SCHEDULE)
