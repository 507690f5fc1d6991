"""Replay the production code over past sessions into the ledger, as forecasts of kind backtest.

Models are trained at the first session of a block, exactly as a run would train them there; all
sessions of the block are then forecast in one pass, by the functions a run uses for one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from jobs.app import App
from jobs.daily.choice import require_bars
from jobs.daily.fetch import fetch_bars
from jobs.daily.metrics import AT_ONCE, update_history, update_metrics
from jobs.daily.score import score_forecasts
from jobs.isolation import isolate
from jobs.models.base import loading, train_base
from jobs.models.crowd import learn_on_the_way
from jobs.models.pooled import fit_pooled
from jobs.models.tickers import (
    Around,
    Chunk,
    Trained,
    given,
    load,
    load_material,
    parameters,
    save,
    train,
)
from stockbatch.engine.material import Material, sessions_needed
from stockbatch.exceptions import SessionNotClosed
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.methods import registry
from stockbatch.methods.base import PAST, Stated
from stockbatch.methods.forecasts import LATELY, Targets, calibrated, forecasts, state, with_models
from stockbatch.records import Crowd, Floats, Forecast, Instrument, Market, Run, Sessions, cut
from stockbatch.store import archives, market, methods
from stockbatch.store import calendar as calendar_store
from stockbatch.store import forecasts as forecast_store
from stockbatch.store import instruments as instrument_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
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
) -> Iterator[Block]:
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
        length = app.settings.retrain_after_sessions
        for start in range(0, len(origins), length):
            block = origins[start : start + length]
            added = sum(
                _block(app, calendar, block, [i for i in chosen if i.demo == demo], demo=demo)
                for demo in (False, True)
            )
            yield Block(first=as_date(block[0]), last=as_date(block[-1]), added=added)
        app.on_event("backtest: score")
        isolate(
            "backtest score",
            lambda part: score_forecasts(app, closing, calendar, part),
            (chosen[start : start + AT_ONCE] for start in range(0, len(chosen), AT_ONCE)),
        )
        update_history(app, closing, calendar, calendar.next(first))
        update_metrics(app, closing, calendar)


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
    *,
    demo: bool,
) -> int:
    """Train at the first of `origins`, forecast from all; return the number of new forecasts."""
    if not instruments:
        return 0
    with app.transaction() as db:
        done = forecast_store.backtested(db, instruments, origins)
    # A block is committed chunk by chunk: what is there of it was made whole.
    todo = [instrument for instrument in instruments if instrument.id not in done]
    if not todo:
        return 0
    window = calendar.window(as_date(origins[-1]), sessions_needed(app.settings) + len(origins) - 1)
    with app.transaction() as db:
        market.update(db, calendar, window)
        known = market.load(db, calendar.code, window)
    # Models see the market as it was at the first origin; forecasts of later ones see it as it was
    # then.
    then = cut(known, slice(len(window) - len(origins) + 1))
    trained_at = then.sessions
    run = Run.unrecorded(calendar.code, as_date(origins[0]))
    materials = loading(app, run, trained_at, then)
    around = Around(
        sessions=trained_at,
        market=then,
        base=train_base(app, run, trained_at, materials, demo=demo),
        demo=demo,
        pooled=fit_pooled(app, run, trained_at, materials, demo=demo),
    )
    size = app.settings.chunk_tickers
    chunks = [todo[start : start + size] for start in range(0, len(todo), size)]
    said: dict[tuple[Instrument, ...], _Said] = {}
    added: list[int] = []
    with app.progress() as progress:
        task = progress.add_task(f"to {as_date(origins[-1])}", total=len(todo))

        def make(chunk: Sequence[Instrument]) -> None:
            said[tuple(chunk)] = _say(app, run, around, known, chunk, origins, calendar)
            progress.advance(task, len(chunk))

        left_out = isolate("backtest", make, chunks)
    # All tickers teach each of them, so that every chunk is calibrated after all have spoken.
    taught = _teach(app, calendar, list(said.values()), origins, demo=demo)

    def keep(chunk: Sequence[Instrument]) -> None:
        # A half of a chunk that cannot be saved speaks again, by itself.
        one = said.pop(tuple(chunk), None)
        one = one or _say(app, run, around, known, chunk, origins, calendar)
        added.append(_save(app, run, calendar, one, taught))

    left_out |= isolate("backtest", keep, list(said))
    if len(left_out) == len(todo):  # nobody's row is to blame
        raise next(iter(left_out.values()))
    return sum(added)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Some origins of a block, the last ones of `material`; `before` come earlier in the block."""

    material: Material
    before: int
    origins: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What is stated of a chunk, piece by piece, before calibration, and the ids of its models."""

    tickers: Sequence[Instrument]
    pieces: Sequence[tuple[_Piece, Mapping[str, Stated]]]
    model_ids: Mapping[int, int]

    def quantiles(self, method: str) -> Floats:
        """Return what a method states from all origins, (tickers, origins, 11)."""
        return np.concatenate([s[method].uncalibrated() for _, s in self.pieces], axis=1)

    def actual(self) -> Floats:
        """Return the returns of the origins as each of them knew its own, (tickers, origins)."""
        returns = [p.material.features.returns[:, -p.origins :] for p, _ in self.pieces]
        return np.concatenate(returns, axis=1)


def _say(
    app: App,
    run: Run,
    around: Around,
    known: Market,
    tickers: Sequence[Instrument],
    origins: Sessions,
    calendar: TradingCalendar,
) -> _Said:
    """Load one chunk of one block, train what is due, and let all methods forecast."""
    app.on_event("backtest: load")
    last_target = calendar.next(as_date(origins[-1]))
    chunk = load(app, run, around, tickers, calendar.window(last_target, PAST + len(origins)))
    whole = load_material(app, run, tickers, known.sessions, known)

    app.on_event("backtest: compute")
    trained = train(app, around, chunk, force=False)
    pieces = []
    for piece in _pieces(whole, len(origins)):
        stated = _state(app, around, chunk, trained, piece)
        # Nothing older is asked for any more, and all chunks of a block are held at once.
        newest = piece.material.cut(slice(-max(PAST, LATELY) - piece.origins, None))
        pieces.append((replace(piece, material=newest), stated))

    with app.transaction() as db:
        model_ids = save(db, run, around, tickers, chunk, trained)
    return _Said(tickers=tickers, pieces=pieces, model_ids=model_ids)


def _teach(
    app: App, calendar: TradingCalendar, said: Sequence[_Said], origins: Sessions, *, demo: bool
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
            for name in registry.calibrated()
        },
        np.concatenate([one.actual() for one in said])[order],
        demo=demo,
    )


def _save(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    said: _Said,
    taught: Mapping[str, Sequence[Crowd | None]],
) -> int:
    """Calibrate and save one chunk of one block; return how many forecasts are new."""
    app.on_event("backtest: save")
    made: list[Forecast] = []
    for piece, stated in said.pieces:
        some = slice(piece.before, piece.before + piece.origins)
        heard = {name: crowds[some] for name, crowds in taught.items()}
        finished = calibrated(stated, piece.material, heard)
        targets = _targets(calendar, piece.material.panel.sessions[-piece.origins :])
        made += forecasts(piece.material, finished, targets)
    with app.transaction() as db:
        added = forecast_store.add(
            db, with_models(made, said.model_ids), run, issued_at=app.clock(), backtest=True
        )
        app.on_event("backtest: commit")
    return added


def _pieces(whole: Material, origins: int) -> Iterator[_Piece]:
    """Cut a block after every session with a jump.

    What a jump was is known one session later: only as the last session of its material does it
    look as it looked then.
    """
    # One jump of one ticker cuts the block for the whole chunk: pieces are few, because jumps are.
    jumped = whole.jumped[:, -origins:].any(axis=0)
    ends = sorted({*(np.flatnonzero(jumped) + 1).tolist(), origins})
    begin = 0
    for end in ends:
        material = whole
        if end < origins:
            material = whole.first(len(whole.panel.sessions) - origins + end)
        yield _Piece(material=material, before=begin, origins=end - begin)
        begin = end


def _state(
    app: App, around: Around, chunk: Chunk, trained: Trained, piece: _Piece
) -> dict[str, Stated]:
    """Let all methods forecast from the origins of a piece.

    What they say is filled into the chunk's past, which is laid out by target session, for the
    next piece to learn from; what was forecast for these sessions in earnest stays.
    """
    seen = slice(piece.before, piece.before + PAST)
    past = {method: quantiles[:, seen] for method, quantiles in chunk.past.items()}
    stated = state(
        given(app, around, trained, piece.material, past, piece.origins),
        parameters(around, chunk, trained),
    )
    told = slice(seen.stop, seen.stop + piece.origins)
    for method, quantiles in chunk.past.items():
        into = quantiles[:, told]
        # As in a run, where the forecast of one night is the past of the next.
        np.copyto(into, stated[method].uncalibrated(), where=np.isnan(into))
    return stated


def _targets(calendar: TradingCalendar, origins: Sessions) -> Targets:
    targets = {}
    for origin in origins:
        target = calendar.next(as_date(origin))
        targets[as_date(origin)] = target, calendar.deadline(target)
    return targets
