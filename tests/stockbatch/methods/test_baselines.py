import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.methods.baselines import (
    DECAY,
    EWMA_REACH,
    FEWEST_FOR_VOLATILITY,
    MINIMUM,
    VOLATILITY_WINDOW,
    WINDOW,
    ewma_quantiles,
    ewma_quantiles_by_origin,
    ewma_volatility,
    probability_of_rise,
    rolling_quantiles,
    rolling_quantiles_by_origin,
)
from stockbatch.records import QUANTILES

NORMAL = np.array([-1.959964, -1.644854, -1.281552, -0.674490, 0, 0.674490, 1.281552, 1.644854])
NORMAL = np.append(NORMAL, 1.959964)
RETURNS = st.floats(-0.5, 0.5)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=RETURNS),
    st.integers(0, 2**32 - 1),
    st.integers(1, 50),
    st.integers(0, 10),
)
def test_rolling_quantiles_are_those_of_numpy_per_ticker(returns, seed, window, minimum):
    random = np.random.default_rng(seed)
    returns[random.random(returns.shape) < random.choice([0, 0.3, 1])] = np.nan
    found = rolling_quantiles(returns, window, minimum)
    assert found.shape == (len(returns), len(QUANTILES))
    for row, quantiles in zip(returns, found, strict=True):
        known = row[-window:][~np.isnan(row[-window:])]
        if len(known) < max(minimum, 1):
            assert np.isnan(quantiles).all()
        else:
            assert_allclose(quantiles, np.quantile(known, QUANTILES), rtol=1e-12, atol=1e-15)
            assert (np.diff(quantiles) >= -1e-15).all()


def test_rolling_quantiles_look_back_one_window_and_change_nothing():
    returns = np.random.default_rng(1).normal(0, 0.01, (2, 400))
    before = returns.copy()
    found = rolling_quantiles(returns)
    assert_array_equal(returns, before)
    assert_array_equal(rolling_quantiles(returns[:, -WINDOW:]), found)
    returns[:, :-WINDOW] = 9
    assert_array_equal(rolling_quantiles(returns), found)


def test_rolling_quantiles_of_a_short_history_are_unknown():
    returns = np.full((2, 300), np.nan)
    returns[0, -MINIMUM:] = returns[1, -MINIMUM + 1 :] = 0.01
    found = rolling_quantiles(returns)
    assert_allclose(found[0], 0.01)
    assert np.isnan(found[1]).all()


def loop_probability(quantiles):
    """The distribution function at 0, case by case."""
    if quantiles[0] > 0:
        width = quantiles[1] - quantiles[0]
        rate = math.inf if width == 0 else (QUANTILES[1] - QUANTILES[0]) / width / QUANTILES[0]
        return 1 - QUANTILES[0] * math.exp(-rate * quantiles[0])
    if quantiles[-1] <= 0:
        tail, width = 1 - QUANTILES[-1], quantiles[-1] - quantiles[-2]
        if quantiles[-1] == 0:
            return tail
        rate = math.inf if width == 0 else (QUANTILES[-1] - QUANTILES[-2]) / width / tail
        return tail * math.exp(rate * quantiles[-1])
    for i in range(len(QUANTILES) - 1):
        if quantiles[i] <= 0 < quantiles[i + 1]:
            passed = -quantiles[i] / (quantiles[i + 1] - quantiles[i])
            return 1 - (QUANTILES[i] + (QUANTILES[i + 1] - QUANTILES[i]) * passed)
    raise AssertionError


GRID = st.integers(-40, 40).map(lambda step: step / 400)
"""Coarse, so that quantiles are often equal or exactly 0."""


@given(arrays(np.float64, (3, 2, 9), elements=GRID))
def test_probability_of_rise_equals_its_plain_loop(quantiles):
    quantiles = np.sort(quantiles, axis=-1)
    found = probability_of_rise(quantiles)
    assert found.shape == (3, 2)
    expected = [[loop_probability(list(row)) for row in ticker] for ticker in quantiles]
    assert_allclose(found, expected, rtol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()


@given(arrays(np.float64, 9, elements=RETURNS), RETURNS)
def test_a_higher_forecast_is_no_less_likely_to_rise(quantiles, shift):
    quantiles = np.sort(quantiles)
    lower, higher = sorted((0.0, shift))
    assert probability_of_rise(quantiles + higher) >= probability_of_rise(quantiles + lower) - 1e-12


@given(arrays(np.float64, 9, elements=RETURNS, unique=True))
def test_it_is_near_one_half_exactly_where_the_median_is_zero(quantiles):
    quantiles = np.sort(quantiles)
    assert probability_of_rise(quantiles - quantiles[4]) == pytest.approx(0.5, abs=1e-9)
    assert (probability_of_rise(quantiles) > 0.5 + 1e-12) <= (quantiles[4] > 0)


def test_probability_of_rise_by_hand():
    assert probability_of_rise(NORMAL + 0.674490) == pytest.approx(0.75)
    assert probability_of_rise(NORMAL - 0.674490) == pytest.approx(0.25)
    assert probability_of_rise(NORMAL) == pytest.approx(0.5)
    # near the true tail of the normal distribution, never certain, without a jump
    assert probability_of_rise(NORMAL + 2.326) == pytest.approx(0.99, abs=0.003)
    assert probability_of_rise(NORMAL - 2.326) == pytest.approx(0.01, abs=0.003)
    assert 0.999 < probability_of_rise(NORMAL + 4) < 1
    assert 0 < probability_of_rise(NORMAL - 4) < 0.001
    edge = probability_of_rise(NORMAL + 1.959964 + np.array([[-1e-9], [1e-9]]))
    assert_allclose(edge, 0.975, atol=1e-8)


def test_a_ticker_that_never_moves_does_not_rise():
    assert probability_of_rise(np.zeros(9)) == pytest.approx(0.025)
    assert probability_of_rise(np.full(9, -0.01)) == 0
    assert probability_of_rise(np.full(9, 0.01)) == 1


def test_an_unknown_quantile_leaves_the_probability_unknown():
    quantiles = np.stack([NORMAL, NORMAL])
    quantiles[0, 8] = np.nan
    assert_allclose(probability_of_rise(quantiles), [np.nan, 0.5], atol=1e-9)


def walk(tickers=3, sessions=900, missing=0.05, seed=1):
    """Returns whose volatility wanders, with holes, and one ticker that starts late."""
    random = np.random.default_rng(seed)
    volatility = 0.01 * np.exp(np.cumsum(random.normal(0, 0.05, (tickers, sessions)), axis=1))
    returns = np.clip(volatility, 0.002, 0.08) * random.standard_t(5, (tickers, sessions))
    returns[random.random(returns.shape) < missing] = np.nan
    returns[-1, : sessions // 2] = np.nan
    return returns


def loop_volatility(returns):
    """The volatility of one ticker after its last return, straight from the definition."""
    window = returns[-VOLATILITY_WINDOW:]
    weights = DECAY ** np.arange(len(window))[::-1]
    known = ~np.isnan(window)
    if known.sum() < FEWEST_FOR_VOLATILITY:
        return math.nan
    return math.sqrt(np.average(window[known] ** 2, weights=weights[known]))


def test_ewma_volatility_equals_its_definition():
    returns = walk()
    found = ewma_volatility(returns)
    for ticker in range(len(returns)):
        for last in (0, 18, 19, 25, 249, 250, 251, 600, 899):
            expected = loop_volatility(returns[ticker, : last + 1])
            assert_allclose(found[ticker, last], expected, rtol=1e-9)


def test_ewma_quantiles_equal_their_definition():
    returns = walk()
    for row, found in zip(returns, ewma_quantiles(returns), strict=True):
        scaled = [
            row[last] / loop_volatility(row[:last])
            for last in range(len(row) - WINDOW, len(row))
            if not math.isnan(row[last])
        ]
        expected = np.nanquantile(scaled, QUANTILES) * loop_volatility(row)
        assert_allclose(found, expected, rtol=1e-9)
        assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(
    ("now", "by_origin"),
    [
        (rolling_quantiles, rolling_quantiles_by_origin),
        (ewma_quantiles, ewma_quantiles_by_origin),
    ],
)
def test_every_origin_sees_nothing_after_it(now, by_origin):
    returns = walk(sessions=700)
    found = by_origin(returns, 600)
    assert found.shape == (3, 600, 9)
    for origin in (0, 1, 30, 299, 598, 599):
        assert_allclose(now(returns[:, : 101 + origin]), found[:, origin], rtol=1e-12)
    assert np.isnan(found[-1, 0]).all()


def test_ewma_reaches_as_far_as_it_says():
    returns = walk(sessions=1000)
    found = ewma_quantiles(returns)
    assert_array_equal(ewma_quantiles(returns[:, -EWMA_REACH:]), found)
    returns[:, :-EWMA_REACH] = 7
    assert_array_equal(ewma_quantiles(returns), found)
    returns[:, -EWMA_REACH] = 1e6
    assert (ewma_quantiles(returns)[:2] != found[:2]).any(axis=1).all()


@pytest.mark.parametrize("factor", [1e-3, 0.3, 1e3])
def test_ewma_scales_with_the_returns(factor):
    returns = walk(sessions=400)
    assert_allclose(ewma_quantiles(returns * factor), ewma_quantiles(returns) * factor, rtol=1e-6)


def test_ewma_of_a_ticker_that_never_moves_is_zero():
    assert_array_equal(ewma_quantiles(np.zeros((1, 500))), np.zeros((1, 9)))


def test_ewma_widens_after_a_shock_and_forgets_it():
    random = np.random.default_rng(2)
    returns = random.normal(0, 0.01, (1, 800))
    calm = ewma_quantiles(returns[:, :600])[0, 8]
    returns[:, 600:620] *= 5
    assert ewma_quantiles(returns[:, :620])[0, 8] > 3 * calm
    assert ewma_quantiles(returns)[0, 8] < 1.5 * calm
