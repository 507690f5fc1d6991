"""Metrics of a part of the tickers: stored for each, and summed up for all and for their groups."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.daily import carried, groups, totals
from jobs.daily.losses import (
    BASELINES,
    WINDOWS,
    Averages,
    Bools,
    ByKind,
    Losses,
    columns,
    made,
    of_chosen,
)
from stockbatch import metrics
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.records import Floats, Instrument, Kind, Run, Sessions
from stockbatch.store import archives, bi, group_metrics, runs, sums, ticker_metrics
from stockbatch.store import metrics as metric_store
from stockbatch.store.metrics import Row
from stockbatch.store.sums import Notes
from stockbatch.store.ticker_metrics import Columns, Known, Table

Windowed = TypeVar("Windowed", Row, group_metrics.Row)

Places = NDArray[np.intp]
"""Of sessions in a window."""
LONGEST = max(WINDOWS)
MOST = 0.5
"""Share of tickers that must be carried on, or be left alone, for it to pay to tell them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What all parts of the tickers have in common."""

    sessions: Sessions
    """The longest window, up to the run's session, and the session before it."""
    members: groups.Groups
    kept: int
    """Of so many of these sessions forecasts are still there."""

    @classmethod
    def load(cls, db: Session, calendar: TradingCalendar, session: date) -> Self:
        """Load it as of a session."""
        sessions = calendar.window(session, LONGEST + 1)
        kept = archives.kept(db, calendar.code, sessions)
        return cls(sessions=sessions, members=bi.groups.members(db), kept=kept)

    @property
    def window(self) -> Sessions:
        """The longest window."""
        return self.sessions[1:]

    @property
    def changing(self) -> list[int]:
        """Places, in `sessions`, of what comes into a window or leaves one."""
        return [*(len(self.sessions) - 1 - window for window in WINDOWS), len(self.sessions) - 1]

    def within(self, rows: Iterable[Windowed]) -> list[Windowed]:
        """Return the rows of windows of which no forecast is gone."""
        return within(self.kept, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """What a part of the tickers adds to all, and to the groups, in the sessions wanted of it."""

    of_all: totals.Sums
    of_groups: totals.Sums
    notes: tuple[int, ...]
    """Notes that are settled once this is stored."""


def sum_up(
    app: App, run: Run, around: Around, wanted: Places, part: Sequence[Instrument]
) -> Summed:
    """Store the metrics of some tickers, and return what they add to all.

    Sums are wanted of sessions by their places in the window.
    """
    with app.transaction() as db:
        known = ticker_metrics.load(db, part)
        notes = sums.noted(db, part)
    stay, go_on = _of_use(around, part, known, notes)
    if len(wanted) == len(around.window) or np.mean(stay | go_on) < MOST:
        of_window = load(app, part, around.window)
        table, losses = _of_tickers(of_window, len(part)), _at(of_window, wanted)
        stay = np.zeros(len(part), bool)
    else:
        table, losses = _look_at_few(app, around, wanted, part, known.table, stay, go_on)
    changed = {
        key: {name: values[~stay] for name, values in of_key.items()}
        for key, of_key in table.items()
        if key[2] <= around.kept
    }
    with app.transaction() as db:
        runs.share(db, run, part)
        ticker_metrics.save(db, run.calendar, run.session, _those(part, ~stay), changed)
    counts = [not instrument.demo for instrument in part]
    of_all = totals.sum_up(losses, counts, ())
    of_groups = groups.sum_up_groups(losses, part, around.members)
    totals.add(of_all, totals.count_better(table, counts))
    totals.add(of_groups, groups.count_tickers(table, part, around.members))
    return Summed(of_all=of_all, of_groups=of_groups, notes=_settled(around, wanted, known, notes))


def _of_use(
    around: Around, part: Sequence[Instrument], known: Known, notes: Notes
) -> tuple[Bools, Bools]:
    """Tell which tickers' metrics are those of the session, and which can be carried on to it."""
    before, session = around.sessions[-2:]
    is_due = carried.due([one.id for one in part], as_date(session))
    # What leaves the longest window counts as well: its losses are taken off a sum.
    noted = np.isin(notes.sessions, around.sessions)
    earlier, any_noted = np.zeros((2, len(part)), bool)
    any_noted[notes.ticker[noted]] = True
    earlier[notes.ticker[noted & (notes.sessions != session)]] = True
    stay = (known.through == session) & ~any_noted
    go_on = (known.through == before) & ~earlier & ~is_due
    return stay, go_on & (around.kept == len(around.sessions))


def _settled(around: Around, wanted: Places, known: Known, notes: Notes) -> tuple[int, ...]:
    """Return the notes that nothing is left to do for; of what came meanwhile sums are wanted yet.

    Nor of tickers of which a later session was summed up: theirs are left as they are.
    """
    done = np.isin(notes.sessions, around.window[wanted]) | ~np.isin(notes.sessions, around.window)
    done &= ~(known.through[notes.ticker] > around.window[-1])
    return tuple(notes.ids[done].tolist())


def _look_at_few(
    app: App,
    around: Around,
    wanted: Places,
    part: Sequence[Instrument],
    known: Table,
    stay: Bools,
    go_on: Bools,
) -> tuple[Table, ByKind]:
    """Return the metrics of all tickers, and the losses of the sessions wanted.

    Of most tickers nothing is read but what changes their sums.
    """
    places = np.unique([*around.changing, *(wanted + 1)])
    losses = load(app, part, around.sessions[places])
    *left, came = np.searchsorted(places, around.changing).tolist()
    moved, right = carried.carry_on(
        known, losses, came, dict(zip(WINDOWS, left, strict=True)), len(part)
    )
    anew = ~(stay | (go_on & right))
    counted = _of_tickers(load(app, _those(part, anew), around.window), int(anew.sum()))
    table = _joined([(known, stay), (moved, go_on & right), (_spread(counted, anew), anew)])
    return table, _at(losses, np.searchsorted(places, wanted + 1))


def _at(losses: ByKind, places: Places) -> ByKind:
    return {
        key: {name: values[:, places] for name, values in of_one.items()}
        for key, of_one in losses.items()
    }


def _those(part: Sequence[Instrument], chosen: Bools) -> list[Instrument]:
    return [one for one, is_one in zip(part, chosen, strict=True) if is_one]


def _spread(table: Table, of: Bools) -> Table:
    """Return a table of some tickers as one of all."""
    places = np.cumsum(of) - 1
    return {
        key: {name: values[places] for name, values in of_key.items()}
        for key, of_key in table.items()
        if of.any()
    }


def _joined(parts: Sequence[tuple[Table, Bools]]) -> Table:
    """Return one table of several, each of which counts for its tickers."""
    joined: dict[tuple[str, Kind, int], dict[str, Floats]] = {}
    for table, mine in parts:
        for key, of_key in table.items():
            into = joined.setdefault(key, ticker_metrics.nothing(len(mine)))
            for name, values in of_key.items():
                into[name][mine] = values[mine]
    return joined


def within(kept: int, rows: Iterable[Windowed]) -> list[Windowed]:
    """Return the rows of windows no longer than `kept` sessions: of others forecasts are gone."""
    return [row for row in rows if row.window_sessions <= kept]


def load(app: App, instruments: Sequence[Instrument], sessions: Sessions) -> ByKind:
    """Return the losses of the scored forecasts of `sessions`."""
    with app.transaction() as db:
        scored = metric_store.scored(db, instruments, sessions)
    return {key: _losses(forecasts) for key, forecasts in scored.items()}


def _losses(forecasts: Mapping[str, Floats]) -> Losses:
    """Return the losses of scored forecasts."""
    # Whoever states points only has NaN throughout: without quantiles no metric of them has a row.
    quantiles = np.stack([forecasts[column] for column in QUANTILE_COLUMNS], axis=-1)
    points_only = bool(np.isnan(quantiles).all())
    return metrics.losses(
        close=forecasts["close"],
        actual_close=forecasts["actual_close"],
        log_return=forecasts["log_return"],
        actual_log_return=forecasts["actual_log_return"],
        origin_close=forecasts["origin_close"],
        quantiles=None if points_only else quantiles,
        probability_of_rise=None if points_only else forecasts["probability_of_rise"],
    )


def _of_tickers(losses: ByKind, tickers: int) -> Table:
    """Return the metrics of every ticker, from the losses of the longest window."""
    table: dict[tuple[str, Kind, int], Columns] = {}
    for kind, window in product(dict.fromkeys(kind for _, kind in losses), WINDOWS):
        lately = _lately(losses, kind, window) if tickers else {}
        averages = {method: metrics.averages(of_one) for method, of_one in lately.items()}
        for method, of_one in averages.items():
            compared = {
                baseline: _of_both(method, baseline, lately, averages)
                for baseline in BASELINES
                if baseline in lately
            }
            table[method, kind, window] = columns(of_one, compared)
    return table


def _lately(losses: ByKind, kind: Kind, window: int) -> Mapping[str, Losses]:
    """Return the losses of one kind in the last `window` sessions, by method."""
    return {
        method: {name: values[:, -window:] for name, values in of_one.items()}
        for (method, of_kind), of_one in losses.items()
        if of_kind is kind
    }


def _of_both(
    method: str,
    other: str,
    losses: Mapping[str, Losses],
    averages: Mapping[str, Averages],
) -> tuple[Averages, Averages]:
    """Return the metrics of two methods over the forecasts that both made.

    A ticker that one of them left out for a while would else be compared with other sessions.
    """
    both = made(losses[method]) & made(losses[other])
    own, others = (_of_those(losses[name], both, averages[name]) for name in (method, other))
    return own, others


def _of_those(losses: Losses, chosen: Bools, averages: Averages) -> Averages:
    """Return the metrics of the chosen forecasts; `averages` are those of all."""
    of_them = of_chosen(losses, chosen)
    return averages if of_them is losses else metrics.averages(of_them)
