"""Fit the methods that learn from all tickers of a calendar together, before any chunk is made."""

import logging
from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy.orm import Session

from jobs.app import App
from jobs.isolation import is_of_a_ticker, together, told
from jobs.models.base import Load, learned_from
from jobs.models.tickers import is_overdue
from stockbatch.engine import learning
from stockbatch.methods import fitting, registry
from stockbatch.methods.base import Scope
from stockbatch.records import Instrument, Reason, Run, Sessions, TrainedModel
from stockbatch.store import models, runs

log = logging.getLogger(__name__)


def fit_pooled(
    app: App,
    run: Run,
    sessions: Sessions,
    load: Load,
    *,
    demo: bool,
    train_until: datetime | None = None,
) -> dict[str, TrainedModel]:
    """Return by method what was fitted to the calendar, fitting what is missing or too old.

    They learn from all active tickers, whatever subset the run handles; where the forecasts are
    due, the fit before has to do.
    """
    names = registry.fitted_to(Scope.CALENDAR)
    if not names:
        return {}
    with app.transaction() as db:
        known = stored_of_calendar(db, run.calendar, run.session, demo=demo)
    tickers = learned_from(app, run, demo=demo)
    # By the rules of the base: both learn from all tickers, and are as dear.
    reasons = {}
    for name in names:
        model = known.get(name)
        age = model.age(sessions) if model else 0
        reasons[name] = learning.decide_base(model, age, len(tickers), app.settings)
    due = {name: reason for name, reason in reasons.items() if reason is not Reason.FRESH}
    if not due or not tickers or is_overdue(app, train_until):
        return known

    app.on_event("pooled: compute")
    fits = {name: _fit(app, run, name, reason, tickers, load) for name, reason in due.items()}
    fitted = {name: model for name, model in fits.items() if model is not None}

    app.on_event("pooled: save")
    with app.transaction() as db:
        runs.lock(db, run)
        stored = {n: models.add_base(db, model, run, demo=demo) for n, model in fitted.items()}
    return known | stored


def stored_of_calendar(
    db: Session, calendar: str, origin: date, *, demo: bool
) -> dict[str, TrainedModel]:
    """Return by method what was fitted to a calendar last, not after `origin`."""
    newest = {
        name: models.newest_of_calendar(db, name, calendar, origin, demo=demo)
        for name in registry.fitted_to(Scope.CALENDAR)
    }
    return {name: model for name, model in newest.items() if model is not None}


def _fit(
    app: App,
    run: Run,
    name: str,
    reason: Reason,
    tickers: Sequence[Instrument],
    load: Load,
) -> TrainedModel | None:
    """Fit one method without those it fails with; None where that fails, too: it stops no other."""
    method = registry.methods()[name]

    def fit(part: Sequence[Instrument]) -> TrainedModel | None:
        return fitting.of_calendar(method, load(tuple(part)), reason, app.settings)

    try:
        return together(f"{run.calendar} {run.session} {name}", fit, tickers)
    except Exception as error:
        if not is_of_a_ticker(error):
            raise
        log.warning("%s %s: %s cannot be fitted: %s", run.calendar, run.session, name, told(error))
    return None
