"""What a base learns from, loaded by other processes: its fit is one, by whoever asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from jobs.app import App
from jobs.models.tickers import load_material
from jobs.workers.agreement import decisive
from stockbatch.engine.material import Material
from stockbatch.market import sessions as trading
from stockbatch.records import Instrument, Run, Sessions
from stockbatch.store import instruments as instrument_store
from stockbatch.store import market

if TYPE_CHECKING:
    from jobs.workers.pool import Workers
    from jobs.workers.process import Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialOrder:
    """Of which tickers the material is wanted, up to which session."""

    run: Run
    ids: tuple[int, ...]
    last: date
    sessions: int
    settings: Mapping[str, Any]


def load_part(desk: Desk, order: MaterialOrder) -> Material:
    """Load what some tickers are trained from, in a worker, which is to train some itself then."""
    app = desk.with_settings(order.settings)
    calendar = trading.load(order.run.calendar, order.last)
    sessions = calendar.window(order.last, order.sessions)
    with app.transaction() as db:
        known = market.load(db, order.run.calendar, sessions)
        tickers = instrument_store.of(db, order.ids)
    material = load_material(app, order.run, tickers, sessions, known)
    app.trainer.start()  # by the time the base is fitted, its child is there
    return material


def gather(
    app: App,
    workers: Workers,
    run: Run,
    chunks: Sequence[Sequence[Instrument]],
    sessions: Sessions,
) -> dict[int, Material]:
    """Return by chunk the material that workers have loaded; what they have not is lacking."""
    orders = [
        MaterialOrder(
            run=run.for_others(),
            ids=tuple(one.id for one in tickers),
            last=trading.as_date(sessions[-1]),
            sessions=len(sessions),
            settings=decisive(app.settings),
        )
        for tickers in chunks
    ]
    place = {id(order): chunk for chunk, order in enumerate(orders)}
    return {
        place[id(order)]: answer
        for order, answer in workers.do(load_part, orders, pause=app.checkpoint)
        if isinstance(answer, Material)
    }
