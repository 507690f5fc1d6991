"""The losses of scored forecasts, and the rows that their averages are stored as."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from stockbatch import metrics
from stockbatch.metrics import Average
from stockbatch.records import POINT_BASELINE, QUANTILE_BASELINE, Floats, Kind
from stockbatch.store.metrics import Row
from stockbatch.store.ticker_metrics import COMPARED, Columns, count_of

WINDOWS = (20, 60, 250)
"""Target sessions a metric looks back at."""
BASELINES = (POINT_BASELINE, QUANTILE_BASELINE)
"""What points, and what quantiles, are compared with."""
Losses = Mapping[str, Floats]
"""Losses of scored forecasts by name, arrays (tickers, sessions), NaN where there is none."""
ByKind = Mapping[tuple[str, Kind], Losses]
"""By method and kind."""
Averages = Mapping[str, Average]
"""By metric."""
Bools = NDArray[np.bool_]


def made(losses: Losses) -> Bools:
    """Tell which forecasts there are, (tickers, sessions)."""
    return ~np.isnan(losses["absolute_error"])


def of_chosen(losses: Losses, chosen: Bools) -> Losses:
    """Return the losses of the chosen forecasts; what nothing is left out of is itself."""
    if not (made(losses) & ~chosen).any():  # nearly always: nothing is copied, nor computed anew
        return losses
    return {name: np.where(chosen, values, np.nan) for name, values in losses.items()}


def rows(
    kind: Kind,
    window: int,
    averages: Mapping[str, Averages],
    compared: Mapping[tuple[str, str], tuple[Averages, Averages]],
) -> Iterator[Row]:
    """Yield one row per method and metric that has a value, of averages of shape (1,).

    Skill, and the baseline's value, are those of the forecasts that both methods made: `compared`
    has the averages of both by method and baseline.
    """
    for method, of_method in averages.items():
        for metric, (value, n) in of_method.items():
            own, other = compared.get((method, baseline_of(metric)), ({}, {}))
            baseline = skill = np.full(1, np.nan)
            if metric in metrics.SKILL_METRICS and metric in other:
                baseline = other[metric].value
                skill = metrics.skill(own[metric].value, baseline)
            if count := n.item():
                numbers = (_known(number.item()) for number in (value, baseline, skill))
                yield Row(method, kind, window, metric, count, *numbers)


def columns(averages: Averages, compared: Mapping[str, tuple[Averages, Averages]]) -> Columns:
    """Return the metrics of tickers as they are stored: NaN, and 0 forecasts, where there are none.

    `compared` has by baseline the averages of the forecasts that both made, the method's own first.
    """
    nothing = np.full(len(averages["mae"].n), np.nan)
    unknown = metrics.Average(nothing, np.zeros(len(nothing), np.int64))
    found: dict[str, Floats] = {}
    for metric in (*metrics.METRICS, "mae"):  # whose number is that of all forecasts
        found[metric], n = averages.get(metric, unknown)
        found[count_of(metric)] = n.astype(np.float64)
    for metric in COMPARED:
        own, other = compared.get(baseline_of(metric), ({}, {}))
        baseline = nothing
        if metric in own and metric in other:
            baseline = np.where(own[metric].n > 0, other[metric].value, np.nan)
        found[f"{metric}_baseline"] = baseline
        found[f"{metric}_skill"] = metrics.skill(own.get(metric, unknown).value, baseline)
    of_both = {name: other for name, (_, other) in compared.items()}
    for name, baseline_name, metric in (
        ("n_both_points", POINT_BASELINE, "mae"),
        ("n_both_quantiles", QUANTILE_BASELINE, "pinball"),
    ):
        n = of_both.get(baseline_name, {}).get(metric, unknown).n
        found[name] = np.where(found[count_of(metric)] > 0, n, 0).astype(np.float64)
    return found


def baseline_of(metric: str) -> str:
    """Return the method that a metric is compared with."""
    return QUANTILE_BASELINE if metric in metrics.DISTRIBUTION_METRICS else POINT_BASELINE


def _known(number: float) -> float | None:
    return None if np.isnan(number) else number
