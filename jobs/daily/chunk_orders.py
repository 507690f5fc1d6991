"""Chunks of a run made by other processes, and what becomes of those that nobody makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from jobs.app import App
from jobs.daily import chunk
from jobs.daily.chunk import Work
from jobs.isolation import MOST, isolate, told
from jobs.models import crowd
from jobs.models.pooled import stored_of_calendar
from jobs.models.tickers import Around
from jobs.workers.agreement import halved
from stockbatch.engine.material import sessions_needed
from stockbatch.exceptions import WorkerDied, WorkNotDone
from stockbatch.market import sessions as trading
from stockbatch.records import Instrument, Outcome, Run
from stockbatch.store import instruments as instrument_store
from stockbatch.store import market, models, runs

if TYPE_CHECKING:
    from jobs.workers.pool import Workers
    from jobs.workers.process import Desk

BEAT = 5.0
"""Seconds between heartbeats of a run whose chunks others make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOrder:
    """Which tickers to forecast, for which run; the numbers are in the database."""

    run: Run
    demo: bool
    ids: tuple[int, ...]
    problems: Mapping[int, Outcome]
    failures: Mapping[int, str]
    retrain: bool
    train_until: datetime | None
    since: int
    failure: str | None = None
    """Why nothing is trained any more."""
    again: bool = False
    """Whether somebody has died of it, or of what it is half of."""

    def halves(self) -> list[ChunkOrder]:
        """Return what to try where nobody outlives this: parts; one ticker untrained, at last."""
        if parts := halved(self.ids, again=self.again):
            return [replace(self, ids=ids, again=True) for ids in parts]
        return [replace(self, failure=str(WorkerDied()))] if self.failure is None else []


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkMade:
    """What came of an order: who was left out, and why others could not be trained."""

    left_out: Mapping[int, str]
    spoilt: Sequence[str]


def make_chunk(desk: Desk, order: ChunkOrder) -> ChunkMade:
    """Forecast the tickers of an order, in a worker."""
    app, run = desk.app, order.run
    calendar = trading.load(run.calendar, run.session)
    key = (run.id, run.owner, order.demo)
    around = desk.kept("around", key, partial(_around, app, run, order))
    target = calendar.next(run.session)
    with app.transaction() as db:
        tickers = instrument_store.of(db, order.ids)
    work = Work(
        around=around,
        targets={run.session: (target, calendar.deadline(target))},
        problems=order.problems,
        failures=order.failures,
        retrain=order.retrain,
        since=order.since,
        spoilt=[order.failure] * MOST if order.failure else [],
    )
    name = f"{run.calendar} {run.session}"
    left_out = isolate(name, partial(chunk.make, app, run, work), [tickers])
    return ChunkMade(
        left_out={id_: told(error) for id_, error in left_out.items()},
        spoilt=[] if order.failure else work.spoilt,
    )


def _around(app: App, run: Run, order: ChunkOrder) -> Around:
    """Return what whoever sent an order has fitted and learned for its run, as it is stored."""
    calendar = trading.load(run.calendar, run.session)
    sessions = calendar.window(run.session, sessions_needed(app.settings))
    about = (run.calendar, run.session)
    network = app.settings.model.network
    with app.transaction() as db:
        return Around(
            sessions=sessions,
            market=market.load(db, run.calendar, sessions),
            base=models.newest_of_calendar(db, network, *about, demo=order.demo),
            demo=order.demo,
            pooled=stored_of_calendar(db, *about, demo=order.demo),
            crowds=crowd.known_after(db, run, calendar, network, demo=order.demo),
            train_until=order.train_until,
        )


def share_out(
    app: App,
    run: Run,
    workers: Workers,
    work: Work,
    chunks: Sequence[Sequence[Instrument]],
    *,
    overdue: Callable[[], bool],
    made: Callable[[int], None],
) -> tuple[dict[int, Exception], list[Sequence[Instrument]]]:
    """Let workers make chunks; return who was left out, and what nobody has made.

    `made` is told how many tickers are done.
    """
    instruments = {one.id: one for tickers in chunks for one in tickers}
    left_out: dict[int, Exception] = {}
    rest: list[Sequence[Instrument]] = []
    spoilt: list[str] = []
    # A chunk is written down when somebody is free for it: by then more may be known.
    orders = (_order(run, work, tickers, spoilt) for tickers in chunks)
    for order, answer in workers.do_by_halves(
        make_chunk, orders, pause=_beating(app, run), overdue=overdue
    ):
        if isinstance(answer, ChunkMade):
            left_out |= {id_: WorkNotDone(reason=why) for id_, why in answer.left_out.items()}
            spoilt[:] = [*spoilt, *answer.spoilt] if answer.spoilt else []
            made(len(order.ids))
        elif isinstance(answer, WorkerDied):
            left_out[order.ids[0]] = answer
        else:
            rest.append([instruments[id_] for id_ in order.ids])
    return left_out, rest


def _order(
    run: Run, work: Work, tickers: Sequence[Instrument], spoilt: Sequence[str]
) -> ChunkOrder:
    ids = tuple(instrument.id for instrument in tickers)
    return ChunkOrder(
        run=run.for_others(),
        demo=work.around.demo,
        ids=ids,
        problems={id_: work.problems[id_] for id_ in ids if id_ in work.problems},
        failures={id_: work.failures[id_] for id_ in ids if id_ in work.failures},
        retrain=work.retrain,
        train_until=work.around.train_until,
        since=work.since,
        failure=spoilt[-1] if len(spoilt) >= MOST else None,
    )


def _beating(app: App, run: Run) -> Callable[[], None]:
    """Return what lets the run be stopped, and tells now and then that it is alive."""
    last = -BEAT

    def beat() -> None:
        nonlocal last
        app.checkpoint()
        if time.monotonic() - last >= BEAT:
            last = time.monotonic()
            with app.transaction() as db:
                runs.lock(db, run)

    return beat
