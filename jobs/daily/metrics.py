"""Sum up how good the forecasts of the last sessions were."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from jobs.app import App
from jobs.daily import groups, totals
from jobs.daily.losses import BASELINES, WINDOWS, Averages, ByKind, Losses, made, of_chosen, rows
from jobs.isolation import isolate
from stockbatch import metrics
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.records import Floats, Instrument, Kind, Run, Sessions
from stockbatch.store import archives, bars, bi, group_metrics, runs
from stockbatch.store import instruments as instrument_store
from stockbatch.store import metrics as metric_store
from stockbatch.store.metrics import Row

Windowed = TypeVar("Windowed", Row, group_metrics.Row)

AT_ONCE = 500
"""Tickers whose losses are held in memory together."""
HISTORY_AT_ONCE = 50
"""Sessions whose windows are held in memory together."""


def update_metrics(app: App, run: Run, calendar: TradingCalendar) -> None:
    """Compute and store the metrics of the windows that end at the run's session.

    They are those of the whole watchlist, whichever part of it the run handled. Tickers whose
    metrics cannot be stored keep those from before, and are in no total. Windows that an archive
    reaches into keep what was known of them.
    """
    window = calendar.window(run.session, max(WINDOWS))
    with app.transaction() as db:
        instruments = instrument_store.active(db, calendar.code)
        if not bars.states(db, [instrument.id for instrument in instruments], run.session):
            # Nothing is to be summed up. By a clock that is ahead, this session may be months off,
            # and its metrics would be the newest for as long.
            return
        members = bi.groups.members(db)
        kept = archives.kept(db, calendar.code, window)
    of_all: totals.Sums = {}
    of_groups: totals.Sums = {}

    def sum_up(part: Sequence[Instrument]) -> None:
        losses = _load(app, part, window)
        found = _within(kept, _of_tickers(losses, [instrument.id for instrument in part]))
        with app.transaction() as db:
            runs.lock(db, run)
            metric_store.save(db, run.calendar, run.session, found)
        counts = [not instrument.demo for instrument in part]
        totals.add(of_all, totals.sum_up(losses, counts, [len(window)]))
        totals.add(of_groups, groups.sum_up_groups(losses, part, members))

    parts = (instruments[i : i + AT_ONCE] for i in range(0, len(instruments), AT_ONCE))
    isolate(f"{run.calendar} {run.session} metrics", sum_up, parts)
    # Of demonstration tickers alone there is no total: it would be one of nothing.
    if any(not instrument.demo for instrument in instruments):
        found = _within(kept, totals.whole(of_all, len(window), 0))
        summed = _within(kept, groups.of_groups(of_groups, members))
        with app.transaction() as db:
            runs.lock(db, run)
            metric_store.save(db, run.calendar, run.session, found)
            group_metrics.save(db, run.calendar, run.session, summed)


def update_history(app: App, run: Run, calendar: TradingCalendar, first: date) -> None:
    """Compute and store the metrics of all backtests together, by session from `first` on.

    Those of the run's session are left to `update_metrics`. Windows that an archive reaches into
    keep what was known of them.
    """
    # Windows of neighbouring sessions overlap: a block of them is loaded once and looked at through
    # one window after the other.
    ends = calendar.between(first, run.session)[:-1]
    with app.transaction() as db:
        instruments = [one for one in instrument_store.active(db, calendar.code) if not one.demo]
    with app.progress() as progress:
        task = progress.add_task("metrics", total=len(ends))
        for start in range(0, len(ends) if instruments else 0, HISTORY_AT_ONCE):
            block = ends[start : start + HISTORY_AT_ONCE]
            length = max(WINDOWS) + len(block) - 1
            places = range(max(WINDOWS), length + 1)
            window = calendar.window(as_date(block[-1]), length)
            sums = _of_backtests(app, instruments, window, places)
            for number, (end, place) in enumerate(zip(block, places, strict=True)):
                with app.transaction() as db:
                    kept = archives.kept(db, calendar.code, window[:place])
                    found = _within(kept, totals.whole(sums, place, number))
                    runs.lock(db, run)
                    metric_store.save(db, run.calendar, as_date(end), found)
                progress.advance(task)


def _within(kept: int, rows: Iterable[Windowed]) -> list[Windowed]:
    """Return the rows of windows no longer than `kept` sessions: of others forecasts are gone."""
    return [row for row in rows if row.window_sessions <= kept]


def _of_backtests(
    app: App, instruments: Sequence[Instrument], sessions: Sessions, ends: Sequence[int]
) -> totals.Sums:
    sums: totals.Sums = {}
    for start in range(0, len(instruments), AT_ONCE):
        part = instruments[start : start + AT_ONCE]
        losses = _load(app, part, sessions)
        backtests = {key: of_one for key, of_one in losses.items() if key[1] is Kind.BACKTEST}
        totals.add(sums, totals.sum_up(backtests, [True] * len(part), ends))
    return sums


def _load(app: App, instruments: Sequence[Instrument], sessions: Sessions) -> ByKind:
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
