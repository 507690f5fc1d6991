"""Sum up how good the forecasts of the last sessions were."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.app import App
from stockbatch import metrics
from stockbatch.metrics import Average
from stockbatch.records import Floats, Instrument, Kind, Method, Run
from stockbatch.sessions import TradingCalendar
from stockbatch.store import instruments as instrument_store
from stockbatch.store import metrics as metric_store
from stockbatch.store import runs
from stockbatch.tables import QUANTILE_COLUMNS

WINDOWS = (20, 60, 250)
"""Target sessions a metric looks back at."""
BASELINES = (Method.NAIVE, Method.ROLLING_QUANTILE)
"""What points, and what quantiles, are compared with."""
PROBABILISTIC = frozenset({"pinball", "winkler_80", "winkler_95"})
RIVALS = (Method.ROLLING_QUANTILE, Method.EWMA)
"""Whom the leaderboard states every method's skill against."""
Scored = Mapping[str, Floats]


def update_metrics(app: App, run: Run, calendar: TradingCalendar) -> None:
    """Compute and store the metrics of the windows that end at the run's session.

    They are those of the whole watchlist, whichever part of it the run handled.
    """
    sessions = calendar.window(run.session, max(WINDOWS))
    with app.transaction() as db:
        instruments = instrument_store.active(db, run.calendar)
        scored = metric_store.scored(db, instruments, sessions)

    in_all = np.array([not instrument.demo for instrument in instruments], dtype=bool)
    rows = [*_rows(scored, instruments, in_all), *_leaderboard(scored, in_all)]

    with app.transaction() as db:
        runs.lock(db, run)
        metric_store.save(db, run.calendar, run.session, rows)


def _rows(
    scored: Mapping[tuple[Method, Kind], Scored],
    instruments: Sequence[Instrument],
    in_all: NDArray[np.bool_],
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `store.metrics.save`: of every instrument, then of ALL."""
    ids = [instrument.id for instrument in instruments]
    for (method, kind), forecasts in scored.items():
        for window in WINDOWS:
            own = _last(forecasts, window)
            naive, rolling = (
                _last(scored.get((baseline, kind), {}), window) for baseline in BASELINES
            )
            key = method.value, kind.value, window
            yield from _metrics(ids, key, own, naive, rolling)
            if in_all.any():
                sides = [_pooled(side, in_all) for side in (own, naive, rolling)]
                for row in _metrics([None], key, *sides):
                    if row[4] in metrics.RETURN_METRICS:
                        yield row


def _leaderboard(
    scored: Mapping[tuple[Method, Kind], Scored], in_all: NDArray[np.bool_]
) -> Iterator[tuple[Any, ...]]:
    """Yield rows of ALL that compare the quantiles of the methods of one kind."""
    losses = {
        key: metrics.pinball(forecasts["actual_log_return"], _quantiles(forecasts))[in_all]
        for key, forecasts in scored.items()
    }
    for (method, kind), loss in losses.items():
        for window in WINDOWS:
            key = method.value, kind.value, window
            of_kind = {m: other[:, -window:] for (m, k), other in losses.items() if k is kind}
            for metric, n, value in _comparisons(method, loss[:, -window:], of_kind):
                if n:
                    yield None, *key, metric, n, _known(value), None, None


def _comparisons(
    method: Method, own: Floats, losses: Mapping[Method, Floats]
) -> Iterator[tuple[str, int, float]]:
    """Yield metric, n and value of the comparisons of a method, over what both forecast."""
    for rival in RIVALS:
        if rival in losses:
            n = _common(own, losses[rival])
            skill = metrics.clustered_skill(own, losses[rival])
            yield f"skill_vs_{rival}", n, skill.value
            yield f"skill_vs_{rival}_error", n, skill.standard_error
    rolling, lstm = losses.get(Method.ROLLING_QUANTILE), losses.get(Method.LSTM)
    if rolling is not None and method is not Method.ROLLING_QUANTILE:
        yield "share_better", _common(own, rolling), metrics.share_better(own, rolling)
    if lstm is not None and method is not Method.LSTM:
        n, test = _common(own, lstm), metrics.diebold_mariano(own, lstm)
        yield "dm_statistic", n, test.statistic
        yield "dm_p_value", n, test.p_value


def _common(one: Floats, other: Floats) -> int:
    return int(np.count_nonzero(np.isfinite(one) & np.isfinite(other)))


def _last(forecasts: Scored, window: int) -> Scored:
    return {name: values[:, -window:] for name, values in forecasts.items()}


def _pooled(forecasts: Scored, tickers: NDArray[np.bool_]) -> Scored:
    """Return all forecasts of the chosen tickers in one row."""
    return {name: values[tickers].reshape(1, -1) for name, values in forecasts.items()}


def _metrics(
    ids: Sequence[int | None],
    key: tuple[str, str, int],
    own: Scored,
    naive: Scored,
    rolling: Scored,
) -> Iterator[tuple[Any, ...]]:
    """Yield one row per id and metric that has a value; skill compares the same sessions only."""
    summary = _summarise(own)
    unknown = np.isnan(own["close"])
    by_naive, by_rolling = (
        _summarise({name: np.where(unknown, np.nan, v) for name, v in side.items()}) if side else {}
        for side in (naive, rolling)
    )
    for metric, (value, n) in summary.items():
        baseline = np.full(len(ids), np.nan)
        if metric in metrics.SKILL_METRICS:
            other = (by_rolling if metric in PROBABILISTIC else by_naive).get(
                metric, Average(baseline, n)
            )
            baseline = np.where(other.n == n, other.value, np.nan)
        skill = metrics.skill(value, baseline)
        for row in np.flatnonzero(n).tolist():
            numbers = (value[row], baseline[row], skill[row])
            yield ids[row], *key, metric, int(n[row]), *(_known(x) for x in numbers)


def _quantiles(forecasts: Scored) -> Floats:
    return np.stack([forecasts[column] for column in QUANTILE_COLUMNS], axis=-1)


def _summarise(forecasts: Scored) -> dict[str, Average]:
    quantiles = _quantiles(forecasts)
    points_only = bool(np.isnan(quantiles).all())
    return metrics.summarise(
        close=forecasts["close"],
        actual_close=forecasts["actual_close"],
        log_return=forecasts["log_return"],
        actual_log_return=forecasts["actual_log_return"],
        origin_close=forecasts["origin_close"],
        quantiles=None if points_only else quantiles,
        probability_of_rise=None if points_only else forecasts["probability_of_rise"],
    )


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
