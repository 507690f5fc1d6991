"""Every measure of a forecast, defined once: losses of single forecasts, and their averages.

Closes are in the instrument's currency, returns are log returns, both on the basis of the
forecast's origin. Percentages are percent (1.5 is 1.5 %); hits, inside and coverage are shares from
0 to 1. An error is actual - forecast. NaN means unknown: such a forecast is left out, and a metric
is NaN only where none is left or its scale is 0.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, stdtr, xlogy

from stockbatch.records import QUANTILES, SCORED, Floats

COVERAGES = (50, 80, 90, 95, 98)
"""The central intervals that QUANTILES state, in percent."""
SCORED_INTERVALS = (80, 95)
"""Those of which width and Winkler score are kept."""

_MEANS = {
    "mae": "absolute_error",
    "bias": "error",
    "mape": "absolute_percentage_error",
    "smape": "symmetric_percentage_error",
    "mae_return": "absolute_log_return_error",
    "bias_return": "log_return_error",
    "directional_accuracy": "direction_hit",
    "pinball": "pinball",
    **{f"coverage_{percent}": f"inside_{percent}" for percent in COVERAGES},
    **{f"{name}_{at}": f"{name}_{at}" for name in ("width", "winkler") for at in SCORED_INTERVALS},
}
"""Metrics that are the mean of a loss, which stands beside them."""
_ROOTS = {"rmse": "squared_error", "rmse_return": "squared_log_return_error"}
"""Metrics that are the root of the mean of a loss."""
_SCALE = "naive_absolute_error"
"""The loss whose mean the mean absolute error is divided by: `mase`."""
METRICS = (*_MEANS, *_ROOTS, "mase")
AVERAGED = (*_MEANS.values(), *_ROOTS.values(), _SCALE)
"""The losses whose means they are made of."""
SIGNED = frozenset({"error", "log_return_error"})
"""Those that are below 0 as well."""
HITS = frozenset({"direction_hit"} | {f"inside_{percent}" for percent in COVERAGES})
"""Those that are 0 or 1."""

RETURN_METRICS = frozenset(
    {"mae_return", "rmse_return", "bias_return", "directional_accuracy", "pinball"}
    | {f"coverage_{percent}" for percent in COVERAGES}
    | {f"{name}_{percent}" for name in ("width", "winkler") for percent in SCORED_INTERVALS}
)
"""Metrics free of prices, the only ones that may be taken over several tickers."""
SKILL_METRICS = frozenset(
    {"mae", "rmse", "mape", "smape", "mase", "mae_return", "rmse_return", "pinball"}
    | {f"winkler_{percent}" for percent in SCORED_INTERVALS}
)
"""Metrics of which less is better, the only ones `skill` has a meaning for."""
DISTRIBUTION_METRICS = frozenset(
    {"pinball"} | {f"winkler_{percent}" for percent in SCORED_INTERVALS}
)
"""Those of quantiles, of which the naive forecast states none: another method is their baseline."""


class Average(NamedTuple):
    """A metric of each ticker, shape (T,), and the number of forecasts behind it."""

    value: Floats
    n: NDArray[np.int64]


class PairedTest(NamedTuple):
    """A statistic and its two-sided p value, both NaN where there is nothing to compare."""

    statistic: float
    p_value: float


class Skill(NamedTuple):
    """A skill over many tickers and its standard error, NaN where unknown."""

    value: float
    standard_error: float


def score(
    *,
    close: Floats,
    actual_close: Floats,
    log_return: Floats,
    actual_log_return: Floats,
    quantiles: Floats | None = None,
    probability_of_rise: Floats | None = None,
) -> dict[str, Floats]:
    """Return the losses of single forecasts, each of the shape (…) of `close`.

    `quantiles` of the log return have shape (…, 11). What is None adds nothing to the answer.
    """
    error = actual_close - close
    return {
        "error": error,
        "absolute_error": np.abs(error),
        "squared_error": error**2,
        "percentage_error": 100 * error / actual_close,
        "log_return_error": actual_log_return - log_return,
        **_distribution_losses(actual_log_return, quantiles, probability_of_rise),
    }


def losses(
    *,
    close: Floats,
    actual_close: Floats,
    log_return: Floats,
    actual_log_return: Floats,
    origin_close: Floats,
    quantiles: Floats | None = None,
    probability_of_rise: Floats | None = None,
) -> dict[str, Floats]:
    """Return what `averages` takes: the losses of `score`, and those of single forecasts alone.

    NaN stands where there was no forecast or no actual.
    """
    single = score(
        close=close,
        actual_close=actual_close,
        log_return=log_return,
        actual_log_return=actual_log_return,
        quantiles=quantiles,
        probability_of_rise=probability_of_rise,
    )
    absolute = single["absolute_error"]
    return single | {
        "absolute_percentage_error": np.abs(single["percentage_error"]),
        "symmetric_percentage_error": 200 * _divide(absolute, np.abs(actual_close) + np.abs(close)),
        "naive_absolute_error": np.where(
            np.isnan(absolute), np.nan, abs(actual_close - origin_close)
        ),
        "absolute_log_return_error": np.abs(single["log_return_error"]),
        "squared_log_return_error": single["log_return_error"] ** 2,
    }


def averages(losses: Mapping[str, Floats]) -> dict[str, Average]:
    """Return every metric of each ticker from its `losses`, arrays of shape (T, N).

    `mase` is the mean absolute scaled error, the scale being the naive forecast's error in the same
    sessions (Hyndman & Koehler, "Another look at measures of forecast accuracy", International
    Journal of Forecasting 22, 2006, take it from the history before); `smape` the symmetric mean
    absolute percentage error, 0 to 200, with absolute values in the denominator as in the M4
    competition (Makridakis, Spiliotis & Assimakopoulos, ibid. 36, 2020).
    """
    return averages_of({name: mean(values) for name, values in losses.items()})


def averages_of(means: Mapping[str, Average]) -> dict[str, Average]:
    """Return every metric, as `averages` does, whose losses have their means here."""
    found = {metric: means[loss] for metric, loss in _MEANS.items() if loss in means}
    for metric, loss in _ROOTS.items():
        if loss in means:
            found[metric] = Average(np.sqrt(means[loss].value), means[loss].n)
    if _SCALE in means:
        absolute = means["absolute_error"]
        found["mase"] = Average(_divide(absolute.value, means[_SCALE].value), absolute.n)
    return found


def means_of(averages: Mapping[str, Average]) -> dict[str, Average]:
    """Return the means of losses that `averages_of` makes these metrics of.

    The naive forecast's is NaN where the errors of both are 0: a ratio of them tells neither.
    """
    means = {loss: averages[metric] for metric, loss in _MEANS.items() if metric in averages}
    for metric, loss in _ROOTS.items():
        if metric in averages:
            means[loss] = Average(averages[metric].value ** 2, averages[metric].n)
    if "mase" in averages:
        absolute = averages["mae"]
        means[_SCALE] = Average(_divide(absolute.value, averages["mase"].value), absolute.n)
    return means


def skill(value: Floats, baseline: Floats) -> Floats:
    """Return 1 - value / baseline, any shape: above 0 is better than the baseline.

    NaN where either is unknown or the baseline is not above 0. Murphy, "Skill scores based on the
    mean square error", Monthly Weather Review 116 (1988), for any loss that is 0 when perfect.
    """
    return 1 - _divide(value, baseline)


def clustered_skill(loss: Floats, baseline: Floats) -> Skill:
    """Return the skill of all losses (T, N) at once, with a standard error clustered by session.

    Sums over the tickers of a session are taken as one observation, because tickers move together;
    sessions as independent. The error is that of a ratio of sums, by the delta method (Cochran,
    "Sampling techniques", 1977, chapter 6). Forecasts that lack either loss are left out; with
    fewer than two sessions the error is unknown.
    """
    known = np.isfinite(loss) & np.isfinite(baseline)
    sessions = known.any(axis=0)
    # From here on one number per session: what its tickers lost together.
    above, below = (np.where(known, side, 0).sum(axis=0)[sessions] for side in (loss, baseline))
    n, total = len(below), below.sum()
    if not total > 0:
        return Skill(np.nan, np.nan)
    ratio = above.sum() / total
    # To first order the ratio is off by the mean of these over that of `below`.
    residual = above - ratio * below
    error = np.sqrt(n / (n - 1) * np.sum(residual**2)) / total if n > 1 else np.nan
    return Skill(float(1 - ratio), float(error))


def diebold_mariano(loss_a: Floats, loss_b: Floats, horizon: int = 1) -> PairedTest:
    """Return the test of equal accuracy of two forecasts; a statistic below 0 says `a` is better.

    The losses have shape (N,), oldest first, or (T, N): then the difference is averaged over the
    tickers of each session before all else, because tickers move together. Forecasts that lack
    either loss are left out. Diebold & Mariano, "Comparing predictive accuracy", Journal of
    Business & Economic Statistics 13 (1995), corrected for small samples as by Harvey, Leybourne &
    Newbold, "Testing the equality of prediction mean squared errors", International Journal of
    Forecasting 13 (1997): Student's t with N - 1 degrees of freedom.
    """
    daily = mean(np.atleast_2d(loss_a - loss_b).T).value
    difference = daily[~np.isnan(daily)]
    n = len(difference)
    if n <= horizon:
        return PairedTest(np.nan, np.nan)
    centred = difference - difference.mean()
    # Forecasts of h sessions overlap in h - 1 of them: their errors are correlated up to that lag.
    covariances = [centred[lag:] @ centred[: n - lag] / n for lag in range(horizon)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / n
    if not variance > 0:  # equal forecasts, or correlations that leave no variance
        return PairedTest(np.nan, np.nan)
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = difference.mean() / np.sqrt(variance) * np.sqrt(correction)
    return PairedTest(float(statistic), float(2 * stdtr(n - 1, -abs(statistic))))


def share_better(loss_a: Floats, loss_b: Floats) -> float:
    """Return the share of tickers on which `a` has the lower mean loss, of losses (T, N).

    Only forecasts that have both losses count; a tie is not better. NaN where no ticker has any.
    """
    better, tickers = tickers_better(loss_a, loss_b)
    return better / tickers if tickers else np.nan


def tickers_better(loss_a: Floats, loss_b: Floats) -> tuple[int, int]:
    """Count what `share_better` is the share of, which adds up over parts: (better, all)."""
    difference = mean(loss_a - loss_b).value
    return int(np.sum(difference < 0)), int(np.sum(~np.isnan(difference)))


def kupiec(misses: Floats, expected: float) -> Floats:
    """Return the p value, (T,), of as many misses in each row of (T, N) as are `expected`, a share.

    1 is a miss, 0 none, NaN unknown; a row of which nothing is known has NaN. Likelihood ratio of
    Kupiec, "Techniques for verifying the accuracy of risk measurement models", Journal of
    Derivatives 3 (1995), against chi-squared with one degree of freedom.
    """
    known, count = np.isfinite(misses).sum(axis=1), np.nansum(misses, axis=1)
    ratio = 2 * (
        _bernoulli(count, known - count)
        - xlogy(count, expected)
        - xlogy(known - count, 1 - expected)
    )
    return np.where(known > 0, chdtrc(1, np.maximum(ratio, 0)), np.nan)


def christoffersen(misses: Floats) -> Floats:
    """Return the p value, (T,), of misses that do not follow each other more often than others do.

    Pairs of neighbouring sessions count where both are known; NaN where there is none. Test of
    independence of Christoffersen, "Evaluating interval forecasts", International Economic Review
    39 (1998), against chi-squared with one degree of freedom.
    """
    before, after = misses[:, :-1], misses[:, 1:]
    # Comparisons with NaN are false: a pair of which one is unknown is in none of the four.
    n00, n01, n10, n11 = (
        ((before == first) & (after == second)).sum(axis=1) for first in (0, 1) for second in (0, 1)
    )
    apart = _bernoulli(n01, n00) + _bernoulli(n11, n10)
    ratio = 2 * (apart - _bernoulli(n01 + n11, n00 + n10))
    return np.where(n00 + n01 + n10 + n11 > 0, chdtrc(1, np.maximum(ratio, 0)), np.nan)


def breaches(actual: Floats, quantile: Floats) -> Floats:
    """Return 1 where the return that came is below a quantile, else 0, NaN where unknown."""
    return np.where(np.isnan(actual) | np.isnan(quantile), np.nan, actual < quantile)


def shortfall_ratios(actual: Floats, quantile: Floats, shortfall: Floats) -> Floats:
    """Return the return over the expected shortfall where it is a breach, else 0; any shape.

    Both are below 0 where there is a loss: a ratio of 1.5 is a loss half as large again as was
    expected of a breach. NaN where unknown, and where no loss was expected.
    """
    breach = breaches(actual, quantile)
    return np.where(np.isnan(breach) | (breach == 0), breach, _divide(-actual, -shortfall))


def acerbi_szekely(ratios: Floats, level: float) -> Floats:
    """Return Z2 of each row of `shortfall_ratios` (T, N), (T,): 0 where both are right.

    Below 0 where breaches were more, or larger, than was told; NaN where nothing is known. Test 2
    of Acerbi & Székely, "Backtesting expected shortfall", Risk (December 2014), which has no p
    value without a simulation: at 2.5 % and 250 sessions -0.7 is found by chance once in twenty,
    whatever the tails are.
    """
    z2: Floats = 1 - mean(ratios).value / level
    return z2


def _bernoulli(hits: NDArray[Any], others: NDArray[Any]) -> Floats:
    """Return the largest log likelihood of so many hits and others, 0 of none."""
    share = np.divide(hits, hits + others, out=np.zeros(len(hits)), where=hits + others > 0)
    likelihood: Floats = xlogy(hits, share) + xlogy(others, 1 - share)
    return likelihood


def pinball_losses(quantiles: Floats, actual: Floats) -> Floats:
    """Return the pinball loss averaged over the SCORED levels, of the shape (…) of `actual`.

    `quantiles` have shape (…, 11), one per level of QUANTILES; NaN where one SCORED is unknown.
    Koenker & Bassett, "Regression quantiles", Econometrica 46 (1978).
    """
    levels = np.array(QUANTILES[SCORED])
    error = np.asarray(actual)[..., None] - quantiles[..., SCORED]
    # A shortfall costs its level, an excess the rest: of the two products the larger one applies.
    losses: Floats = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
    return losses


def winkler(actual: Floats, lower: Floats, upper: Floats, percent: int) -> Floats:
    """Return the score of a central interval of `percent`, any shape: its width plus penalties.

    A miss costs 2 / alpha times its distance, where alpha = 1 - percent / 100. Winkler, "A
    decision-theoretic approach to interval estimation", Journal of the American Statistical
    Association 67 (1972); the interval score of Gneiting & Raftery, ibid. 102 (2007).
    """
    miss = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    return upper - lower + 200 / (100 - percent) * miss


def interval(quantiles: Floats, percent: int) -> tuple[Floats, Floats]:
    """Return the lower and upper bound of a central interval, from quantiles of shape (…, 11)."""
    # Half of what is outside lies below: of 80 %, the 10 % quantile and the one as far from the
    # end.
    lower = QUANTILES.index((100 - percent) / 200)
    return quantiles[..., lower], quantiles[..., -1 - lower]


def inside(actual: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return 1 where lower <= actual <= upper, else 0, NaN where unknown; any shape."""
    hit = (lower <= actual) & (actual <= upper)
    # A comparison with NaN is False, and would count as a miss.
    return np.where(np.isnan(actual) | np.isnan(lower) | np.isnan(upper), np.nan, hit)


def direction_hit(actual_log_return: Floats, probability_of_rise: Floats) -> Floats:
    """Return 1 where a rise was the likelier and came, or was not and a fall came, else 0.

    NaN where either is unknown and where the actual return is 0: there was no direction to hit.
    """
    # Not the sign of the point forecast, which is shrunk to zero where there is little to say.
    hit = (probability_of_rise > 0.5) == (actual_log_return > 0)
    unknown = np.isnan(actual_log_return) | np.isnan(probability_of_rise)
    return np.where(unknown | (actual_log_return == 0), np.nan, hit)


def mean(values: Floats) -> Average:
    """Return the mean of the known values of each row of (T, N)."""
    known = ~np.isnan(values)
    return mean_of_sum(np.where(known, values, 0).sum(axis=1), known.sum(axis=1))


def mean_of_sum(total: Floats, n: NDArray[Any]) -> Average:
    """Return the mean of `n` values that add up to `total`, both (T,)."""
    return Average(_divide(total, n.astype(np.float64)), n.astype(np.int64))


def _distribution_losses(
    actual: Floats, quantiles: Floats | None, probability_of_rise: Floats | None
) -> dict[str, Floats]:
    losses = {}
    if probability_of_rise is not None:
        losses["direction_hit"] = direction_hit(actual, probability_of_rise)
    if quantiles is not None:
        losses["pinball"] = pinball_losses(quantiles, actual)
        for percent in COVERAGES:
            lower, upper = interval(quantiles, percent)
            losses[f"inside_{percent}"] = inside(actual, lower, upper)
            if percent in SCORED_INTERVALS:
                losses[f"width_{percent}"] = np.where(np.isnan(actual), np.nan, upper - lower)
                losses[f"winkler_{percent}"] = winkler(actual, lower, upper, percent)
    return losses


def _divide(above: Floats, below: Floats) -> Floats:
    """Return above / below, NaN where `below` is not above 0 or the ratio is past all numbers."""
    ratio = np.full(np.shape(above), np.nan)
    # The database takes no infinity, which a tiny `below` may give: it says nothing either.
    with np.errstate(over="ignore"):
        np.divide(above, below, out=ratio, where=below > 0)
    ratio[np.isinf(ratio)] = np.nan
    return ratio
