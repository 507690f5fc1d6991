"""Chunks of a backtest that other processes speak for, and save once all have taught each other.

A worker keeps what it has stated until it is to be saved; whoever lacks it, states it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.app import App
from jobs.models.pooled import stored_of_calendar
from jobs.models.tickers import Around
from jobs.replay.block import Block, Said, keep, say
from jobs.workers.agreement import decisive, halved
from stockbatch.engine.material import sessions_needed
from stockbatch.exceptions import WorkerDied
from stockbatch.market import sessions as trading
from stockbatch.market.sessions import as_date
from stockbatch.methods import registry
from stockbatch.records import Floats, Instrument, Run
from stockbatch.store import crowds, models
from stockbatch.store import instruments as instrument_store

if TYPE_CHECKING:
    from jobs.workers.pool import Workers
    from jobs.workers.process import Desk

Held = dict[tuple[int, ...], Said]
"""What a worker has stated of a block, by the ids of the tickers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOrder:
    """For which tickers to speak, from which origins; the numbers are in the database."""

    run: Run
    demo: bool
    ids: tuple[int, ...]
    first: date
    last: date
    settings: Mapping[str, Any]
    near: str | None = None
    """The address of the worker that has stated it."""
    again: bool = False
    """Whether somebody has died of it, or of what it is half of."""

    def halves(self) -> list[BlockOrder]:
        """Return what to try where nobody outlives this."""
        parts = halved(self.ids, again=self.again)
        return [replace(self, ids=ids, again=True) for ids in parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a worker has stated, as far as all tickers learn from it."""

    by_method: Mapping[str, Floats]
    returns: Floats
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was stated for a chunk elsewhere, where the rest of it is."""

    tickers: Sequence[Instrument]
    order: BlockOrder
    spoken: Spoken

    def quantiles(self, method: str) -> Floats:
        """Return what a method states from all origins, (tickers, origins, 11)."""
        return self.spoken.by_method[method]

    def actual(self) -> Floats:
        """Return the returns of the origins as each of them knew its own, (tickers, origins)."""
        return self.spoken.returns


def speak(desk: Desk, order: BlockOrder) -> Spoken:
    """State what all methods forecast for some tickers, in a worker, and keep it."""
    app = desk.with_settings(order.settings)
    block, around = desk.kept("block", (order.run.owner, order.demo), partial(_load, app, order))
    said = _said(app, block, around, order)
    held: Held = desk.kept("said", order.run.owner, dict)
    held[order.ids] = said
    methods = registry.calibrated(app.settings.model.network)
    return Spoken(
        by_method={name: said.quantiles(name) for name in methods},
        returns=said.actual(),
        where=desk.address,
    )


def keep_spoken(desk: Desk, order: BlockOrder) -> int:
    """Calibrate and save what was stated for some tickers; return how many forecasts are new."""
    app = desk.with_settings(order.settings)
    block, around = desk.kept("block", (order.run.owner, order.demo), partial(_load, app, order))
    held: Held = desk.kept("said", order.run.owner, dict)
    said = held.pop(order.ids, None) or _said(app, block, around, order)
    days = [as_date(origin) for origin in block.origins]
    with app.transaction() as db:
        stored = {
            name: crowds.between(db, block.calendar.code, name, days[0], days[-1], demo=order.demo)
            for name in registry.calibrated(app.settings.model.network)
        }
    taught = {name: [found.get(day) for day in days] for name, found in stored.items()}
    return keep(app, block, said, taught)


def _said(app: App, block: Block, around: Around, order: BlockOrder) -> Said:
    with app.transaction() as db:
        tickers = instrument_store.of(db, order.ids)
    return say(app, block, around, tickers)


def _load(app: App, order: BlockOrder) -> tuple[Block, Around]:
    """Return a block with what was fitted for it, as it is stored."""
    calendar = trading.load(order.run.calendar, order.last)
    origins = calendar.between(order.first, order.last)
    needed = sessions_needed(app.settings)
    about = (order.run.calendar, order.first)
    network = app.settings.model.network
    with app.transaction() as db:
        block = Block.load(db, order.run, calendar, origins, needed)
        around = Around(
            sessions=block.then.sessions,
            market=block.then,
            base=models.newest_of_calendar(db, network, *about, demo=order.demo),
            demo=order.demo,
            pooled=stored_of_calendar(db, *about, demo=order.demo),
        )
    return block, around


def hear_all(
    app: App,
    workers: Workers,
    block: Block,
    demo: bool,
    chunks: Sequence[Sequence[Instrument]],
    made: Callable[[int], None],
) -> tuple[list[Heard], dict[int, Exception], list[Sequence[Instrument]]]:
    """Let workers speak for chunks; return what was heard, who was left out, and what is left."""
    instruments = {one.id: one for tickers in chunks for one in tickers}
    heard: list[Heard] = []
    left_out: dict[int, Exception] = {}
    rest: list[Sequence[Instrument]] = []
    orders = [
        BlockOrder(
            run=block.run,
            demo=demo,
            ids=tuple(one.id for one in tickers),
            first=as_date(block.origins[0]),
            last=as_date(block.origins[-1]),
            settings=decisive(app.settings),
        )
        for tickers in chunks
    ]
    for order, answer in workers.do_by_halves(speak, orders, pause=app.checkpoint):
        tickers = [instruments[id_] for id_ in order.ids]
        if isinstance(answer, Spoken):
            near = replace(order, near=answer.where)
            heard.append(Heard(tickers=tickers, order=near, spoken=answer))
            made(len(tickers))
        elif isinstance(answer, WorkerDied):
            left_out[order.ids[0]] = answer
        else:
            rest.append(tickers)
    return heard, left_out, rest


def keep_all(app: App, workers: Workers, voices: Iterable[Heard]) -> Iterator[tuple[Heard, object]]:
    """Let workers save what they stated; yield how many forecasts are new, or what is wrong."""
    by_ids = {one.order.ids: one for one in voices}
    orders = [one.order for one in by_ids.values()]
    for order, answer in workers.do(keep_spoken, orders, pause=app.checkpoint):
        yield by_ids[order.ids], answer
