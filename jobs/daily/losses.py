"""The losses of scored forecasts, and the rows that their averages are stored as."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stockbatch import metrics
from stockbatch.metrics import Average
from stockbatch.records import POINT_BASELINE, QUANTILE_BASELINE, Floats, Kind
from stockbatch.store.metrics import Row

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


def made(losses: Losses) -> NDArray[np.bool_]:
    """Tell which forecasts there are, (tickers, sessions)."""
    return ~np.isnan(losses["absolute_error"])


def of_chosen(losses: Losses, chosen: NDArray[np.bool_]) -> Losses:
    """Return the losses of the chosen forecasts; what nothing is left out of is itself."""
    if not (made(losses) & ~chosen).any():  # nearly always: nothing is copied, nor computed anew
        return losses
    return {name: np.where(chosen, values, np.nan) for name, values in losses.items()}


def rows(
    ids: Sequence[int | None],
    kind: Kind,
    window: int,
    averages: Mapping[str, Averages],
    compared: Mapping[tuple[str, str], tuple[Averages, Averages]],
) -> Iterator[Row]:
    """Yield one row per method, id and metric that has a value; `ids` are those of the tickers.

    Skill, and the baseline's value, are those of the forecasts that both methods made: `compared`
    has the averages of both by method and baseline.
    """
    for method, of_method in averages.items():
        for metric, (value, n) in of_method.items():
            own, other = compared.get((method, _baseline(metric)), ({}, {}))
            baseline = skill = np.full(len(ids), np.nan)
            if metric in metrics.SKILL_METRICS and metric in other:
                baseline = other[metric].value
                skill = metrics.skill(own[metric].value, baseline)
            columns = (_known(numbers) for numbers in (value, baseline, skill))
            for id_, count, *numbers in zip(ids, n.tolist(), *columns, strict=True):
                if count:
                    yield Row(id_, method, kind, window, metric, count, *numbers)


def _baseline(metric: str) -> str:
    """Return the method that a metric is compared with."""
    return QUANTILE_BASELINE if metric in metrics.DISTRIBUTION_METRICS else POINT_BASELINE


def _known(numbers: Floats) -> list[float | None]:
    known = numbers.astype(object)
    known[np.isnan(numbers)] = None
    values: list[float | None] = known.tolist()
    return values
