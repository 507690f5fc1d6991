import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch import metrics
from stockbatch.methods.calibration import (
    CHUNK,
    CONFIDENCE,
    FEWEST_TO_SHRINK,
    LARGEST_LOG,
    LEARNERS,
    LOSS_FORGETTING,
    REACH,
    TRUST,
    calibrate_by_origin,
    shrinkage,
    shrinkage_by_origin,
)
from stockbatch.records import QUANTILES

UPPER = [0.67449, 1.281552, 1.644854, 1.959964, 2.326348]
NORMAL = np.array([*np.negative(UPPER[::-1]), 0, *UPPER])


def calibrate(past, actual, quantiles):
    """Calibrate one more forecast by the past ones."""
    raw = np.concatenate([past, quantiles[:, None]], axis=1)
    unknown = np.full((len(quantiles), 1), np.nan)
    return calibrate_by_origin(raw, np.concatenate([actual, unknown], axis=1), 1)[:, 0]


def forecasts(tickers=3, sessions=400, seed=1, missing=0.05, width=1.0):
    """Raw quantiles (T, S, 11) of heavy-tailed returns (T, S), `width` times as wide as right."""
    random = np.random.default_rng(seed)
    volatility = 0.01 * np.exp(np.cumsum(random.normal(0, 0.03, (tickers, sessions)), axis=1))
    median = random.normal(0, 0.001, (tickers, sessions))
    quantiles = median[..., None] + width * volatility[..., None] * NORMAL
    actual = median + volatility * random.standard_t(6, (tickers, sessions)) * math.sqrt(4 / 6)
    actual[random.random(actual.shape) < missing] = np.nan
    quantiles[random.random(actual.shape) < missing] = np.nan
    return quantiles, actual


def loop_calibrated(past, actual, quantiles):
    """Of one ticker, one learner and one level after the other, straight from the description."""
    sides = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    misses = [min(QUANTILES[level], 1 - QUANTILES[level]) for level in sides]
    logs = [[0.0] * 10 for _ in LEARNERS]
    losses = [0.0 for _ in LEARNERS]
    for raw, came in list(zip(past, actual, strict=True))[-REACH:]:
        if math.isnan(came) or any(map(math.isnan, raw)):
            continue
        distances = [raw[level] - raw[5] for level in sides]
        spread = sum(map(abs, distances[1:-1]))
        for k, learner in enumerate(LEARNERS):
            surprises, gradient, loss = [], 0.0, 0.0
            for i, level in enumerate(sides):
                quantile = raw[5] + math.exp(logs[k][i]) * distances[i]
                beyond = came < quantile if level < 5 else came > quantile
                surprises.append(beyond - misses[i])
                if level in (0, 10):
                    continue
                gradient += surprises[i] * abs(distances[i]) / spread
                error = came - quantile
                loss += max(QUANTILES[level] * error, (QUANTILES[level] - 1) * error) / spread
            losses[k] = losses[k] * (1 - LOSS_FORGETTING) + loss
            for i in range(10):
                moved = logs[k][i] * (1 - learner.forgetting)
                moved += learner.together * gradient + learner.alone * surprises[i]
                logs[k][i] = min(max(moved, -LARGEST_LOG), LARGEST_LOG)
    beliefs = [math.exp(-TRUST * (loss - min(losses))) for loss in losses]
    answer = list(quantiles)
    for i, level in enumerate(sides):
        factor = sum(b * math.exp(log[i]) for b, log in zip(beliefs, logs, strict=True))
        answer[level] = quantiles[5] + factor / sum(beliefs) * (quantiles[level] - quantiles[5])
    for level in (4, 3, 2, 1, 0):
        answer[level] = min(answer[level], answer[level + 1])
    for level in (6, 7, 8, 9, 10):
        answer[level] = max(answer[level], answer[level - 1])
    return answer


@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
def test_every_origin_equals_the_description(width):
    quantiles, actual = forecasts(width=width)
    found = calibrate_by_origin(quantiles, actual, 400)
    assert found.shape == (3, 400, 11)
    for origin in (0, 1, 2, 70, 249, 250, 251, 399):
        for ticker in range(3):
            past = quantiles[ticker, :origin].tolist(), actual[ticker, :origin].tolist()
            now = quantiles[ticker, origin]
            expected = now if np.isnan(now).any() else loop_calibrated(*past, now.tolist())
            assert_allclose(found[ticker, origin], expected, rtol=1e-9, atol=1e-15)


def test_all_origins_at_once_equal_one_after_the_other():
    quantiles, actual = forecasts(tickers=7, sessions=600)
    found = calibrate_by_origin(quantiles, actual, 330)
    for origin in range(270, 600, 47):
        now = calibrate(quantiles[:, :origin], actual[:, :origin], quantiles[:, origin])
        assert_array_equal(found[:, origin - 270], now)


def test_nothing_at_or_after_the_origin_matters():
    quantiles, actual = forecasts()
    before = calibrate_by_origin(quantiles, actual, 100)
    quantiles[:, 350:] *= 3
    actual[:, 350:] = 0.5
    after = calibrate_by_origin(quantiles, actual, 100)
    assert_array_equal(after[:, :50], before[:, :50])
    actual[:, 349] = 0.5
    changed = calibrate_by_origin(quantiles, actual, 100)
    assert_array_equal(changed[:, :50], before[:, :50])
    assert (changed[:, 50] != after[:, 50]).any()


def test_it_reaches_as_far_as_it_says():
    quantiles, actual = forecasts(sessions=2 * REACH, missing=0)
    found = calibrate(quantiles[:, :-1], actual[:, :-1], quantiles[:, -1])
    actual[:, : -REACH - 1] = 5
    assert_array_equal(calibrate(quantiles[:, :-1], actual[:, :-1], quantiles[:, -1]), found)
    actual[:, -REACH - 1] = 5
    assert (calibrate(quantiles[:, :-1], actual[:, :-1], quantiles[:, -1]) != found).any()


def test_a_ticker_alone_equals_the_ticker_in_any_batch():
    quantiles, actual = forecasts(tickers=30, sessions=300)
    whole = calibrate_by_origin(quantiles, actual, 50)
    assert CHUNK < 30 * 50
    for ticker in (0, 17, 29):
        alone = calibrate_by_origin(quantiles[[ticker]], actual[[ticker]], 50)
        assert_array_equal(alone[0], whole[ticker])


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.floats(0, 1), st.floats(0.05, 20))
def test_quantiles_never_cross_and_the_median_stays(seed, sessions, missing, width):
    quantiles, actual = forecasts(2, sessions + 1, seed, missing, width)
    found = calibrate_by_origin(quantiles, actual, sessions + 1)
    assert_array_equal(found[..., 5], quantiles[..., 5])
    known = ~np.isnan(quantiles[..., 0])
    assert_array_equal(np.isnan(found).any(axis=-1), ~known)
    assert (np.diff(found[known], axis=-1) >= 0).all()


def test_the_outermost_levels_leave_the_others_alone():
    quantiles, actual = forecasts()
    wilder = quantiles.copy()
    wilder[..., [0, 10]] += [-0.1, 0.1]
    one, other = (calibrate_by_origin(q, actual, 100)[..., 1:-1] for q in (quantiles, wilder))
    assert_array_equal(one, other)


def test_without_a_past_the_quantiles_stay():
    quantiles, _ = forecasts(missing=0)
    now = quantiles[:, 7]
    assert_array_equal(calibrate(quantiles[:, :0], np.empty((3, 0)), now), now)
    assert_array_equal(calibrate(quantiles, np.full((3, 400), np.nan), now), now)
    assert_array_equal(calibrate(np.full((3, 5, 11), np.nan), np.zeros((3, 5)), now), now)


def test_forecasts_without_spread_and_impossible_actuals_teach_nothing():
    quantiles, actual = forecasts(missing=0)
    now = quantiles[:, -1]
    flat = np.zeros((3, 400, 11))
    assert_array_equal(calibrate(flat, actual, now), now)
    actual[:, ::3] = np.inf
    assert np.isfinite(calibrate(quantiles, actual, now)).all()
    tiny = quantiles * 1e-300
    assert np.isfinite(calibrate(tiny, actual, now)).all()


@pytest.mark.parametrize("unit", [1e-6, 0.3, 1e6])
def test_it_scales_with_the_returns(unit):
    quantiles, actual = forecasts(sessions=100)
    found = calibrate_by_origin(quantiles * unit, actual * unit, 3)
    assert_allclose(found, calibrate_by_origin(quantiles, actual, 3) * unit, rtol=1e-9)


def coverage(quantiles, actual, percent):
    return np.nanmean(metrics.inside(actual, *metrics.interval(quantiles, percent))) * 100


@pytest.mark.parametrize("width", [0.7, 1.0, 1.5])
def test_coverage_becomes_what_is_promised(width):
    quantiles, actual = forecasts(30, 600, width=width, missing=0)
    found, came = calibrate_by_origin(quantiles, actual, 350), actual[:, -350:]
    for percent in (80, 90, 95, 98):
        off = coverage(quantiles[:, -350:], came, percent) - percent
        assert abs(coverage(found, came, percent) - percent) < 1 + 0.35 * abs(off)


def test_coverage_comes_back_after_a_shock_no_raw_forecast_sees():
    quantiles, actual = forecasts(60, 420, missing=0)
    actual[:, 300:] *= 2
    found = calibrate_by_origin(quantiles, actual, 140)
    raw, before, soon, later = (
        coverage(stated[:, span], actual[:, -140:][:, span], 90)
        for stated, span in (
            (quantiles[:, -140:], slice(20, None)),
            (found, slice(20)),
            (found, slice(40, 60)),
            (found, slice(80, None)),
        )
    )
    assert raw < 65
    assert before == pytest.approx(90, abs=2)
    assert soon > 75
    assert later > 81


def test_right_forecasts_are_hurt_little_and_wrong_ones_helped_much():
    loss = {}
    for width in (0.6, 1.0):
        quantiles, actual = forecasts(30, 500, width=width, missing=0)
        found = calibrate_by_origin(quantiles, actual, 250)
        came = actual[:, -250:]
        raw = metrics.pinball_losses(quantiles[:, -250:], came).mean()
        loss[width] = metrics.pinball_losses(found, came).mean() / raw
    assert loss[1.0] < 1.003
    assert loss[0.6] < 0.98


def loop_shrinkage(past, actual):
    pairs = [(f, a) for f, a in zip(past, actual, strict=True)][-REACH:]
    pairs = np.array([pair for pair in pairs if not math.isnan(sum(pair))])
    if len(pairs) < FEWEST_TO_SHRINK:
        return 0.0
    fitted = sm.OLS(pairs[:, 1], pairs[:, :1]).fit(cov_type="HC3")
    return min(max(fitted.params[0] - CONFIDENCE * fitted.bse[0], 0), 1)


@pytest.mark.parametrize("merit", [0, 0.3, 0.6, 1, 3])
def test_shrinkage_is_the_lower_bound_of_a_robust_regression(merit):
    random = np.random.default_rng(4)
    past = random.normal(0, 0.01, (5, 300))
    actual = merit * past + random.standard_t(4, (5, 300)) * 0.01 * random.uniform(0, 2, (1, 300))
    past[1, ::3], actual[2, ::4], actual[3, : 300 - FEWEST_TO_SHRINK + 1] = np.nan, np.nan, np.nan
    found = shrinkage(past, actual)
    expected = [loop_shrinkage(*pair) for pair in zip(past, actual, strict=True)]
    assert_allclose(found, expected, rtol=1e-9)
    assert_allclose(shrinkage(past * 1e-9, actual * 1e-9), expected, rtol=1e-9)
    assert found[3] == 0


def test_noise_is_shrunk_to_naive_and_foresight_kept():
    random = np.random.default_rng(6)
    actual = random.standard_t(4, (2000, REACH)) * 0.01
    noise = random.normal(0, 0.001, actual.shape)
    assert np.mean(shrinkage(noise, actual) > 0) < 0.02
    assert_array_equal(shrinkage(-actual, actual), 0)
    assert_allclose(shrinkage(actual, actual), 1)
    assert np.mean(shrinkage(noise, noise + 0.1 * actual)) > 0.7


def test_one_lucky_call_of_a_crash_is_no_merit():
    random = np.random.default_rng(8)
    past, actual = random.normal(0, 0.001, (2, 300, REACH))
    past[:, 100] = actual[:, 100] = -0.2
    assert np.mean(shrinkage(past, actual)) < 0.05


def test_shrinkage_without_history_or_forecasts_is_naive():
    assert_array_equal(shrinkage(np.empty((2, 0)), np.empty((2, 0))), 0)
    assert_array_equal(shrinkage(np.zeros((2, 300)), np.ones((2, 300))), 0)
    assert_array_equal(shrinkage(np.full((2, 300), np.nan), np.ones((2, 300))), 0)


def test_shrinkage_by_origin_is_sequential():
    random = np.random.default_rng(9)
    past = random.normal(0, 0.01, (3, 300))
    actual = past + random.normal(0, 0.01, (3, 300))
    found = shrinkage_by_origin(past, actual, 300)
    assert found.shape == (3, 300)
    for origin in (0, 59, 60, 150, 299):
        assert_array_equal(found[:, origin], shrinkage(past[:, :origin], actual[:, :origin]))
