"""Carry the metrics of tickers on by a session: what came is added, what left the window taken off.

A metric times its number of forecasts is a sum of losses. What is rounded of it adds up, so that
each ticker is summed up anew now and then (`due`), as it is where anything else has changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product

import numpy as np

from jobs.daily.losses import (
    BASELINES,
    WINDOWS,
    Averages,
    Bools,
    ByKind,
    Losses,
    baseline_of,
    columns,
)
from stockbatch import metrics
from stockbatch.metrics import Average
from stockbatch.records import POINT_BASELINE, Floats, Kind
from stockbatch.store.ticker_metrics import COMPARED, Columns, N, Table, count_of, nothing

Sums = Mapping[str, Floats]
"""By loss: the sum, and of how many forecasts, (2, tickers)."""
ANEW_EVERY = 121
"""Days between those on which a ticker is summed up anew: no multiple of a week, so that its days
are not all of a weekend."""
OF_QUANTILES = sorted(metrics.DISTRIBUTION_METRICS)
"""Losses that are compared with the baseline of quantiles; the metrics are called alike."""
CANCELLED = 1e-6
"""Share of a sum that must stay for it to be carried on."""
CAME, LEFT = 0, 1
"""Places of the two sessions that a window differs by."""


def due(ids: Sequence[int], session: date) -> Bools:
    """Tell which tickers, by their ids, are to be summed up anew: each on days of its own."""
    return np.asarray((np.array(ids, np.int64) + session.toordinal()) % ANEW_EVERY == 0)


def carry_on(
    known: Table, losses: ByKind, came: int, left: Mapping[int, int], tickers: int
) -> tuple[Table, Bools]:
    """Return metrics of windows that end a session later than `known`, and of whom they are right.

    `losses` are those of some sessions, of which `came` is the place of the new one, and `left` by
    window that of the one which leaves it. They are not right where a baseline made forecasts in
    but a part of the sessions of a method: in which of them, sums do not tell.
    """
    table: dict[tuple[str, Kind, int], Columns] = {}
    right = np.ones(tickers, bool)
    for kind, window in product(Kind, WINDOWS):
        steps = {
            method: {name: values[:, [came, left[window]]] for name, values in of_one.items()}
            for (method, of_kind), of_one in losses.items()
            if of_kind is kind
        }
        before = {method: old for (method, *of), old in known.items() if of == [kind, window]}
        for method in dict.fromkeys((*before, *steps)):
            old, own = before.get(method) or nothing(tickers), steps.get(method, {})
            sums = _moved(_sums(old, ""), own)
            right &= _known(sums)
            averages, compared = _averages(sums), {}
            for baseline in BASELINES:
                shared = _shared(baseline, old, own, steps.get(baseline, {}))
                sums = _moved(_sums(old, baseline), shared.losses)
                right &= shared.tells & _known(sums)
                compared[baseline] = averages, _averages(sums)
            table[method, kind, window] = columns(averages, compared)
    return table, right


def _sums(old: Columns, baseline: str) -> dict[str, Floats]:
    """Return the sums behind a method's metrics, or behind its baseline's."""
    if baseline:
        n = old[_both(baseline)]
        means = {
            metric: Average(old[f"{metric}_baseline"], n.astype(np.int64))
            for metric in COMPARED
            if baseline_of(metric) == baseline
        }
    else:
        means = {
            metric: Average(old[metric], old[count_of(metric)].astype(np.int64))
            for metric in metrics.METRICS
        }
    return {
        loss: np.stack([np.where(n > 0, value * n, 0.0), n.astype(np.float64)])
        for loss, (value, n) in metrics.means_of(means).items()
    }


def _both(baseline: str) -> str:
    return "n_both_points" if baseline == POINT_BASELINE else "n_both_quantiles"


def _moved(sums: Sums, losses: Losses) -> dict[str, Floats]:
    """Return the sums after a session came and one left, whose losses are (tickers, 2)."""
    moved = {}
    for loss, values in sums.items():
        steps = losses.get(loss, np.full((values.shape[1], 2), np.nan))
        there = ~np.isnan(steps)
        change = np.stack([np.where(there, steps, 0.0), there.astype(np.float64)])
        total, n = values + change[:, :, CAME] - change[:, :, LEFT]
        if loss in metrics.HITS:
            total = np.rint(total)
        elif loss not in metrics.SIGNED:
            # Nearly all of it left, and what is left over is mostly rounding.
            total = np.where(total < CANCELLED * values[0], np.nan, total)
        moved[loss] = np.stack([np.where(n > 0, total, 0.0), n])
    return moved


def _known(sums: Sums) -> Bools:
    """Tell of which tickers the metrics told all sums."""
    return np.asarray(~np.isnan(np.stack([total for total, _ in sums.values()])).any(axis=0))


def _averages(sums: Sums) -> Averages:
    return metrics.averages_of(
        {name: metrics.mean_of_sum(*values) for name, values in sums.items()}
    )


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a baseline lost where a method made a forecast as well."""

    losses: Losses
    tells: Bools
    """Of which tickers the baseline made all of the method's forecasts, or none."""


def _shared(baseline: str, old: Columns, own: Losses, other: Losses) -> _Shared:
    tickers = len(old[N])
    made, by_other = (_known_of(losses, ["absolute_error"], tickers)[0] for losses in (own, other))
    n, tells = old[N], np.ones(tickers, bool)
    if baseline != POINT_BASELINE:
        # Where quantiles are not stated of all forecasts, the losses behind a metric differ.
        n = old["n_pinball"]
        tells = ((n == 0) | (n == old[N])) & (old["n_80"] == n) & (old["n_95"] == n)
        stated, some = _known_of(own, OF_QUANTILES, tickers)
        by_other, some_by_other = _known_of(other, OF_QUANTILES, tickers)
        tells &= ((stated == some) & (by_other == some_by_other)).all(axis=1)
        usual = np.where(old[N] > 0, n > 0, stated[:, CAME])
        tells &= ~made[:, CAME] | (stated[:, CAME] == usual)
        made = stated
    both = old[_both(baseline)]
    beside = np.where(n > 0, both > 0, by_other[:, CAME])
    tells &= ((both == n) | (both == 0)) & (~made[:, CAME] | (by_other[:, CAME] == beside))
    shared = made & beside[:, None]
    losses = {name: np.where(shared, values, np.nan) for name, values in other.items()}
    return _Shared(losses, tells)


def _known_of(losses: Losses, names: Iterable[str], tickers: int) -> tuple[Bools, Bools]:
    """Tell of which forecasts (tickers, 2) all of these losses are known, and of which any."""
    known = np.stack([~np.isnan(losses.get(name, np.full((tickers, 2), np.nan))) for name in names])
    return np.asarray(known.all(axis=0)), np.asarray(known.any(axis=0))
