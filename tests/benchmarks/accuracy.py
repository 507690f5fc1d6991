"""How good the forecasts are: `python -m tests.benchmarks.accuracy`.

A walk forward over past sessions with the code of production, every method scored alike. The loss
is the pinball loss of log returns, mean over the stated levels, divided by the ticker's standard
deviation before the first test session; standard errors are clustered by session.
"""

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from jobs.news import read as read_news
from stockbatch import metrics
from stockbatch.config import ModelSettings, Settings
from stockbatch.engine.material import Material
from stockbatch.engine.network import NETWORKS
from stockbatch.engine.training import TrainingProcess
from stockbatch.exceptions import StockbatchError
from stockbatch.methods.distribution import probability_above
from stockbatch.news.registry import scorer
from stockbatch.providers.registry import create
from stockbatch.records import MEDIAN, QUANTILES, Floats, News, Panel, Verdict
from tests.support import places

from .walk_forward import (
    ALONE,
    BASE,
    CALIBRATED,
    COMBINATION,
    EWMA,
    GARCH,
    POOLED,
    RAW,
    REPORTS,
    ROLLING,
    Walk,
    dated,
    prepare,
    read,
    told,
    walk,
)

FOLDER = places.DATA
DATES = FOLDER / "earnings_dates" / "sp500_2013_2018.csv"
PAIRS = (
    (COMBINATION, CALIBRATED),
    (COMBINATION, ALONE),
    (CALIBRATED, ALONE),
    (COMBINATION, POOLED),
    (COMBINATION, GARCH),
    (REPORTS, POOLED),
    (CALIBRATED, POOLED),
    (CALIBRATED, GARCH),
    (RAW, BASE),
)
"""Paired differences that matter: what the first gains over the second."""
FEWEST_DATES = 10
"""Reports of a ticker whose dates are known."""
SHOCK, AFTER_SHOCK = 3.0, 5
"""A shock is a market's move of so many of its usual ones; so many sessions follow it."""
LEVEL_OF_TESTS = 0.05
SETS = {"sp500_5yr": "sp500_5yr/all_stocks_5yr.csv.gz", "alpha_vantage_csv": "alpha_vantage_csv"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its tables; 2 where the data or the window is missing."""
    options = _options(arguments)
    path = FOLDER / SETS[options.data] if options.data in SETS else Path(options.data)
    if not path.exists():
        print(f"There is no {path}: --data takes a CSV file or folder as well", file=sys.stderr)
        return 2
    changes = dict(change.split("=", 1) for change in options.set)
    settings = Settings(
        retrain_after_sessions=options.tickers_every,
        base_after_sessions=options.base_every,
        threads=options.threads,
        model=ModelSettings(**changes),  # type: ignore[arg-type]
    )
    started = time.perf_counter()
    try:
        instruments, panel, complete = read(create(f"csv:{path}", settings), options.calendar)
    except StockbatchError as error:
        print(error, file=sys.stderr)
        return 2
    dates = _dates(Path(options.events)) if options.events else []
    known = dated(
        panel,
        dates,
        missing=options.missing,
        moved=options.moved,
        projected=options.projected,
    )
    news = _news(Path(options.news), panel, options.calendar, settings) if options.news else None
    whole = prepare(instruments, panel, known, news)
    first, last = _window(panel.sessions, options)
    if not settings.model.minimum_history <= first <= last:
        print("The test window is empty or leaves too little history", file=sys.stderr)
        return 2
    for line in _walked(whole, first, last, settings, options, complete):
        print(line, flush=True)
    print(f"wall time {time.perf_counter() - started:.0f} s")
    return 0


def _walked(
    whole: Material,
    first: int,
    last: int,
    settings: Settings,
    options: argparse.Namespace,
    complete: Any,
) -> Iterator[str]:
    """Walk with each network that is asked for; yield the lines of each, and of all compared.

    With news, walk without it first.
    """
    spread = _spread(whole.features.returns[:, :first])
    rows = complete | (not options.complete)
    costs: dict[str, float] = {}
    losses: dict[str, Floats] = {}
    networks = options.networks or [settings.model.network]
    for network, news in product(networks, (False, True) if whole.news else (False,)):
        model = settings.model.model_copy(update={"network": network, "news": news})
        own = settings.model_copy(update={"model": model})
        begun = _processor_seconds()
        with TrainingProcess(options.threads) as trainer:
            result = walk(whole, first, last, own, trainer, with_garch=options.garch)
        costs.setdefault(network, _processor_seconds() - begun)
        actual = np.where(rows[:, None] & (spread > 0)[:, None], result.actual, np.nan)
        for name, method in (
            (network, CALIBRATED),
            (f"combined with {network}", COMBINATION),
            (f"{REPORTS} beside {network}", REPORTS),
        ):
            lost = metrics.pinball_losses(result.quantiles[method], actual)
            losses[f"{name} and news" if news else name] = lost / spread[:, None]
        yield f"{options.data}, {result.sessions[0]} to {result.sessions[-1]}, {network},"
        yield f"changed: {' '.join(options.set) or 'nothing'}{', with news' if news else ''}"
        yield from report(result, spread, rows, _regimes(whole, result))
    yield from _about_news(losses)
    yield from _about_networks(losses, costs)


def _processor_seconds() -> float:
    """Return what this process and those it has ended have used: other programs do not count."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def report(
    result: Walk, spread: Floats, rows: Any, regimes: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the lines of the tables; `spread` (tickers,) scales losses, `rows` are scored.

    `regimes` are forecasts by what they have in common, true in (tickers, sessions).
    """
    known = np.isfinite(result.actual) & rows[:, None] & (spread > 0)[:, None]
    made = {name: np.isfinite(q).all(axis=-1) for name, q in result.quantiles.items()}
    methods = [name for name, forecast in made.items() if forecast.any()]
    known &= np.all([made[name] for name in methods], axis=0)
    actual = np.where(known, result.actual, np.nan)
    losses = {
        name: metrics.pinball_losses(result.quantiles[name], actual) / spread[:, None]
        for name in methods
    }
    up = float(np.mean(actual[known & (actual != 0)] > 0))
    return [
        f"{known.any(axis=1).sum()} tickers, {known.any(axis=0).sum()} sessions,"
        f" {known.sum()} forecasts of each method",
        "",
        *_table(result, actual, spread, losses),
        f"always up: {100 * up:.2f} % of directions",
        "",
        *_about_pairs(losses, regimes or {}),
        *_about_tails(result, actual, methods),
        *_about_regimes(result, known, regimes or {}, methods),
        *_about_models(result, known, losses),
        *_about_shrinkage(result, known),
        *_about_trust(result, known, losses),
    ]


def _table(result: Walk, actual: Floats, spread: Floats, losses: dict[str, Floats]) -> list[str]:
    head = f"{'':17}{'pinball':>16}{'vs rolling':>16}{'vs EWMA':>16}"
    head += f"{'better':>8}{'in 80':>8}{'in 90':>8}{'in 95':>8}"
    head += f"{'MSE skill':>11}{'direction':>11}  DM (p) of the network against it"
    return [head, *(_line(name, result, actual, spread, losses) for name in losses)]


def _line(
    name: str, result: Walk, actual: Floats, spread: Floats, losses: dict[str, Floats]
) -> str:
    """Return the line of one method."""
    loss, quantiles = losses[name], result.quantiles[name]
    naive = (actual / spread[:, None]) ** 2
    squared = ((actual - result.points[name]) / spread[:, None]) ** 2
    hits = metrics.direction_hit(actual, probability_above(quantiles))
    line = f"{name:17}{np.nanmean(loss):16.5f}"
    line += f"{_skill(loss, losses[ROLLING]):>16}{_skill(loss, losses[EWMA]):>16}"
    line += f"{100 * metrics.share_better(loss, losses[ROLLING]):7.0f}%"
    for percent in (80, 90, 95):
        inside = metrics.inside(actual, *metrics.interval(quantiles, percent))
        line += f"{100 * np.nanmean(inside):8.1f}"
    line += f"{100 * metrics.clustered_skill(squared, naive).value:+10.3f}%"
    line += f"{100 * np.nanmean(hits):10.2f}%"
    if name != CALIBRATED:
        test = metrics.diebold_mariano(losses[CALIBRATED], loss)
        line += f"  {test.statistic:+.2f} ({test.p_value:.3f})"
    return line


def _skill(loss: Floats, baseline: Floats) -> str:
    value, error = metrics.clustered_skill(loss, baseline)
    return "" if loss is baseline else f"{100 * value:+.2f} ± {100 * error:.2f} %"


def _about_pairs(losses: dict[str, Floats], regimes: Mapping[str, Any]) -> list[str]:
    """Return what methods gain over others on the same forecasts, errors clustered by session."""
    lines = ["gains, paired:"]
    for first, second in PAIRS:
        if not {first, second} <= losses.keys():
            continue
        parts = [_skill(losses[first], losses[second])]
        for name, some in regimes.items():
            one, other = (np.where(some, losses[method], np.nan) for method in (first, second))
            if np.isfinite(one).any():
                parts.append(f"{name} {_skill(one, other)}")
        lines.append(f"  {first} over {second}: " + "; ".join(parts))
    return [*lines, ""]


def _about_news(losses: Mapping[str, Floats]) -> list[str]:
    """Return what forecasts that know news gain over the same without, paired."""
    lines = []
    for name, lost in losses.items():
        with_news = losses.get(f"{name} and news")
        if with_news is None or name in NETWORKS:  # a network knows none
            continue
        both = np.isfinite(lost) & np.isfinite(with_news)
        pair = (np.where(both, one, np.nan) for one in (with_news, lost))
        lines.append(f"  {name}: {_skill(*pair)}")
    return ["gains of news, paired:", *lines, ""] if lines else []


def _about_networks(losses: dict[str, Floats], costs: Mapping[str, float]) -> list[str]:
    """Return what calibrated networks, and each combined with HAR, gain over the first of them."""
    if len(costs) < 2:
        return []
    first, *_ = costs
    names = [name for one in costs for name in (one, f"combined with {one}")]
    known = np.all([np.isfinite(losses[name]) for name in names], axis=0)
    same = {name: np.where(known, losses[name], np.nan) for name in names}
    lines = [f"networks, gains over {first} paired, seconds of processors:"]
    for name, lost in same.items():
        over = first if name in costs else f"combined with {first}"
        test = metrics.diebold_mariano(same[over], lost) if name != over else None
        lines.append(
            f"  {name:24}{np.nanmean(lost):9.5f}{_skill(lost, same[over]):>18}"
            + (f"  DM {test.statistic:+.2f} ({test.p_value:.3f})" if test else "")
            + (f"  {costs[name]:.0f} s" if name in costs else "")
        )
    return lines


def _about_tails(result: Walk, actual: Floats, methods: Sequence[str]) -> list[str]:
    """Return how often returns were beyond each level, and for how many tickers in rows.

    The tests are made ticker by ticker: tickers move together, and all at once would reject all.
    """
    sides = [level for level in range(len(QUANTILES)) if level != MEDIAN]
    lines = [
        "beyond each level, %; of what share of tickers Kupiec, Christoffersen reject at 5 %:",
        " " * 19 + "".join(f"{QUANTILES[level]:>16}" for level in sides),
    ]
    for name in methods:
        cells = []
        for level in sides:
            quantile = result.quantiles[name][..., level]
            below = QUANTILES[level] < 0.5
            misses = _where(actual, actual < quantile if below else actual > quantile)
            expected = min(QUANTILES[level], 1 - QUANTILES[level])
            tests = (metrics.kupiec(misses, expected), metrics.christoffersen(misses))
            shares = [100 * np.mean(p[np.isfinite(p)] < LEVEL_OF_TESTS) for p in tests]
            cells.append(f"{100 * np.nanmean(misses):8.2f}{shares[0]:4.0f}{shares[1]:4.0f}")
        lines.append(f"  {name:17}" + "".join(cells))
    return [*lines, ""]


def _where(actual: Floats, beyond: Any) -> Floats:
    return np.where(np.isfinite(actual), beyond, np.nan)


def _about_regimes(
    result: Walk, known: Any, regimes: Mapping[str, Any], methods: Sequence[str]
) -> list[str]:
    """Return what 80 % intervals held in each regime, with errors clustered by session."""
    lines = []
    for name, some in regimes.items():
        chosen = some & known
        if not chosen.any():
            continue
        lines.append(
            f"inside 80 %, {name} ({100 * chosen.sum() / known.sum():.1f} % of forecasts):"
        )
        for method in methods:
            edges = metrics.interval(result.quantiles[method], 80)
            inside = metrics.inside(np.where(chosen, result.actual, np.nan), *edges)
            value, error = _mean_by_session(inside)
            lines.append(f"  {method:17}{100 * value:6.1f} ± {100 * error:.1f}")
    return [*lines, ""]


def _mean_by_session(values: Floats) -> tuple[float, float]:
    """Return the mean of (tickers, sessions) and its error, sessions taken to be independent."""
    mean = float(np.nanmean(values))
    deviation = np.nansum(values - mean, axis=0)
    return mean, float(np.sqrt(np.sum(deviation**2)) / np.isfinite(values).sum())


def _regimes(whole: Material, result: Walk) -> dict[str, Any]:
    """Return which forecasts are of what kind of day, (tickers, sessions), by its name."""
    first = int(np.searchsorted(whole.panel.sessions, result.sessions[0]))
    test = slice(first, first + len(result.sessions))
    market = whole.market.median_return
    usual = np.full(len(market), np.nan)
    for day in range(20, len(market)):
        before = market[max(day - 250, 0) : day]
        before = before[np.isfinite(before)]
        if len(before):
            usual[day] = before.std()
    with np.errstate(invalid="ignore"):
        shock = np.abs(market) > SHOCK * usual
    since = np.zeros(len(market), np.bool_)
    for day in np.flatnonzero(shock):
        since[day + 1 : day + 1 + AFTER_SHOCK] = True
    second = np.zeros_like(since)
    second[2:] = shock[:-2]
    calm = usual <= np.nanquantile(usual[test], 1 / 3)
    shape = result.actual.shape
    came = whole.reports.came
    near = (came | np.pad(came, [(0, 0), (1, 0)])[:, :-1])[:, test]
    with_dates = np.broadcast_to((came.sum(axis=1) >= FEWEST_DATES)[:, None], shape)
    return {
        "after shocks": np.broadcast_to(since[None, test], shape),
        "second day after": np.broadcast_to(second[None, test], shape),
        "calm third": np.broadcast_to(calm[None, test], shape),
        "report days": near,
        "with dates": with_dates,
        "without dates": ~with_dates,
    }


def _dates(path: Path) -> list[tuple[str, date]]:
    """Return the dates of reports of a file with columns symbol and date."""
    with path.open(encoding="utf-8") as file:
        return [(row["symbol"], date.fromisoformat(row["date"])) for row in csv.DictReader(file)]


def _about_models(result: Walk, known: Any, losses: dict[str, Floats]) -> list[str]:
    lines = []
    for base in result.bases:
        curve = " ".join(f"{loss:.5f}" for loss in base.validation_loss)
        lines.append(
            f"base of {base.last_session}: epoch {base.best_epoch} of {curve}"
            f" (training {base.training_loss[-1]:.5f})"
        )
    promoted = sum(model.verdict is Verdict.PROMOTED for model in result.trained)
    epochs = np.bincount([model.best_epoch or 0 for model in result.trained] or [0])
    own = result.own & known
    lines.append(
        f"{promoted} of {len(result.trained)} ticker models promoted; best epochs {epochs};"
        f" {own.any(axis=1).sum()} tickers ever left their base, {own.sum()} forecasts"
    )
    if own.any():
        with_own = np.where(own, losses[RAW], np.nan)
        with_base = np.where(own, losses[BASE], np.nan)
        lines.append(
            f"on those: own {np.nanmean(with_own):.5f}, base {np.nanmean(with_base):.5f},"
            f" gain {_skill(with_own, with_base)}"
        )
    return lines


def _about_shrinkage(result: Walk, known: Any) -> list[str]:
    kept = result.shrinkage[known]
    shares = np.quantile(kept, [0.1, 0.25, 0.5, 0.75, 0.9])
    return [
        f"shrinkage: 0 in {100 * np.mean(kept == 0):.0f} %, mean {kept.mean():.3f},"
        f" deciles 1, 2.5, 5, 7.5, 9: {' '.join(f'{share:.3f}' for share in shares)}"
    ]


def _about_trust(result: Walk, known: Any, losses: dict[str, Floats]) -> list[str]:
    lines = []
    trusted = result.dissimilarity <= 1
    untrusted = result.dissimilarity > 1
    for label, kind in (("trusted", trusted), ("untrusted", untrusted)):
        some = kind & known
        if not some.any():
            lines.append(f"{label}: none")
            continue
        loss = np.where(some, losses[CALIBRATED], np.nan)
        rolling = np.where(some, losses[ROLLING], np.nan)
        lines.append(
            f"{label}: {100 * some.sum() / known.sum():.2f} % of forecasts,"
            f" loss {np.nanmean(loss):.5f}, {_skill(loss, rolling)} against the rolling quantile"
        )
    return lines


def _news(path: Path, panel: Panel, code: str, settings: Settings) -> News:
    """Return what sessions knew of the news of a file, scored where it comes without a score."""
    found = read_news(path, {ticker: ticker for ticker in panel.tickers}, datetime.now(UTC))
    for failure in found.failures:
        print(failure, file=sys.stderr)
    lacking = [item.title for item in found.items if item.score is None]
    scores = iter(scorer(settings.news_scorer).scores(lacking) if lacking else ())
    items = [i if i.score is not None else replace(i, score=next(scores)) for i in found.items]
    print(f"{len(items)} items of news, {sum(found.unknown.values())} of other tickers")
    return told(panel, code, items)


def _spread(returns: Floats) -> Floats:
    """Return the standard deviation of each row, NaN where no two returns are known."""
    rows = [row[np.isfinite(row)] for row in returns]
    return np.array([row.std() if len(row) > 1 else np.nan for row in rows])


def _window(sessions: Any, options: argparse.Namespace) -> tuple[int, int]:
    last = len(sessions) - 1
    if options.test_to:
        last = int(np.searchsorted(sessions, np.datetime64(options.test_to), side="right")) - 1
    if options.test_from:
        return int(np.searchsorted(sessions, np.datetime64(options.test_from))), last
    return last + 1 - options.test_sessions, last


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--data", default="sp500_5yr", help=f"{', '.join(SETS)} or a path")
    parser.add_argument("--calendar", default="XNYS")
    parser.add_argument("--test-from", type=date.fromisoformat)
    parser.add_argument("--test-to", type=date.fromisoformat)
    parser.add_argument("--test-sessions", type=int, default=252, help="without --test-from")
    parser.add_argument("--base-every", type=int, default=60, help="sessions")
    parser.add_argument("--tickers-every", type=int, default=20, help="sessions")
    parser.add_argument("--events", help="CSV file of report dates; sp500_5yr has one of its own")
    parser.add_argument("--missing", type=float, default=0, help="share of dates left out")
    parser.add_argument("--moved", type=float, default=0, help="share of dates a session off")
    parser.add_argument("--projected", action="store_true", help="no date is known ahead")
    parser.add_argument("--news", help="file of news: forecasts with and without it")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--garch", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--complete",
        action=argparse.BooleanOptionalAction,
        help="score only tickers with a bar of every session; the default for sp500_5yr",
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="compared side by side")
    parser.add_argument("--set", action="append", default=[], metavar="units=24")
    options = parser.parse_args(arguments)
    if options.complete is None:
        options.complete = options.data == "sp500_5yr"
    if options.events is None and options.data == "sp500_5yr" and DATES.exists():
        options.events = str(DATES)
    return options


if __name__ == "__main__":
    sys.exit(main())
