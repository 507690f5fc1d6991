"""Refit base models that are about to expire, when there is time: otherwise a daily run does it."""

import logging

from jobs.app import App
from jobs.daily.ledger import carry_out
from jobs.models.base import loading, train_base
from stockbatch.engine.material import sessions_needed
from stockbatch.market import sessions
from stockbatch.records import Run, RunStatus, Trigger
from stockbatch.store import market, models, runs

log = logging.getLogger(__name__)

AHEAD = 5
"""Sessions until the next time: a base that lasts as long is left alone."""


def refit_base(app: App, code: str) -> bool:
    """Refit the base of an exchange if it is about to expire; False: its own run comes first.

    It belongs to the run of the last session, which is reopened: a process that has lost the run
    cannot write it. Raises RunInProgress.
    """
    calendar = sessions.load(code, app.clock().date())
    session = calendar.last_closed(app.clock(), app.settings.close_delay(code))
    window = calendar.window(session, sessions_needed(app.settings))

    def refit(run: Run) -> bool:
        with app.transaction() as db:
            known = market.load(db, code, window)
        load = loading(app, run, window, known)
        base = train_base(app, run, window, load, demo=False, ahead=AHEAD)
        age = base.age(window) if base else 0
        log.info("%s: base model of %s, %d sessions old", code, session, age)
        return False  # the run itself keeps its end

    with app.exclusive(code):
        with app.transaction() as db:
            last = runs.last_tries(db, code, session).get(session)
            network = app.settings.model.network
            base = models.newest_of_calendar(db, network, code, session, demo=False)
        if last is None or last.status != RunStatus.FINISHED:
            return False
        if base is None or base.age(window) + AHEAD >= app.settings.base_after_sessions:
            carry_out(app, calendar, session, refit, trigger=Trigger.SCHEDULE)
    return True
