"""Candidates of a search for settings, tried by other processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.app import App
from jobs.replay.exam import Exam, losses
from jobs.workers.agreement import decisive
from stockbatch.config import ModelSettings
from stockbatch.records import Floats, Instrument
from stockbatch.store import instruments as instrument_store

if TYPE_CHECKING:
    from jobs.workers.pool import Workers
    from jobs.workers.process import Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """Which settings to try, on which tickers and sessions."""

    model: ModelSettings
    calendar: str
    last: date
    judging: int
    ids: tuple[int, ...]
    settings: Mapping[str, Any]


def attempt(desk: Desk, order: TrialOrder) -> Floats:
    """Return the losses of the settings of an order, in a worker."""
    app = desk.with_settings(order.settings)
    key = (order.calendar, order.last, order.judging, order.ids, str(order.settings))
    exam = desk.kept("exam", key, partial(_exam, app, order))
    return losses(app, exam, order.model)


def _exam(app: App, order: TrialOrder) -> Exam:
    with app.transaction() as db:
        tickers = instrument_store.of(db, order.ids)
        return Exam.load(app, db, order.calendar, order.last, order.judging, tickers)


def attempt_all(
    app: App,
    workers: Workers | None,
    exam: Exam,
    tickers: Sequence[Instrument],
    candidates: Sequence[ModelSettings],
) -> Iterator[Floats]:
    """Yield the losses of candidates in their order: by workers, else one after the other."""
    found: dict[int, Floats] = {}
    if workers:
        orders = [
            TrialOrder(
                model=candidate,
                calendar=exam.calendar,
                last=exam.last,
                judging=exam.judging,
                ids=tuple(one.id for one in tickers),
                settings=decisive(app.settings),
            )
            for candidate in candidates
        ]
        place = {id(order): number for number, order in enumerate(orders)}
        for order, answer in workers.do(attempt, orders, pause=app.checkpoint):
            if not isinstance(answer, Exception):
                found[place[id(order)]] = answer
    for number, candidate in enumerate(candidates):
        yield found[number] if number in found else losses(app, exam, candidate)
