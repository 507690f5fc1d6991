"""Sum up how good the forecasts of the last sessions were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from jobs.app import App
from jobs.daily import groups, kept_sums, totals
from jobs.daily.kept_sums import ALL, GROUPS, KeptSums
from jobs.daily.losses import WINDOWS
from jobs.daily.metric_orders import share_out
from jobs.daily.part_metrics import Around, Summed, load, sum_up, within
from jobs.isolation import isolate
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.records import Instrument, Kind, Run, Sessions
from stockbatch.store import archives, bars, group_metrics, runs, sums
from stockbatch.store import instruments as instrument_store
from stockbatch.store import metrics as metric_store

if TYPE_CHECKING:
    from jobs.workers.pool import Workers

AT_ONCE = 500
"""Tickers whose losses are held in memory together."""
HISTORY_AT_ONCE = 50
"""Sessions whose windows are held in memory together."""


def update_metrics(
    app: App, run: Run, calendar: TradingCalendar, shared: Workers | None = None
) -> None:
    """Compute and store the metrics of the windows that end at the run's session.

    They are those of the whole watchlist, whichever part of it the run handled. Tickers whose
    metrics cannot be stored keep those from before, and are in no total. Windows that an archive
    reaches into keep what was known of them.
    """
    with app.transaction() as db:
        instruments = instrument_store.active(db, calendar.code)
        if not bars.states(db, [instrument.id for instrument in instruments], run.session):
            # Nothing is to be summed up. By a clock that is ahead, this session may be months off,
            # and its metrics would be the newest for as long.
            return
        around = Around.load(db, calendar, run.session)
        members = kept_sums.members_of(instruments, around.members)
        kept = KeptSums.load(db, calendar.code, around.window, members)
    of_all: totals.Sums = {}
    of_groups: totals.Sums = {}
    notes: list[int] = []

    def add(more: Summed) -> None:
        totals.add(of_all, more.of_all)
        totals.add(of_groups, more.of_groups)
        notes.extend(more.notes)

    parts: list[Sequence[Instrument]] = [
        instruments[i : i + AT_ONCE] for i in range(0, len(instruments), AT_ONCE)
    ]
    if shared and len(parts) > 1:
        added, parts = share_out(app, run, shared, parts, kept.wanted)
        for one in added:
            add(one)
    left_out = isolate(
        f"{run.calendar} {run.session} metrics",
        lambda part: add(sum_up(app, run, around, kept.wanted, part)),
        parts,
    )
    of_all = kept.with_those(ALL, of_all)
    of_groups = kept.with_those(GROUPS, of_groups)
    found = around.within(totals.whole(of_all, len(around.window), 0))
    summed = around.within(groups.of_groups(of_groups, around.members))
    with app.transaction() as db:
        runs.lock(db, run)
        # Of demonstration tickers alone there is no total: it would be one of nothing.
        if any(not instrument.demo for instrument in instruments):
            metric_store.save(db, run.calendar, run.session, found)
            group_metrics.save(db, run.calendar, run.session, summed)
        if kept.is_newest:
            sums.settle(db, notes)
            if left_out or around.kept < len(around.sessions):
                sums.forget(db, run.calendar)
            else:
                kept.save(db, run.calendar, run.session, of_all, of_groups)


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
                    found = within(kept, totals.whole(sums, place, number))
                    runs.lock(db, run)
                    metric_store.save(db, run.calendar, as_date(end), found)
                progress.advance(task)


def _of_backtests(
    app: App, instruments: Sequence[Instrument], sessions: Sessions, ends: Sequence[int]
) -> totals.Sums:
    sums: totals.Sums = {}
    for start in range(0, len(instruments), AT_ONCE):
        part = instruments[start : start + AT_ONCE]
        losses = load(app, part, sessions)
        backtests = {key: of_one for key, of_one in losses.items() if key[1] is Kind.BACKTEST}
        totals.add(sums, totals.sum_up(backtests, [True] * len(part), ends))
    return sums
