"""Sum up how good the forecasts of the last sessions were."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import product

import numpy as np
from numpy.typing import NDArray

from jobs.app import App
from jobs.daily.groups import of_groups
from jobs.isolation import isolate
from stockbatch import metrics
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.methods import registry
from stockbatch.metrics import Average
from stockbatch.records import (
    LSTM,
    POINT_BASELINE,
    QUANTILE_BASELINE,
    Floats,
    Instrument,
    Kind,
    Run,
    Sessions,
)
from stockbatch.store import bars, bi, group_metrics, runs
from stockbatch.store import instruments as instrument_store
from stockbatch.store import metrics as metric_store
from stockbatch.store.metrics import Row

WINDOWS = (20, 60, 250)
"""Target sessions a metric looks back at."""
HISTORY_AT_ONCE = 50
"""Sessions whose windows are held in memory together."""
BASELINES = (POINT_BASELINE, QUANTILE_BASELINE)
"""What points, and what quantiles, are compared with."""
Losses = Mapping[str, Floats]
"""Losses of scored forecasts by name, arrays (tickers, sessions), NaN where there is none."""
ByMethod = Mapping[str, Losses]
ByKind = Mapping[tuple[str, Kind], Losses]
"""By method and kind."""
Averages = Mapping[str, Average]
"""By metric."""


def update_metrics(app: App, run: Run, calendar: TradingCalendar) -> None:
    """Compute and store the metrics of the windows that end at the run's session.

    They are those of the whole watchlist, whichever part of it the run handled. Tickers whose
    metrics cannot be stored keep those from before, and are in no total.
    """
    window = calendar.window(run.session, max(WINDOWS))
    with app.transaction() as db:
        instruments = instrument_store.active(db, calendar.code)
        if not bars.states(db, [instrument.id for instrument in instruments], run.session):
            # Nothing is to be summed up. By a clock that is ahead, this session may be months off,
            # and its metrics would be the newest for as long.
            return
    summed: list[tuple[Sequence[Instrument], ByKind]] = []

    def sum_up(part: Sequence[Instrument]) -> None:
        losses = _load(app, part, window)
        rows = _of_tickers(losses, [instrument.id for instrument in part])
        with app.transaction() as db:
            runs.lock(db, run)
            metric_store.save(db, run.calendar, run.session, rows)
        summed.append((part, losses))

    isolate(f"{run.calendar} {run.session} metrics", sum_up, [instruments])
    in_all, losses = _put_together(summed)
    # Of demonstration tickers alone there is no total: it would be one of nothing.
    if in_all.any():
        rows = [*_of_all(losses, in_all), *_leaderboard(losses, in_all)]
        with app.transaction() as db:
            runs.lock(db, run)
            metric_store.save(db, run.calendar, run.session, rows)
        _update_groups(app, run, [one for part, _ in summed for one in part], losses)


def _update_groups(app: App, run: Run, instruments: Sequence[Instrument], losses: ByKind) -> None:
    """Compute and store what the tickers of each group come to, as it stands now."""
    with app.transaction() as db:
        groups = bi.groups.members(db)
    rows = list(of_groups(losses, instruments, groups, WINDOWS))
    with app.transaction() as db:
        runs.lock(db, run)
        group_metrics.save(db, run.calendar, run.session, rows)


def _put_together(
    parts: Sequence[tuple[Sequence[Instrument], ByKind]],
) -> tuple[NDArray[np.bool_], ByKind]:
    """Return which of the tickers in all parts count in totals, and the losses of all of them."""
    in_all = _in_all([instrument for instruments, _ in parts for instrument in instruments])
    if len(parts) == 1:  # nearly always: nothing was left out, and nothing is copied
        return in_all, parts[0][1]
    names = {
        (key, name) for _, losses in parts for key, of_one in losses.items() for name in of_one
    }
    together: dict[tuple[str, Kind], dict[str, Floats]] = {}
    for key, name in sorted(names):
        together.setdefault(key, {})[name] = np.concatenate(
            [
                losses[key][name]
                if name in losses.get(key, {})
                else np.full((len(instruments), max(WINDOWS)), np.nan)
                for instruments, losses in parts
            ]
        )
    return in_all, together


def update_history(app: App, run: Run, calendar: TradingCalendar, first: date) -> None:
    """Compute and store the metrics of all backtests together, by session from `first` on.

    Those of the run's session are left to `update_metrics`.
    """
    # Windows of neighbouring sessions overlap: a block of them is loaded once and looked at through
    # one window after the other.
    ends = calendar.between(first, run.session)[:-1]
    with app.transaction() as db:
        instruments = instrument_store.active(db, calendar.code)
    with app.progress() as progress:
        task = progress.add_task("metrics", total=len(ends))
        for start in range(0, len(ends), HISTORY_AT_ONCE):
            block = ends[start : start + HISTORY_AT_ONCE]
            length = max(WINDOWS) + len(block) - 1
            losses = _load(app, instruments, calendar.window(as_date(block[-1]), length))
            in_all = _in_all(instruments)
            for number, end in enumerate(block if in_all.any() else ()):
                seen = slice(number, number + max(WINDOWS))
                then = {
                    key: {name: values[:, seen] for name, values in of_one.items()}
                    for key, of_one in losses.items()
                    if key[1] is Kind.BACKTEST
                }
                rows = [*_of_all(then, in_all), *_leaderboard(then, in_all)]
                with app.transaction() as db:
                    runs.lock(db, run)
                    metric_store.save(db, run.calendar, as_date(end), rows)
                progress.advance(task)


def _load(app: App, instruments: Sequence[Instrument], sessions: Sessions) -> ByKind:
    """Return the losses of the scored forecasts of `sessions`."""
    with app.transaction() as db:
        scored = metric_store.scored(db, instruments, sessions)
    return {key: _losses(forecasts) for key, forecasts in scored.items()}


def _in_all(instruments: Sequence[Instrument]) -> NDArray[np.bool_]:
    return np.array([not instrument.demo for instrument in instruments], dtype=bool)


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
    for kind, window in product(_kinds(losses), WINDOWS):
        yield from _rows(ids, kind, window, _lately(losses, kind, window))


def _of_all(losses: ByKind, in_all: NDArray[np.bool_]) -> Iterator[Row]:
    """Yield the metrics of all forecasts of the chosen tickers together."""
    for kind, window in product(_kinds(losses), WINDOWS):
        # The forecasts of all tickers are taken as those of one: each counts the same.
        together = {
            method: {name: values[in_all].reshape(1, -1) for name, values in of_one.items()}
            for method, of_one in _lately(losses, kind, window).items()
        }
        for row in _rows([None], kind, window, together):
            if row.metric in metrics.RETURN_METRICS:
                yield row


def _kinds(losses: ByKind) -> list[Kind]:
    return list(dict.fromkeys(kind for _, kind in losses))


def _lately(losses: ByKind, kind: Kind, window: int) -> ByMethod:
    """Return the losses of one kind in the last `window` sessions."""
    return {
        method: {name: values[:, -window:] for name, values in of_one.items()}
        for (method, of_kind), of_one in losses.items()
        if of_kind is kind
    }


def _rows(ids: Sequence[int | None], kind: Kind, window: int, losses: ByMethod) -> Iterator[Row]:
    """Yield one row per method, id and metric that has a value; `ids` are those of the tickers.

    Skill, and the baseline's value, are those of the forecasts that both methods made.
    """
    averages = {method: metrics.averages(of_one) for method, of_one in losses.items()}
    for method in losses:
        compared = {
            baseline: _of_both(method, baseline, losses, averages) for baseline in BASELINES
        }
        for metric, (value, n) in averages[method].items():
            own, other = compared[_baseline(metric)]
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


def _of_both(
    method: str, other: str, losses: ByMethod, averages: Mapping[str, Averages]
) -> tuple[Averages, Averages]:
    """Return the metrics of two methods over the forecasts that both made.

    A ticker that one of them left out for a while would else be compared with other sessions.
    """
    if other not in losses:
        return {}, {}
    both = _made(losses[method]) & _made(losses[other])
    own, others = (_where(both, losses[name], averages[name]) for name in (method, other))
    return own, others


def _made(losses: Losses) -> NDArray[np.bool_]:
    return ~np.isnan(losses["absolute_error"])


def _where(chosen: NDArray[np.bool_], losses: Losses, averages: Averages) -> Averages:
    """Return the metrics of the chosen forecasts; `averages` are those of all."""
    if not (_made(losses) & ~chosen).any():  # nearly always: nothing is left out, nor computed anew
        return averages
    return metrics.averages(
        {name: np.where(chosen, values, np.nan) for name, values in losses.items()}
    )


def _leaderboard(losses: ByKind, in_all: NDArray[np.bool_]) -> Iterator[Row]:
    """Yield metrics of the chosen tickers that compare the quantiles of the methods of a kind."""
    pinball = {
        key: of_one["pinball"][in_all] for key, of_one in losses.items() if "pinball" in of_one
    }
    for (method, kind), loss in pinball.items():
        for window in WINDOWS:
            of_kind = {m: other[:, -window:] for (m, k), other in pinball.items() if k is kind}
            for metric, n, number in _comparisons(method, loss[:, -window:], of_kind):
                if n:
                    value = None if np.isnan(number) else number
                    yield Row(None, method, kind, window, metric, n, value, None, None)


def _comparisons(
    method: str, own: Floats, losses: Mapping[str, Floats]
) -> Iterator[tuple[str, int, float]]:
    """Yield metric, n and value of the comparisons of a method, over what both forecast."""
    for rival in registry.rivals():
        if rival in losses:
            n = _common(own, losses[rival])
            skill = metrics.clustered_skill(own, losses[rival])
            yield f"skill_vs_{rival}", n, skill.value
            yield f"skill_vs_{rival}_error", n, skill.standard_error
    rolling, lstm = losses.get(QUANTILE_BASELINE), losses.get(LSTM)
    if rolling is not None and method != QUANTILE_BASELINE:
        yield "share_better", _common(own, rolling), metrics.share_better(own, rolling)
    if lstm is not None and method != LSTM:
        n, test = _common(own, lstm), metrics.diebold_mariano(own, lstm)
        yield "dm_statistic", n, test.statistic
        yield "dm_p_value", n, test.p_value


def _common(one: Floats, other: Floats) -> int:
    return int(np.count_nonzero(np.isfinite(one) & np.isfinite(other)))


def _known(numbers: Floats) -> list[float | None]:
    known = numbers.astype(object)
    known[np.isnan(numbers)] = None
    values: list[float | None] = known.tolist()
    return values
