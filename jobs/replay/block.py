"""A block of a backtest: chunks of tickers speak, all teach each other, and each is saved.

Models are trained at the first session of a block; all its sessions are forecast in one pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from sqlalchemy.orm import Session

from jobs.app import App
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
from stockbatch.engine.material import Material
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.methods.base import PAST, Stated
from stockbatch.methods.forecasts import LATELY, Targets, calibrated, forecasts, state, with_models
from stockbatch.records import Crowd, Floats, Forecast, Instrument, Market, Run, Sessions, cut
from stockbatch.store import forecasts as forecast_store
from stockbatch.store import market


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The origins of a block, and the market as each of them saw it."""

    run: Run
    calendar: TradingCalendar
    origins: Sessions
    known: Market

    @classmethod
    def load(
        cls, db: Session, run: Run, calendar: TradingCalendar, origins: Sessions, needed: int
    ) -> Self:
        """Load what all tickers did; `needed` sessions before an origin are looked at."""
        window = calendar.window(as_date(origins[-1]), needed + len(origins) - 1)
        known = market.load(db, calendar.code, window)
        return cls(run=run, calendar=calendar, origins=origins, known=known)

    @property
    def then(self) -> Market:
        """Return the market as it was at the first origin, as models see it."""
        return cut(self.known, slice(len(self.known.sessions) - len(self.origins) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some origins of a block, the last ones of `material`; `before` come earlier in the block."""

    material: Material
    before: int
    origins: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is stated of a chunk, piece by piece, before calibration, and the ids of its models."""

    tickers: Sequence[Instrument]
    pieces: Sequence[tuple[Piece, Mapping[str, Stated]]]
    model_ids: Mapping[int, int]

    def quantiles(self, method: str) -> Floats:
        """Return what a method states from all origins, (tickers, origins, 11)."""
        return np.concatenate([s[method].uncalibrated() for _, s in self.pieces], axis=1)

    def actual(self) -> Floats:
        """Return the returns of the origins as each of them knew its own, (tickers, origins)."""
        returns = [p.material.features.returns[:, -p.origins :] for p, _ in self.pieces]
        return np.concatenate(returns, axis=1)


def say(app: App, block: Block, around: Around, tickers: Sequence[Instrument]) -> Said:
    """Load one chunk of one block, train what is due, and let all methods forecast."""
    app.on_event("backtest: load")
    calendar, origins = block.calendar, block.origins
    targets = calendar.window(calendar.next(as_date(origins[-1])), PAST + len(origins))
    chunk = load(app, block.run, around, tickers, targets)
    whole = load_material(app, block.run, tickers, block.known.sessions, block.known)

    app.on_event("backtest: compute")
    trained = train(app, around, chunk, force=False)
    pieces = []
    for piece in _pieces(whole, len(origins)):
        stated = _state(app, around, chunk, trained, piece)
        # Nothing older is asked for any more, and all chunks of a block are held at once.
        newest = piece.material.cut(slice(-max(PAST, LATELY) - piece.origins, None))
        pieces.append((replace(piece, material=newest), stated))

    with app.transaction() as db:
        model_ids = save(db, block.run, around, tickers, chunk, trained)
    return Said(tickers=tickers, pieces=pieces, model_ids=model_ids)


def keep(app: App, block: Block, said: Said, taught: Mapping[str, Sequence[Crowd | None]]) -> int:
    """Calibrate and save one chunk of one block; return how many forecasts are new."""
    app.on_event("backtest: save")
    made: list[Forecast] = []
    for piece, stated in said.pieces:
        some = slice(piece.before, piece.before + piece.origins)
        heard = {name: crowds[some] for name, crowds in taught.items()}
        finished = calibrated(stated, piece.material, heard)
        targets = _targets(block.calendar, piece.material.panel.sessions[-piece.origins :])
        made += forecasts(piece.material, finished, targets)
    with app.transaction() as db:
        added = forecast_store.add(
            db, with_models(made, said.model_ids), block.run, issued_at=app.clock(), backtest=True
        )
        app.on_event("backtest: commit")
    return added


def _pieces(whole: Material, origins: int) -> Iterator[Piece]:
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
        yield Piece(material=material, before=begin, origins=end - begin)
        begin = end


def _state(
    app: App, around: Around, chunk: Chunk, trained: Trained, piece: Piece
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
