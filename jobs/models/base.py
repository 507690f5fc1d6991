"""Train or reuse the base model that every ticker of a calendar starts from."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np

from jobs.app import App
from jobs.models.tickers import ISOLATING_TRY, is_overdue
from stockbatch.engine import learning, material
from stockbatch.engine.material import Material
from stockbatch.engine.training import Overdue
from stockbatch.exceptions import TrainingFailed, TrainingOverdue
from stockbatch.records import Instrument, Market, Reason, Run, Sessions, TrainedModel
from stockbatch.store import bars, models, runs
from stockbatch.store import instruments as instrument_store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The base in use at the run's session, and the tickers that one made now would learn from."""

    base: TrainedModel | None
    tickers: list[Instrument]


def train_base(
    app: App,
    run: Run,
    sessions: Sessions,
    market: Market,
    *,
    demo: bool,
    force: bool = False,
    ahead: int = 0,
    train_until: datetime | None = None,
) -> TrainedModel | None:
    """Return the base model for the run's session, fitting one where there is none fit for use.

    It learns from all active tickers of the calendar, whatever subset the run handles; of very many
    it takes a sample. It is refitted if it would expire within the next `ahead` sessions. Where
    training is not done at `train_until`, or has failed again and again, the base before has to do.
    None where there is none, or no ticker has enough history.
    """
    known = _load(app, run, demo=demo)
    reason = _reason(app, known, sessions, ahead, force=force)
    overdue = partial(is_overdue, app, train_until)
    if reason is Reason.FRESH or overdue():
        return known.base

    app.on_event("base: compute")
    fitted = _fit(app, run, known.tickers, sessions, market, reason, overdue)
    if fitted is None:
        return known.base

    app.on_event("base: save")
    with app.transaction() as db:
        runs.lock(db, run)
        return models.add_base(db, fitted, run, demo=demo)


def sample(tickers: Sequence[Instrument], most: int, seed: int) -> list[Instrument]:
    """Return all of `tickers`, or a random sample of `most`, in their order."""
    if len(tickers) <= most:
        return list(tickers)
    chosen = np.random.default_rng(seed).choice(len(tickers), most, replace=False)
    return [tickers[position] for position in sorted(chosen)]


def _load(app: App, run: Run, *, demo: bool) -> _Known:
    with app.transaction() as db:
        base = models.base(db, run.calendar, run.session, demo=demo)
        everyone = instrument_store.active(db, run.calendar)
        pool = bars.with_bar(db, [i.id for i in everyone if i.demo == demo], run.session)
    return _Known(base=base, tickers=[one for one in everyone if one.id in pool])


def _reason(app: App, known: _Known, sessions: Sessions, ahead: int, *, force: bool) -> Reason:
    """Return why a base must be fitted, FRESH if it need not."""
    age = 0
    if known.base is not None:
        age = int(np.sum(sessions > np.datetime64(known.base.last_session)))
    if age > 0:  # one fitted at this very session is not due, however soon it would expire
        age += ahead
    reason = learning.decide_base(known.base, age, len(known.tickers), app.settings)
    return Reason.FORCED if force and reason is Reason.FRESH else reason


def _fit(
    app: App,
    run: Run,
    tickers: Sequence[Instrument],
    sessions: Sessions,
    market: Market,
    reason: Reason,
    overdue: Overdue,
) -> TrainedModel | None:
    """Fit a base, None where it is not done in time, cannot be, or has failed too often."""
    chosen = sample(tickers, app.settings.model.base_tickers, app.settings.model.seed)
    try:
        with app.progress() as progress:
            task = progress.add_task("base model", total=None)
            return learning.train_base(
                list(_materials(app, chosen, sessions, market)),
                reason,
                app.settings,
                app.trainer,
                on_epoch=lambda done, total: progress.update(task, completed=done, total=total),
                overdue=overdue,
            )
    except TrainingOverdue as error:
        log.warning("%s %s: base model: %s", run.calendar, run.session, error)
    except TrainingFailed as error:
        if run.tries < ISOLATING_TRY:
            raise
        log.warning("%s %s: base model: %s", run.calendar, run.session, error)
    return None


def _materials(
    app: App, tickers: Sequence[Instrument], sessions: Sessions, market: Market
) -> Iterator[Material]:
    """Load and prepare the tickers, a chunk at a time."""
    size = app.settings.chunk_tickers
    for start in range(0, len(tickers), size):
        chunk = tickers[start : start + size]
        with app.transaction() as db:
            panel = bars.load_panel(db, chunk, sessions)
        yield material.prepare(chunk, panel, market)
