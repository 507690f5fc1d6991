"""Replay the production code over past sessions into the ledger, as forecasts of kind backtest.

Models are trained at the first session of a block, exactly as a run would train them there; all
sessions of the block are then forecast in one pass, by the functions a run uses for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from jobs import workers
from jobs.app import App
from jobs.daily.choice import require_bars
from jobs.daily.fetch import fetch_bars
from jobs.daily.metrics import AT_ONCE, update_history, update_metrics
from jobs.daily.risk import tell_past_risk
from jobs.daily.score import score_forecasts
from jobs.isolation import isolate
from jobs.models.base import loading, train_base
from jobs.models.crowd import learn_on_the_way
from jobs.models.pooled import fit_pooled
from jobs.models.tickers import Around, take_in_stated
from jobs.replay.block import Block, Said, keep, say
from jobs.replay.orders import Heard, hear_all, keep_all
from stockbatch.engine.material import sessions_needed
from stockbatch.exceptions import SessionNotClosed
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.methods import registry
from stockbatch.records import Crowd, Instrument, Run, Sessions
from stockbatch.store import archives, market, methods
from stockbatch.store import calendar as calendar_store
from stockbatch.store import forecasts as forecast_store
from stockbatch.store import instruments as instrument_store

if TYPE_CHECKING:
    from jobs.workers.pool import Workers

Voices = dict[tuple[Instrument, ...], "Said | Heard"]
"""By chunk, what is stated of it: here, or by a worker that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A block that is done: its first and last origin, and the forecasts it added."""

    first: date
    last: date
    added: int


def backtest(
    app: App,
    calendar_code: str,
    first: date,
    last: date,
    *,
    tickers: Sequence[str] | None = None,
) -> Iterator[Done]:
    """Forecast from every session from `first` to `last` and score what can be scored.

    Tickers are retrained, and the base refitted, as often as the settings say. What a killed
    backtest had committed is left alone. Raises NotASession, SessionNotClosed, SessionArchived,
    RunInProgress, UnknownInstrument, NoInstruments, NoBarsThen.
    """
    calendar = sessions.load(calendar_code, app.clock().date())
    origins = _origins(app, calendar, first, last)
    with app.exclusive(calendar.code):
        with app.transaction() as db:
            chosen = instrument_store.work_list(db, calendar.code, tickers)
            archives.require_kept(db, calendar.code, chosen, calendar.next(first))
            calendar_store.extend(db, calendar, sessions.FIRST_DAY, calendar.next(last))
            methods.add_missing(db, registry.described())
        through = _last_known(app, calendar, calendar.next(last))
        closing = Run.unrecorded(calendar.code, through)
        fetch_bars(app, closing, calendar, chosen)
        with app.transaction() as db:
            require_bars(db, app, calendar, chosen, first, last)
        with workers.opened(app, any_settings=True) as shared:
            yield from _blocks(app, calendar, origins, chosen, shared)
        app.on_event("backtest: score")
        isolate(
            "backtest score",
            lambda part: score_forecasts(app, closing, calendar, part),
            (chosen[start : start + AT_ONCE] for start in range(0, len(chosen), AT_ONCE)),
        )
        app.on_event("backtest: risk")
        tell_past_risk(app, closing, calendar, origins)
        update_history(app, closing, calendar, calendar.next(first))
        update_metrics(app, closing, calendar)


def _blocks(
    app: App,
    calendar: TradingCalendar,
    origins: Sessions,
    instruments: Sequence[Instrument],
    shared: Workers | None,
) -> Iterator[Done]:
    length = app.settings.retrain_after_sessions
    for start in range(0, len(origins), length):
        part = origins[start : start + length]
        added = 0
        for demo in (False, True):
            mine = [one for one in instruments if one.demo == demo]
            added += _block(app, calendar, part, mine, shared, demo=demo)
        yield Done(first=as_date(part[0]), last=as_date(part[-1]), added=added)


def _origins(app: App, calendar: TradingCalendar, first: date, last: date) -> Sessions:
    calendar.require(first)
    calendar.require(last)
    if calendar.close(last) > app.clock():
        raise SessionNotClosed(session=last, calendar=calendar.code, close=calendar.close(last))
    return calendar.between(first, last)


def _last_known(app: App, calendar: TradingCalendar, session: date) -> date:
    """Return `session`, or the last one closed where that is earlier."""
    return min(session, calendar.last_closed(app.clock()))


def _block(
    app: App,
    calendar: TradingCalendar,
    origins: Sessions,
    instruments: Sequence[Instrument],
    shared: Workers | None,
    *,
    demo: bool,
) -> int:
    """Train at the first of `origins`, forecast from all; return the number of new forecasts."""
    if not instruments:
        return 0
    with app.transaction() as db:
        done = forecast_store.backtested(db, instruments, app.settings.model.network, origins)
    # A block is committed chunk by chunk: what is there of it was made whole.
    todo = [instrument for instrument in instruments if instrument.id not in done]
    if not todo:
        return 0
    needed = sessions_needed(app.settings)
    run = Run.unrecorded(calendar.code, as_date(origins[0]))
    with app.transaction() as db:
        window = calendar.window(as_date(origins[-1]), needed + len(origins) - 1)
        market.update(db, calendar, window)
        take_in_stated(app, db, calendar.code)
        block = Block.load(db, run, calendar, origins, needed)
    around = _fitted(app, block, shared, demo=demo)
    size = app.settings.chunk_tickers
    chunks = [todo[start : start + size] for start in range(0, len(todo), size)]
    added: list[int] = []
    with app.progress() as progress:
        task = progress.add_task(f"to {as_date(origins[-1])}", total=len(todo))
        voices, left_out = _speak(
            app, block, around, chunks, shared, lambda tickers: progress.advance(task, tickers)
        )
    # All tickers teach each of them, so that every chunk is calibrated after all have spoken.
    taught = _teach(app, calendar, list(voices.values()), origins, demo=demo)
    if shared:
        elsewhere = {key: one for key, one in voices.items() if isinstance(one, Heard)}
        for one, answer in keep_all(app, shared, elsewhere.values()):
            if isinstance(answer, int):
                added.append(answer)
                del voices[tuple(one.tickers)]

    def finish(chunk: Sequence[Instrument]) -> None:
        # A half of a chunk that cannot be saved speaks again, by itself.
        one = voices.pop(tuple(chunk), None)
        one = one if isinstance(one, Said) else say(app, block, around, chunk)
        added.append(keep(app, block, one, taught))

    left_out |= isolate("backtest", finish, list(voices))
    if len(left_out) == len(todo):  # nobody's row is to blame
        raise next(iter(left_out.values()))
    return sum(added)


def _fitted(app: App, block: Block, shared: Workers | None, *, demo: bool) -> Around:
    """Return what all chunks work with, as it is at the first origin."""
    then, run = block.then, block.run
    materials = loading(app, run, then.sessions, then, shared)
    return Around(
        sessions=then.sessions,
        market=then,
        base=train_base(app, run, then.sessions, materials, demo=demo),
        demo=demo,
        pooled=fit_pooled(app, run, then.sessions, materials, demo=demo),
    )


def _speak(
    app: App,
    block: Block,
    around: Around,
    chunks: Sequence[Sequence[Instrument]],
    shared: Workers | None,
    made: Callable[[int], None],
) -> tuple[Voices, dict[int, Exception]]:
    """Let all methods forecast for every chunk; return also who was left out, and why."""
    voices: Voices = {}
    left_out: dict[int, Exception] = {}
    if shared:
        heard, left_out, chunks = hear_all(app, shared, block, around.demo, chunks, made)
        voices |= {tuple(one.tickers): one for one in heard}

    def make(chunk: Sequence[Instrument]) -> None:
        voices[tuple(chunk)] = say(app, block, around, chunk)
        made(len(chunk))

    return voices, left_out | isolate("backtest", make, chunks)


def _teach(
    app: App,
    calendar: TradingCalendar,
    said: Sequence[Said | Heard],
    origins: Sessions,
    *,
    demo: bool,
) -> dict[str, list[Crowd | None]]:
    """Return by method what all tickers had taught it by each origin."""
    if not said:
        return {}
    tickers = [one for chunk in said for one in chunk.tickers]
    order = np.argsort([one.id for one in tickers])  # sums do not depend on how chunks are cut
    return learn_on_the_way(
        app,
        calendar,
        [tickers[row] for row in order],
        origins,
        {
            name: np.concatenate([one.quantiles(name) for one in said])[order]
            for name in registry.calibrated(app.settings.model.network)
        },
        np.concatenate([one.actual() for one in said])[order],
        demo=demo,
    )
