"""What the forecasts of many tickers come to together, session by session.

Ten thousand tickers with the losses of all their methods are more than fits into memory. They are
looked at part by part; of each part sums by session stay, which add up.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from jobs.daily.losses import BASELINES, WINDOWS, Averages, ByKind, made, of_chosen, rows
from stockbatch import metrics
from stockbatch.methods import registry
from stockbatch.records import LSTM, QUANTILE_BASELINE, Floats, Kind
from stockbatch.store.metrics import Row
from stockbatch.store.ticker_metrics import Columns, Table

Sums = dict[tuple[str, str, Kind], dict[str, Floats]]
"""By a method, another one and their kind: by name, the sums of the first one's losses over those
forecasts that both made. Both may be the same. Arrays (2, groups, sessions): sum, and of how many.
"""
BOTH = "pinball of both"
"""Sums of pinball losses where both methods have one, which forecasts of points have not."""
ROUNDING = 1e-12
"""Skill that is none: sums carried on from night to night differ in their last bits."""
BETTER = "tickers better"
"""In place of sums (2, ends, windows): tickers of which the first lost less, and all of both."""


def add(sums: Sums, more: Sums) -> None:
    """Add the sums of another part of the tickers."""
    for key, by_name in more.items():
        mine = sums.setdefault(key, {})
        for name, values in by_name.items():
            mine[name] = mine[name] + values if name in mine else values


def by_session(values: Floats, members: Floats) -> Floats:
    """Return the sums of `values` (tickers, sessions) that are known, and of how many they are.

    `members` (groups, tickers) is 1 where a ticker is in a group; the answer is (2, groups,
    sessions).
    """
    known = np.isfinite(values)
    return np.stack([members @ np.where(known, values, 0.0), members @ known.astype(np.float64)])


def where_both(own: Floats, other: Floats) -> Floats:
    """Return the losses `own` where both are known, else NaN."""
    return np.where(np.isfinite(own) & np.isfinite(other), own, np.nan)


def pinball_of_both(sums: Sums, method: str, other: str, kind: Kind) -> tuple[Floats, Floats]:
    """Return what two methods lost by group and session, NaN where nothing is known of it.

    A session is one observation, however many tickers there are: a bad day of a sector is one, not
    fifty.
    """
    own, others = sums[method, other, kind][BOTH], sums[other, method, kind][BOTH]
    return np.where(own[1], own[0], np.nan), np.where(others[1], others[0], np.nan)


def sum_up(losses: ByKind, counts: Sequence[bool], ends: Sequence[int]) -> Sums:
    """Return the sums of the tickers that count, as one group.

    Windows end before each of `ends`, which are places in the sessions; without any it is not told
    of how many tickers a method was better.
    """
    members = np.array([counts], dtype=np.float64)
    compared = (*BASELINES, *registry.rivals(), LSTM)
    return {
        (method, other, kind): _of_pair(losses, method, other, kind, members, ends)
        for method, kind in losses
        for other in (name for name, of_kind in losses if of_kind is kind)
        if method == other or method in compared or other in compared
    }


def _of_pair(
    losses: ByKind, method: str, other: str, kind: Kind, members: Floats, ends: Sequence[int]
) -> dict[str, Floats]:
    own, others = losses[method, kind], losses[other, kind]
    sums = {}
    if method == other or method in BASELINES or other in BASELINES:
        chosen = own if method == other else of_chosen(own, made(own) & made(others))
        sums = {name: by_session(values, members) for name, values in chosen.items()}
    if "pinball" in own and "pinball" in others:
        sums[BOTH] = by_session(where_both(own["pinball"], others["pinball"]), members)
        if ends and other == QUANTILE_BASELINE != method:
            mine = members[0] == 1
            sums[BETTER] = _better(own["pinball"][mine], others["pinball"][mine], ends)
    return sums


def count_better(table: Table, counts: Sequence[bool]) -> Sums:
    """Return of how many tickers that count a method lost less than the rolling quantiles."""
    sums: Sums = {}
    for method, kind in dict.fromkeys((method, kind) for method, kind, _ in table):
        if method == QUANTILE_BASELINE:
            continue
        of_windows = [table.get((method, kind, window)) for window in WINDOWS]
        numbers = [(0, 0) if one is None else _of_better(one, counts) for one in of_windows]
        better = np.array(numbers, dtype=np.float64).T[:, None]
        if better.any():
            sums[method, QUANTILE_BASELINE, kind] = {BETTER: better}
    return sums


def _of_better(of_tickers: Columns, counts: Sequence[bool]) -> tuple[int, int]:
    mine = np.array(counts, dtype=bool)
    both = ~np.isnan(of_tickers["pinball_baseline"]) & (of_tickers["n_pinball"] > 0) & mine
    return int((both & (of_tickers["pinball_skill"] > ROUNDING)).sum()), int(both.sum())


def _better(own: Floats, others: Floats, ends: Sequence[int]) -> Floats:
    """Return for each end and window of how many tickers (tickers, sessions) `own` is less."""
    counts = [
        [metrics.tickers_better(own[:, at], others[:, at]) for at in _windows(end)] for end in ends
    ]
    return np.moveaxis(np.array(counts, dtype=np.float64), -1, 0)


def _windows(end: int) -> list[slice]:
    return [slice(end - window, end) for window in WINDOWS]


def of_all(sums: Sums, end: int) -> Iterator[Row]:
    """Yield the metrics of all forecasts in the windows that end before `end`.

    The forecasts of all tickers are taken as those of one: each counts the same.
    """
    for kind, window in product(_kinds(sums), WINDOWS):
        at = slice(end - window, end)
        averages = {pair[:2]: _averages(sums[pair], at) for pair in sums if pair[2] is kind}
        own = {method: of_one for (method, other), of_one in averages.items() if method == other}
        compared = {
            (method, baseline): (averages[method, baseline], averages[baseline, method])
            for method, baseline in averages
            if baseline in BASELINES
        }
        for row in rows(kind, window, own, compared):
            if row.metric in metrics.RETURN_METRICS:
                yield row


def _kinds(sums: Sums) -> list[Kind]:
    return list(dict.fromkeys(kind for _, _, kind in sums))


def _averages(sums: Mapping[str, Floats], at: slice) -> Averages:
    means = {
        name: metrics.mean_of_sum(*values[:, :, at].sum(axis=-1))
        for name, values in sums.items()
        if name not in (BOTH, BETTER)
    }
    return metrics.averages_of(means) if means else {}


def whole(sums: Sums, end: int, number: int) -> Iterator[Row]:
    """Yield all metrics of a calendar, `of_all` and the `leaderboard`."""
    yield from of_all(sums, end)
    yield from leaderboard(sums, end, number)


def leaderboard(sums: Sums, end: int, number: int) -> Iterator[Row]:
    """Yield metrics that compare the quantiles of methods, in the windows that end before `end`.

    It is the end of that `number` of those that were summed up for.
    """
    for (method, other, kind), of_pair in sums.items():
        for place, window in enumerate(WINDOWS if BOTH in of_pair else ()):
            at = slice(end - window, end)
            n = int(of_pair[BOTH][1, 0, at].sum())
            found = dict(_compared(sums, method, other, kind, at))
            if BETTER in of_pair:
                better, tickers = of_pair[BETTER][:, number, place]
                found["share_better"] = better / tickers if tickers else np.nan
            for metric, value in found.items() if n else ():
                known = None if np.isnan(value) else float(value)
                yield Row(method, kind, window, metric, n, known, None, None)


def _compared(
    sums: Sums, method: str, other: str, kind: Kind, at: slice
) -> Iterator[tuple[str, float]]:
    """Yield the comparisons of a method with another over what both forecast."""
    own, others = (loss[:, at] for loss in pinball_of_both(sums, method, other, kind))
    if other in registry.rivals():
        skill = metrics.clustered_skill(own, others)
        yield f"skill_vs_{other}", skill.value
        yield f"skill_vs_{other}_error", skill.standard_error
    if other == LSTM != method:
        n = sums[method, other, kind][BOTH][1, 0, at]
        test = metrics.diebold_mariano(own[0] / n, others[0] / n)
        yield "dm_statistic", test.statistic
        yield "dm_p_value", test.p_value
