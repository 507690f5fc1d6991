"""Metrics of a part of the tickers: stored for each, and summed up for all and for their groups."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.daily import groups, totals
from jobs.daily.losses import BASELINES, WINDOWS, Averages, ByKind, Losses, made, of_chosen, rows
from stockbatch import metrics
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Floats, Instrument, Kind, Run, Sessions
from stockbatch.store import archives, bi, group_metrics, runs
from stockbatch.store import metrics as metric_store
from stockbatch.store.metrics import Row

Windowed = TypeVar("Windowed", Row, group_metrics.Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What all parts of the tickers have in common."""

    sessions: Sessions
    """The longest window, up to the run's session."""
    members: groups.Groups
    kept: int
    """Of so many of the last sessions forecasts are still there."""

    @classmethod
    def load(cls, db: Session, calendar: TradingCalendar, session: date) -> Self:
        """Load it as of a session."""
        window = calendar.window(session, max(WINDOWS))
        kept = archives.kept(db, calendar.code, window)
        return cls(sessions=window, members=bi.groups.members(db), kept=kept)

    def within(self, rows: Iterable[Windowed]) -> list[Windowed]:
        """Return the rows of windows of which no forecast is gone."""
        return within(self.kept, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """What a part of the tickers adds to all, and to the groups."""

    of_all: totals.Sums
    of_groups: totals.Sums


def sum_up(app: App, run: Run, around: Around, part: Sequence[Instrument]) -> Summed:
    """Store the metrics of some tickers, and return what they add to all."""
    losses = load(app, part, around.sessions)
    found = around.within(_of_tickers(losses, [instrument.id for instrument in part]))
    with app.transaction() as db:
        runs.share(db, run, part)
        metric_store.save(db, run.calendar, run.session, found)
    counts = [not instrument.demo for instrument in part]
    return Summed(
        of_all=totals.sum_up(losses, counts, [len(around.sessions)]),
        of_groups=groups.sum_up_groups(losses, part, around.members),
    )


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


def _of_tickers(losses: ByKind, ids: Sequence[int]) -> Iterator[Row]:
    """Yield the metrics of every ticker."""
    for kind, window in product(dict.fromkeys(kind for _, kind in losses), WINDOWS):
        lately = _lately(losses, kind, window)
        averages = {method: metrics.averages(of_one) for method, of_one in lately.items()}
        compared = {
            (method, baseline): _of_both(method, baseline, lately, averages)
            for method, baseline in product(lately, BASELINES)
            if baseline in lately
        }
        yield from rows(ids, kind, window, averages, compared)


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


def _of_those(losses: Losses, chosen: NDArray[np.bool_], averages: Averages) -> Averages:
    """Return the metrics of the chosen forecasts; `averages` are those of all."""
    of_them = of_chosen(losses, chosen)
    return averages if of_them is losses else metrics.averages(of_them)
