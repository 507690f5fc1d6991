"""Metrics of a part of the tickers, summed up by other processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from jobs.app import App
from jobs.daily import part_metrics
from jobs.daily.part_metrics import Around, Places, Summed
from jobs.workers.agreement import halved
from stockbatch.market import sessions as trading
from stockbatch.records import Instrument, Run
from stockbatch.store import instruments as instrument_store

if TYPE_CHECKING:
    from jobs.workers.pool import Workers
    from jobs.workers.process import Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOrder:
    """Of which tickers the metrics are wanted, after which run."""

    run: Run
    ids: tuple[int, ...]
    wanted: tuple[int, ...]
    """Places, in the longest window, of the sessions that sums are wanted of."""

    def halves(self) -> list[MetricsOrder]:
        """Return what to try where nobody outlives this."""
        return [replace(self, ids=ids) for ids in halved(self.ids)]


def sum_up(desk: Desk, order: MetricsOrder) -> Summed:
    """Store the metrics of some tickers, in a worker, and return what they add to all."""
    app, run = desk.app, order.run
    calendar = trading.load(run.calendar, run.session)
    key = (run.id, run.owner)
    with app.transaction() as db:
        around = desk.kept("metrics", key, partial(Around.load, db, calendar, run.session))
        tickers = instrument_store.of(db, order.ids)
    return part_metrics.sum_up(app, run, around, np.array(order.wanted, np.intp), tickers)


def share_out(
    app: App,
    run: Run,
    workers: Workers,
    parts: Sequence[Sequence[Instrument]],
    wanted: Places,
) -> tuple[list[Summed], list[Sequence[Instrument]]]:
    """Let workers sum up parts; return what they add, and the parts that none has summed up."""
    instruments: Mapping[int, Instrument] = {one.id: one for part in parts for one in part}
    places = tuple(wanted.tolist())
    orders = [
        MetricsOrder(run=run.for_others(), ids=tuple(one.id for one in part), wanted=places)
        for part in parts
    ]
    added: dict[tuple[int, ...], Summed] = {}
    rest: list[Sequence[Instrument]] = []
    for order, answer in workers.do_by_halves(sum_up, orders, pause=app.checkpoint):
        if isinstance(answer, Summed):
            added[order.ids] = answer
        else:
            rest.append([instruments[id_] for id_ in order.ids])
    # In one order, whoever was done first: sums of many numbers depend on it in their last bits.
    return [added[ids] for ids in sorted(added)], rest
