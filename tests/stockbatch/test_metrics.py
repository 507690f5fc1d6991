import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom, chi2, chi2_contingency, norm, ttest_1samp

from stockbatch import metrics
from stockbatch.methods.distribution import probability_above
from stockbatch.records import QUANTILES


@st.composite
def forecasts(draw, missing=True):
    """Arguments of `losses`: forecasts and outcomes with holes of every kind."""
    tickers, sessions = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (tickers, sessions)
    origin = np.exp(random.normal(4, 1, shape))
    log_return, actual_log_return = random.normal(0, 0.02, (2, *shape)).round(2)
    quantiles = np.sort(random.normal(0, 0.02, (*shape, 11)), axis=-1)
    probability = probability_above(quantiles)
    forecast, actual = origin * np.exp(log_return), origin * np.exp(actual_log_return)
    if missing:
        share = draw(st.sampled_from([0, 0.2, 0.8, 1]))
        unsaid, unknown, vague = random.random((3, *shape)) < share
        forecast[unsaid] = log_return[unsaid] = np.nan
        actual[unknown] = actual_log_return[unknown] = np.nan
        quantiles[unsaid | vague] = np.nan
        probability[unsaid | vague] = np.nan
    return {
        "close": forecast,
        "actual_close": actual,
        "log_return": log_return,
        "actual_log_return": actual_log_return,
        "origin_close": origin,
        "quantiles": quantiles,
        "probability_of_rise": probability,
    }


def summarise(**arguments):
    return metrics.averages(metrics.losses(**arguments))


def average(terms):
    terms = [term for term in terms if not math.isnan(term)]
    return (math.fsum(terms) / len(terms), len(terms)) if terms else (math.nan, 0)


def loop_pinball(actual, quantiles):
    losses = []
    for level, quantile in list(zip(QUANTILES, quantiles, strict=True))[1:10]:
        above = actual - quantile
        losses.append(level * above if above >= 0 else (level - 1) * above)
    return sum(losses) / len(losses)


def loop_winkler(actual, lower, upper, alpha):
    penalty = 0.0
    if actual < lower:
        penalty = lower - actual
    if actual > upper:
        penalty = actual - upper
    return (upper - lower) + 2 / alpha * penalty


def loop_summary(close, actual_close, log_return, actual_log_return, origin_close, quantiles, rise):
    """Every metric of one ticker from plain floats, straight from its definition."""
    pairs = list(zip(close, actual_close, origin_close, strict=True))
    returns = list(zip(log_return, actual_log_return, strict=True))
    stated = list(zip(actual_log_return, quantiles, strict=True))
    mae, n = average([abs(a - f) for f, a, _ in pairs])
    naive, _ = average([math.nan if math.isnan(f) else abs(a - o) for f, a, o in pairs])
    squared, _ = average([(a - f) ** 2 for f, a, _ in pairs])
    squared_return, n_return = average([(a - f) ** 2 for f, a in returns])
    summary = {
        "mae": (mae, n),
        "rmse": (math.sqrt(squared), n),
        "bias": average([a - f for f, a, _ in pairs]),
        "mape": average([100 * abs(a - f) / a for f, a, _ in pairs]),
        "smape": average([200 * abs(a - f) / (a + f) for f, a, _ in pairs]),
        "mase": (mae / naive if naive > 0 else math.nan, n),
        "mae_return": average([abs(a - f) for f, a in returns]),
        "rmse_return": (math.sqrt(squared_return), n_return),
        "bias_return": average([a - f for f, a in returns]),
        "directional_accuracy": average(
            [
                math.nan if a == 0 or math.isnan(a + p) else float((p > 0.5) == (a > 0))
                for a, p in zip(actual_log_return, rise, strict=True)
            ]
        ),
        "pinball": average([loop_pinball(a, q) for a, q in stated]),
    }
    for percent, low in ((50, 4), (80, 3), (90, 2), (95, 1), (98, 0)):
        bounds = [(a, q[low], q[10 - low]) for a, q in stated if not math.isnan(a + q[0])]
        summary[f"coverage_{percent}"] = average([float(lo <= a <= up) for a, lo, up in bounds])
        if percent in (80, 95):
            alpha = 1 - percent / 100
            summary[f"width_{percent}"] = average([up - lo for _, lo, up in bounds])
            summary[f"winkler_{percent}"] = average([loop_winkler(*b, alpha) for b in bounds])
    return summary


@given(forecasts())
def test_summary_equals_plain_loops(arguments):
    found = summarise(**arguments)
    for ticker in range(len(arguments["close"])):
        expected = loop_summary(*(values[ticker].tolist() for values in arguments.values()))
        assert found.keys() == expected.keys()
        for name, (value, n) in expected.items():
            assert found[name].n[ticker] == n, name
            assert_allclose(found[name].value[ticker], value, 1e-9, 1e-15, err_msg=name)


@given(forecasts())
def test_unknown_comes_out_only_where_nothing_was_known(arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = summarise(**arguments)
    for name, (value, n) in found.items():
        if name != "mase":  # unknown too where the naive forecast was perfect
            assert_array_equal(np.isnan(value), n == 0, err_msg=name)
        assert not np.isinf(value).any()
        assert n.dtype == np.int64


@given(forecasts(), st.integers(0, 2**32 - 1))
def test_tickers_and_the_order_of_forecasts_do_not_matter(arguments, seed):
    whole = summarise(**arguments)
    order = np.random.default_rng(seed).permutation(arguments["close"].shape[1])
    for ticker in range(len(arguments["close"])):
        alone = summarise(
            **{name: values[[ticker]][:, order] for name, values in arguments.items()}
        )
        for name, (value, n) in whole.items():
            assert_allclose(alone[name].value[0], value[ticker], 1e-9, 1e-15, err_msg=name)
            assert alone[name].n[0] == n[ticker]


@given(forecasts())
def test_scores_average_to_the_summary(arguments):
    summary = summarise(**arguments)
    del arguments["origin_close"]
    losses = metrics.score(**arguments)
    same = {
        "mae": "absolute_error",
        "bias": "error",
        "bias_return": "log_return_error",
        "pinball": "pinball",
        "directional_accuracy": "direction_hit",
        **{f"coverage_{percent}": f"inside_{percent}" for percent in metrics.COVERAGES},
        **{name: name for name in ("width_80", "width_95", "winkler_80", "winkler_95")},
    }
    for name, loss in same.items():
        assert losses[loss].shape == arguments["close"].shape
        value, n = metrics.mean(losses[loss])
        assert_allclose(value, summary[name].value, 1e-9, 1e-15, err_msg=name)
        assert_array_equal(n, summary[name].n, err_msg=name)
    assert_allclose(np.sqrt(metrics.mean(losses["squared_error"]).value), summary["rmse"].value)
    percent = metrics.mean(np.abs(losses["percentage_error"])).value
    assert_allclose(percent, summary["mape"].value)


def test_score_by_hand():
    quantiles = [-0.06, -0.05, -0.04, -0.03, -0.01, 0.0, 0.01, 0.03, 0.04, 0.05, 0.06]
    losses = metrics.score(
        close=np.array([100.0, 100.0]),
        actual_close=np.array([104.0, 100.0]),
        log_return=np.array([0.0, 0.0]),
        actual_log_return=np.array([0.04, 0.0]),
        quantiles=np.array([quantiles, quantiles]),
        probability_of_rise=np.array([0.4, 0.6]),
    )
    assert_allclose(losses["error"], [4, 0])
    assert_allclose(losses["squared_error"], [16, 0])
    assert_allclose(losses["percentage_error"], [400 / 104, 0])
    assert_array_equal(losses["direction_hit"], [0, math.nan])
    assert_array_equal(losses["inside_50"], [0, 1])
    assert_array_equal(losses["inside_80"], [0, 1])
    assert_array_equal(losses["inside_90"], [1, 1])  # the bound belongs to the interval
    assert_array_equal(losses["inside_98"], [1, 1])
    assert_allclose(losses["width_80"], 0.06)
    assert_allclose(losses["winkler_80"], [0.06 + 10 * 0.01, 0.06])
    assert_allclose(losses["winkler_95"], 0.1)
    symmetric = 2 * (0.025 * 0.05 + 0.05 * 0.04 + 0.1 * 0.03 + 0.25 * 0.01) / 9
    assert_allclose(losses["pinball"][1], symmetric)


def test_what_is_not_stated_is_not_measured():
    naive = {
        "close": np.array([[10.0, 11.0]]),
        "actual_close": np.array([[11.0, 11.0]]),
        "log_return": np.zeros((1, 2)),
        "actual_log_return": np.log([[1.1, 1.0]]),
    }
    assert metrics.score(**naive).keys() == {
        *("error", "absolute_error", "squared_error", "percentage_error", "log_return_error")
    }
    summary = summarise(**naive, origin_close=naive["close"])
    assert summary.keys() == {
        *("mae", "rmse", "bias", "mape", "smape", "mase"),
        *("mae_return", "rmse_return", "bias_return"),
    }
    assert summary["mase"].value == 1  # the naive forecast is its own scale


def test_groups_name_metrics_there_are():
    arguments = {"close": np.ones((1, 1)), "actual_close": np.ones((1, 1))}
    arguments |= {"log_return": np.zeros((1, 1)), "actual_log_return": np.zeros((1, 1))}
    arguments |= {"quantiles": np.zeros((1, 1, 11)), "probability_of_rise": np.ones((1, 1))}
    names = summarise(**arguments, origin_close=np.ones((1, 1))).keys()
    assert names >= metrics.RETURN_METRICS | metrics.SKILL_METRICS
    assert names - metrics.RETURN_METRICS == {"mae", "rmse", "bias", "mape", "smape", "mase"}


def test_skill_is_the_share_of_the_loss_saved():
    value, baseline = (
        np.array([1.0, 3, 0, 1, math.nan, 1, 1]),
        np.array([2.0, 2, 2, 0, 1, math.nan, 1]),
    )
    expected = [0.5, -0.5, 1, math.nan, math.nan, math.nan, 0]
    assert_allclose(metrics.skill(value, baseline), expected)
    assert np.isnan(metrics.skill(np.array([10.0]), np.array([5e-324])))


def test_the_outermost_levels_have_no_say_in_the_pinball_loss():
    """So that it is the same measure as that of forecasts which did not state them."""
    quantiles = np.linspace(-0.05, 0.05, 11)
    silent = np.array([np.nan, *quantiles[1:-1], np.nan])
    moved = np.array([-0.3, *quantiles[1:-1], 0.3])
    losses = metrics.pinball_losses(np.stack([quantiles, silent, moved]), np.full(3, 0.02))
    assert_array_equal(losses, losses[0])
    unknown = np.array([*quantiles[:3], np.nan, *quantiles[4:]])
    assert np.isnan(metrics.pinball_losses(unknown, 0.02))


@pytest.mark.parametrize("level", range(1, 10))
def test_pinball_and_winkler_are_lowest_at_the_truth(level):
    """Both scores are proper: moving any true quantile costs."""
    actual = np.random.default_rng(7).normal(0, 0.01, 200_001)
    truth = np.quantile(actual, QUANTILES)
    best = metrics.pinball_losses(np.broadcast_to(truth, (len(actual), 11)), actual).mean()
    for step in (-0.003, 0.003):
        moved = truth.copy()
        moved[level] += step
        worse = np.broadcast_to(moved, (len(actual), 11))
        assert metrics.pinball_losses(worse, actual).mean() > best
        for percent, bound in ((80, 3), (95, 1)):
            if level in (bound, 10 - bound):
                intervals = [metrics.interval(q, percent) for q in (truth, moved)]
                true, wrong = (metrics.winkler(actual, *i, percent).mean() for i in intervals)
                assert wrong > true


def test_true_quantiles_cover_what_they_say():
    actual = np.random.default_rng(7).normal(0, 0.01, 200_001)
    truth = np.broadcast_to(np.quantile(actual, QUANTILES), (1, len(actual), 11))
    price = np.exp(actual)[None]
    summary = summarise(
        close=np.ones_like(price),
        actual_close=price,
        log_return=np.zeros_like(price),
        actual_log_return=actual[None],
        origin_close=np.ones_like(price),
        quantiles=truth,
    )
    for percent in metrics.COVERAGES:
        assert summary[f"coverage_{percent}"].value[0] == pytest.approx(percent / 100, abs=1e-4)


@st.composite
def losses(draw):
    """Losses of two forecasts, (T, N), that share what the sessions were like, with holes."""
    tickers, sessions = draw(st.integers(1, 5)), draw(st.integers(2, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    common = random.gamma(2, 1, (1, sessions))
    a, b = common * random.gamma(2, 1, (2, tickers, sessions)) + 0.01
    for side in (a, b):
        side[random.random(side.shape) < draw(st.sampled_from([0, 0.2, 0.9]))] = np.nan
    return a, b


def both_known(a, b):
    known = ~np.isnan(a) & ~np.isnan(b)
    return known, np.flatnonzero(known.any(axis=0))


@given(losses())
def test_clustered_skill_is_a_regression_clustered_by_session(pair):
    known, sessions = both_known(*pair)
    value, error = metrics.clustered_skill(*pair)
    if len(sessions) < 2:
        assert math.isnan(error)
        return
    (loss, baseline), cluster = (side[known] for side in pair), np.nonzero(known)[1]
    weighted = sm.WLS(loss, baseline, weights=1 / baseline)
    fitted = weighted.fit(cov_type="cluster", cov_kwds={"groups": cluster})
    assert_allclose(value, 1 - fitted.params[0], 1e-9)
    assert_allclose(error, fitted.bse[0], 1e-7, 1e-12)


def test_a_standard_error_does_not_fall_with_tickers_that_move_as_one():
    random = np.random.default_rng(3)
    one, baseline = random.gamma(2, 1, (2, 1, 100))
    many = metrics.clustered_skill(np.repeat(one, 50, axis=0), np.repeat(baseline, 50, axis=0))
    assert_allclose(many, metrics.clustered_skill(one, baseline))
    assert metrics.clustered_skill(baseline, baseline) == (0, 0)


def test_nothing_to_compare_is_unknown():
    nothing = np.full((2, 3), np.nan)
    assert np.isnan(metrics.clustered_skill(nothing, nothing)).all()
    assert np.isnan(metrics.clustered_skill(np.ones((1, 3)), np.zeros((1, 3)))).all()
    assert np.isnan(metrics.diebold_mariano(nothing, nothing)).all()
    assert np.isnan(metrics.diebold_mariano(np.ones(9), np.ones(9))).all()
    assert np.isnan(metrics.diebold_mariano(np.arange(3.0), np.ones(3), horizon=3)).all()
    assert math.isnan(metrics.share_better(nothing, nothing))


@given(losses())
def test_diebold_mariano_of_one_session_ahead_is_a_paired_t_test(pair):
    a, b = pair
    known, sessions = both_known(a, b)
    daily = [np.mean((a - b)[known[:, session], session]) for session in sessions]
    found = metrics.diebold_mariano(a, b)
    if len(daily) < 2:
        assert np.isnan(found).all()
    else:
        assert_allclose(found, [*ttest_1samp(daily, 0)], 1e-9)
        assert_allclose(metrics.diebold_mariano(b, a), [-found[0], found[1]])


@given(losses(), st.integers(2, 4))
def test_diebold_mariano_further_ahead_uses_the_uniform_kernel(pair, horizon):
    difference = np.nan_to_num(pair[0] - pair[1]).mean(axis=0)
    n = len(difference)
    found = metrics.diebold_mariano(difference, np.zeros(n), horizon)
    if n <= horizon:
        assert np.isnan(found).all()
        return
    centred = difference - difference.mean()
    lags = [sum(centred[k:] * centred[: n - k]) for k in range(horizon)]
    if lags[0] + 2 * sum(lags[1:]) <= 1e-9:
        return
    kernel = {"maxlags": horizon - 1, "kernel": "uniform", "use_correction": False}
    fitted = sm.OLS(difference, np.ones(n)).fit(cov_type="HAC", cov_kwds=kernel)
    correction = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    assert_allclose(found.statistic, fitted.tvalues[0] * correction, 1e-6, 1e-9)


@given(losses())
def test_share_better_counts_tickers(pair):
    a, b = pair
    known, _ = both_known(a, b)
    wins = [a[i, k].mean() < b[i, k].mean() for i, k in enumerate(known) if k.any()]
    found = metrics.share_better(a, b)
    assert_allclose(found, np.mean(wins) if wins else math.nan)
    assert metrics.share_better(a, a) in (0, pytest.approx(math.nan, nan_ok=True))


def test_kupiec_is_the_ratio_of_its_likelihoods():
    misses = np.zeros((3, 300))
    misses[0, :8] = 1
    misses[1, 5::20] = 1
    misses[1, :5] = np.nan
    misses[2] = np.nan
    expected = []
    for count, n in ((8, 300), (15, 295)):
        ratio = binom.logpmf(count, n, count / n) - binom.logpmf(count, n, 0.05)
        expected.append(chi2.sf(2 * ratio, 1))
    assert_allclose(metrics.kupiec(misses, 0.05), [*expected, np.nan])


def test_kupiec_knows_how_to_count_none_and_all():
    p = metrics.kupiec(np.array([[0.0] * 100, [1.0] * 100]), 0.05)
    assert_allclose(p, [chi2.sf(-200 * np.log(0.95), 1), 0], atol=1e-12)


def test_christoffersen_is_the_g_test_of_neighbouring_sessions():
    misses = np.zeros((4, 400))
    misses[0, 7::20] = 1
    misses[1, 100:115] = 1
    misses[1, 300:303] = 1
    misses[1, 200] = np.nan
    misses[2] = np.nan
    expected = []
    for row in misses[:2]:
        pairs = [(a, b) for a, b in pairwise(row) if not math.isnan(a + b)]
        table = [[pairs.count((a, b)) for b in (0, 1)] for a in (0, 1)]
        expected.append(chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue)
    p = metrics.christoffersen(misses)
    assert_allclose(p, [*expected, np.nan, 1])
    assert p[0] > 0.1
    assert p[1] < 1e-9


def test_z2_is_what_its_definition_says():
    """Of Acerbi and Székely, session by session: losses are positive there."""
    random = np.random.default_rng(3)
    actual = 0.01 * random.standard_t(4, (3, 250))
    quantile, shortfall = np.full((2, 3, 250), -0.02) * np.array([[[1.0]], [[1.4]]])
    actual[1, 5:20] = np.nan
    actual[2] = np.nan
    for level in (0.05, 0.025):
        found = metrics.acerbi_szekely(metrics.shortfall_ratios(actual, quantile, shortfall), level)
        for row in (0, 1):
            total, n = 0.0, 0
            for x, var, es in zip(actual[row], -quantile[row], -shortfall[row], strict=True):
                if not math.isnan(x):
                    n += 1
                    total += x * (x + var < 0) / (level * es)
            assert found[row] == pytest.approx(total / n + 1)
        assert math.isnan(found[2])


def test_z2_is_0_where_both_are_right_and_below_where_they_are_not():
    random = np.random.default_rng(4)
    actual = random.standard_normal((4000, 250))
    level, quantile = 0.025, norm.ppf(0.025)
    shortfall = -norm.pdf(quantile) / level
    found, wrong = (
        metrics.acerbi_szekely(metrics.shortfall_ratios(x, quantile, shortfall), level)
        for x in (actual, 1.3 * actual)
    )
    assert abs(found.mean()) < 0.02
    assert 0.03 < np.mean(found < -0.7) < 0.07  # their critical value for one in twenty
    assert np.mean(wrong < -0.7) > 0.8


def test_where_no_loss_was_expected_there_is_no_ratio():
    found = metrics.shortfall_ratios(
        np.array([-0.1, 0.1, -0.1, np.nan]), np.array([0.0, 0.0, -0.2, 0.0]), np.zeros(4)
    )
    assert_array_equal(found, [np.nan, 0, 0, np.nan])


def test_tests_of_misses_reject_a_twentieth_of_what_is_right():
    random = np.random.default_rng(1)
    misses = (random.random((2000, 1000)) < 0.1).astype(float)
    for p in (metrics.kupiec(misses, 0.1), metrics.christoffersen(misses)):
        assert 0.035 < np.mean(p < 0.05) < 0.065
