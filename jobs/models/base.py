"""Train or reuse the base model that every ticker of a calendar starts from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from jobs.app import App
from jobs.isolation import is_of_a_ticker, together, told
from jobs.models.orders import gather
from jobs.models.tickers import LAST_TRY, is_overdue, load_material
from stockbatch.engine import learning
from stockbatch.engine.material import Material
from stockbatch.engine.training import Overdue
from stockbatch.exceptions import TrainingOverdue
from stockbatch.records import Instrument, Market, Reason, Run, Sessions, TrainedModel
from stockbatch.store import bars, models, runs
from stockbatch.store import instruments as instrument_store

if TYPE_CHECKING:
    from jobs.workers.pool import Workers

log = logging.getLogger(__name__)

Load = Callable[[tuple[Instrument, ...]], list[Material]]
"""Loads what tickers are trained from, a chunk at a time."""


def train_base(
    app: App,
    run: Run,
    sessions: Sessions,
    load: Load,
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
    with app.transaction() as db:
        network = app.settings.model.network
        base = models.newest_of_calendar(db, network, run.calendar, run.session, demo=demo)
    tickers = _pool(app, run, demo=demo)
    reason = _reason(app, base, len(tickers), sessions, ahead, force=force)
    overdue = partial(is_overdue, app, train_until)
    if reason is Reason.FRESH or overdue():
        return base

    app.on_event("base: compute")
    fitted = _fit(app, run, _sample_of(app, tickers), load, reason, overdue)
    if fitted is None:
        return base

    app.on_event("base: save")
    with app.transaction() as db:
        runs.lock(db, run)
        return models.add_base(db, fitted, run, demo=demo)


def learned_from(app: App, run: Run, *, demo: bool) -> list[Instrument]:
    """Return the tickers that what is fitted to a whole calendar learns from: all, or a sample."""
    return _sample_of(app, _pool(app, run, demo=demo))


def _pool(app: App, run: Run, *, demo: bool) -> list[Instrument]:
    """Return the active tickers of a calendar with a bar of the run's session."""
    with app.transaction() as db:
        everyone = instrument_store.active(db, run.calendar)
        held = bars.with_bar(db, [i.id for i in everyone if i.demo == demo], run.session)
    return [instrument for instrument in everyone if instrument.id in held]


def _sample_of(app: App, tickers: Sequence[Instrument]) -> list[Instrument]:
    return sample(tickers, app.settings.model.base_tickers, app.settings.model.seed)


def sample(tickers: Sequence[Instrument], most: int, seed: int) -> list[Instrument]:
    """Return all of `tickers`, or a random sample of `most`, in their order."""
    if len(tickers) <= most:
        return list(tickers)
    chosen = np.random.default_rng(seed).choice(len(tickers), most, replace=False)
    return [tickers[position] for position in sorted(chosen)]


def _reason(
    app: App,
    base: TrainedModel | None,
    tickers: int,
    sessions: Sessions,
    ahead: int,
    *,
    force: bool,
) -> Reason:
    """Return why a base must be fitted to so many `tickers`, FRESH if it need not."""
    age = base.age(sessions) if base else 0
    if age > 0:  # one fitted at this very session is not due again
        age += ahead
    reason = learning.decide_base(base, age, tickers, app.settings)
    return Reason.FORCED if force and reason is Reason.FRESH else reason


def _fit(
    app: App,
    run: Run,
    tickers: Sequence[Instrument],
    load: Load,
    reason: Reason,
    overdue: Overdue,
) -> TrainedModel | None:
    """Fit a base, None where it is not done in time, cannot be, or has failed too often.

    Tickers that it fails with are left out of what it learns from.
    """
    name = f"{run.calendar} {run.session} base model"
    try:
        with app.progress() as progress:
            task = progress.add_task("base model", total=None)

            def fit(part: Sequence[Instrument]) -> TrainedModel | None:
                return learning.train_base(
                    load(tuple(part)),
                    reason,
                    app.settings,
                    app.trainer,
                    on_epoch=lambda done, total: progress.update(task, completed=done, total=total),
                    overdue=overdue,
                )

            return together(name, fit, tickers) if tickers else None
    except TrainingOverdue as error:
        log.warning("%s: %s", name, error)
    except Exception as error:
        if not is_of_a_ticker(error) or run.tries < LAST_TRY:
            raise
        log.warning("%s: %s", name, told(error))
    return None


def loading(
    app: App, run: Run, sessions: Sessions, market: Market, shared: Workers | None = None
) -> Load:
    """Return what loads the material of tickers for one session, by workers where there are some.

    It keeps what it loaded last: the base and all methods that are fitted to the calendar learn
    from the same tickers, unless one fails with some.
    """

    @lru_cache(maxsize=1)
    def load(tickers: tuple[Instrument, ...]) -> list[Material]:
        size = app.settings.chunk_tickers
        chunks = [tickers[start : start + size] for start in range(0, len(tickers), size)]
        loaded = gather(app, shared, run, chunks, sessions) if shared and len(chunks) > 1 else {}
        # A transaction per chunk: while a base is trained, none is open.
        return [
            loaded.get(place) or load_material(app, run, chunk, sessions, market)
            for place, chunk in enumerate(chunks)
        ]

    return load
