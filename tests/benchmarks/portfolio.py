"""How good the risk told of a portfolio is: `python -m tests.benchmarks.portfolio`.

Every 25th ticker of `sp500_5yr` by name, the first 20, of equal value at each origin, over the last
252 sessions. Its scales are what was stated of each session before it was known: by HAR alone,
without a network (`--scale har`, a minute), or by the combination, walking forward as the accuracy
benchmark does, but for networks of tickers that are not in it (`--scale combined`, minutes).

With `--choose` it tells of the 252 sessions before those, by HAR's scales, what forgetting more or
less of the past makes of portfolios and of tickers alone: what `FORGETTING` was chosen by.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jobs.daily.risk_scores import measured
from stockbatch import metrics
from stockbatch.config import Settings
from stockbatch.engine.material import Material
from stockbatch.engine.training import TrainingProcess
from stockbatch.methods import registry, risk
from stockbatch.methods.base import Given
from stockbatch.methods.risk import LEVELS, Distribution, Sums
from stockbatch.providers.registry import create
from stockbatch.records import HAR, Floats

from .accuracy import FOLDER, SETS
from .walk_forward import prepare, read, until, walk

EVERY, MEMBERS = 25, 20
SESSIONS = 252
TRIED = (0.0, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02)
"""Shares forgotten a session."""
BEFORE = risk.FEWEST + 50
"""Sessions before the first one told of which something is stated: a bar may be missing."""
SCALES = ("har", "combined", "ewma")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its table; 2 where the data is missing."""
    options = _options(arguments)
    path = FOLDER / SETS[options.data] if options.data in SETS else Path(options.data)
    if not path.exists():
        print(f"There is no {path}: --data takes a CSV file or folder as well", file=sys.stderr)
        return 2
    began = time.perf_counter()
    settings = Settings()
    instruments, panel, _ = read(create(f"csv:{path}", settings), options.calendar)
    whole = prepare(instruments, panel)
    first = len(panel.sessions) - options.test_sessions
    if options.choose:
        for line in compared(whole, first, settings):
            print(line, flush=True)
        return 0
    members = np.argsort(panel.tickers)[::EVERY][:MEMBERS]
    widths = stated(whole, first - BEFORE, members.tolist(), settings, options.scale)
    weights = np.zeros((1, len(instruments)))
    weights[0, members] = 1 / len(members)
    print(f"{options.data}, {panel.sessions[first]} to {panel.sessions[-1]}, {options.scale}:")
    print(" ".join(panel.tickers[row] for row in members))
    for line in report(whole.features.returns, widths, weights[:, members], members, first):
        print(line, flush=True)
    print(f"wall time {time.perf_counter() - began:.0f} s")
    return 0


def compared(whole: Material, end: int, settings: Settings) -> Iterator[str]:
    """Yield what forgetting makes of the SESSIONS before a column; nothing later is read."""
    first = end - SESSIONS
    widths = stated(whole, first - BEFORE, [], settings, "har")[:, : end + 1]
    returns = whole.features.returns[:, :end]
    known = np.isfinite(returns[:, first - BEFORE :]).all(axis=1)
    known &= np.isfinite(widths[:, first:end]).all(axis=1)
    order = np.argsort(whole.panel.tickers)
    named = order[known[order]]
    portfolios = [named[start::EVERY][:MEMBERS] for start in range(0, EVERY, 4)]
    for what, of in (("portfolios", portfolios), ("tickers alone", named[::EVERY, None])):
        usual = np.nan
        for forgetting in TRIED:
            found = [_of_equal_value(returns[x], widths[x], first, forgetting) for x in of]
            inside_80, inside_95, lost = np.array(found).T
            usual = lost if forgetting == 0 else usual
            yield (
                f"{len(of)} {what}, forgetting {100 * forgetting:g} %:"
                f" inside 80 %: {100 * inside_80.mean():.1f}, 95 %: {100 * inside_95.mean():.1f};"
                f" pinball {100 * (lost / usual - 1).mean():+.2f} %"
            )


def _of_equal_value(
    returns: Floats, widths: Floats, first: int, forgetting: float
) -> tuple[float, ...]:
    """Return the shares inside 80 and 95 % and the mean pinball loss of a portfolio."""
    weights = np.full((1, len(returns)), 1 / len(returns))
    actual = weights @ np.expm1(returns[:, first:])
    quantiles = told(returns, widths, weights, first, forgetting).quantiles
    inside = [metrics.inside(actual, *metrics.interval(quantiles, at)) for at in (80, 95)]
    values = (*inside, metrics.pinball_losses(quantiles, actual))
    return tuple(float(np.nanmean(one)) for one in values)


def stated(
    whole: Material, first: int, members: Sequence[int], settings: Settings, scale: str
) -> Floats:
    """Return half the 80 % widths stated of sessions from the column `first` on, NaN before.

    What is stated of tickers that are no members counts for nothing.
    """
    last = len(whole.panel.sessions) - 1
    widths = np.full(whole.panel.close.shape, np.nan)
    if scale == "combined":
        with TrainingProcess(settings.threads) as trainer:
            walked = walk(whole, first, last, settings, trainer, with_garch=False, trained=members)
        widths[:, first:] = walked.half_widths
    elif scale == "har":
        for start in range(first, last + 1, settings.base_after_sessions):
            stop = min(start + settings.base_after_sessions, last + 1)
            widths[:, start:stop] = _of_har(whole, start, stop, settings)
    return widths


def _of_har(whole: Material, start: int, stop: int, settings: Settings) -> Floats:
    """Return what HAR, fitted before the column `start`, states of it and on, (T, stop - start)."""
    method = registry.methods()[HAR]
    fitted = method.fit_calendar([until(whole, start - 1, settings)], settings.model)
    assert fitted is not None, "there is too little history to fit"
    given = Given(
        material=until(whole, stop - 2, settings),
        settings=settings.model,
        origins=stop - start,
        parameters=dict.fromkeys(range(len(whole.instruments)), fitted),
    )
    low, high = metrics.interval(method.forecast(given).uncalibrated(), 80)
    half: Floats = (high - low) / 2
    return half


def told(
    returns: Floats, widths: Floats, weights: Floats, first: int, forgetting: float = 0.0
) -> Distribution:
    """Return what is told of each session from the column `first` on, by portfolio and session.

    Of P portfolios of T tickers with weights (P, T), arrays (P, sessions, …).
    """
    held = (weights != 0).sum(axis=1).astype(np.float64)
    made = []
    for target in range(first, returns.shape[1]):
        reach = slice(max(target - risk.REACH, 0), target)
        ways = risk.outcomes(returns[:, reach], widths[:, reach.start : target + 1])
        sums = Sums.nothing(len(weights), ways.unscaled.shape[1])
        sums.add(weights, ways)
        made.append(risk.distribution(sums.of_portfolios(held), forgetting))
    return Distribution(*(np.stack(parts, axis=1) for parts in zip(*made, strict=True)))


def report(
    returns: Floats, widths: Floats, weights: Floats, members: Any, first: int
) -> Iterator[str]:
    """Yield the tables of a portfolio, and of its members as portfolios of one."""
    own, own_widths = returns[members], widths[members]
    actual = weights @ np.expm1(own[:, first:])
    made = told(own, own_widths, weights, first, risk.FORGETTING)
    yield (
        f"{int(np.isfinite(made.quantiles[..., 0]).sum())} sessions told,"
        f" {int(made.is_stated.sum())} by scales stated, of {made.sessions.min()} to"
        f" {made.sessions.max()} past sessions"
    )
    yield from _about(made, actual)
    alone = told(own, own_widths, np.eye(len(members)), first)
    yield f"its {len(members)} tickers, each alone; of how many a test rejects at 5 %:"
    yield from _about(alone, np.expm1(own[:, first:]))


def _about(made: Distribution, actual: Floats) -> Iterator[str]:
    """Yield how often intervals held, what was lost, and the tests of each level."""
    loss, rival = (
        metrics.pinball_losses(quantiles, actual)
        for quantiles in (made.quantiles, made.unscaled_quantiles)
    )
    skill = metrics.clustered_skill(loss, rival)
    for name, quantiles in (("told", made.quantiles), ("unscaled", made.unscaled_quantiles)):
        shares = [
            f"{100 * np.nanmean(metrics.inside(actual, *metrics.interval(quantiles, at))):.1f}"
            for at in (80, 95)
        ]
        lost = np.nanmean(metrics.pinball_losses(quantiles, actual))
        yield f"  {name:9} inside 80 %: {shares[0]}, 95 %: {shares[1]}; pinball {lost:.6f}"
    yield f"  skill {100 * skill.value:+.2f} ± {100 * skill.standard_error:.2f} %"
    head = ("", "breaches", "share", "Kupiec", "Christ.", "Z2")
    yield f"  {'level':>7}" + "".join(f"{word:>10}" for word in head)
    breaches, ratios = measured(actual, made.quantiles, made.shortfalls)
    unscaled, _ = measured(actual, made.unscaled_quantiles, made.shortfalls)
    for place, level in reversed(list(enumerate(LEVELS))):
        for name, misses in (("told", breaches[..., place]), ("unscaled", unscaled[..., place])):
            tests = (metrics.kupiec(misses, level), metrics.christoffersen(misses))
            z2 = metrics.acerbi_szekely(ratios[..., place], level).mean()
            cells = (
                *(name, f"{np.nansum(misses):.0f}", f"{100 * np.nanmean(misses):.2f} %"),
                *(*map(_p, tests), f"{z2:.2f}" if name == "told" else ""),
            )
            yield f"  {100 * level:5g} %" + "".join(f"{cell:>10}" for cell in cells)


def _p(values: Floats) -> str:
    """Return the p of one portfolio, or of how many of several it is below 5 %."""
    return f"{values[0]:.3f}" if len(values) == 1 else f"{int((values < 0.05).sum())}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--data", default="sp500_5yr", help=f"{', '.join(SETS)} or a path")
    parser.add_argument("--calendar", default="XNYS")
    parser.add_argument("--scale", choices=SCALES, default="har", help="what states the widths")
    parser.add_argument("--choose", action="store_true", help="compare on the year before")
    parser.add_argument("--test-sessions", type=int, default=SESSIONS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
