"""Train or reuse the base model that every ticker of a calendar starts from."""

from collections.abc import Iterator, Sequence

import numpy as np

from jobs.app import App
from stockbatch import learning, material
from stockbatch.material import Material
from stockbatch.records import Instrument, Market, Reason, Run, Sessions, TrainedModel
from stockbatch.store import bars, models, runs
from stockbatch.store import instruments as instrument_store


def train_base(
    app: App, run: Run, sessions: Sessions, market: Market, *, demo: bool, force: bool = False
) -> TrainedModel | None:
    """Return the base model for the run's session, fitting one where there is none fit for use.

    It learns from all active tickers of the calendar, whatever subset the run handles; of very many
    it takes a sample. None where no ticker has enough history.
    """
    with app.transaction() as db:
        base = models.base(db, run.calendar, run.session, demo=demo)
        everyone = instrument_store.active(db, run.calendar)
        pool = bars.with_bar(db, [i.id for i in everyone if i.demo == demo], run.session)
    tickers = [instrument for instrument in everyone if instrument.id in pool]
    age = 0 if base is None else int(np.sum(sessions > np.datetime64(base.last_session)))
    reason = learning.decide_base(base, age, len(tickers), app.settings)
    if force and reason is Reason.FRESH:
        reason = Reason.FORCED
    if reason is Reason.FRESH:
        return base

    app.on_event("base: compute")
    chosen = sample(tickers, app.settings.model.base_tickers, app.settings.model.seed)
    with app.progress() as progress:
        task = progress.add_task("base model", total=None)
        fitted = learning.train_base(
            list(_materials(app, chosen, sessions, market)),
            reason,
            app.settings,
            app.trainer.fit_pooled,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    if fitted is None:
        return base

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


def _materials(
    app: App, tickers: Sequence[Instrument], sessions: Sessions, market: Market
) -> Iterator[Material]:
    size = app.settings.chunk_tickers
    for start in range(0, len(tickers), size):
        chunk = tickers[start : start + size]
        with app.transaction() as db:
            panel = bars.load_panel(db, chunk, sessions)
        yield material.prepare(chunk, panel, market)
