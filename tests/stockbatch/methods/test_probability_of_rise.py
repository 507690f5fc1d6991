import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from stockbatch.methods.forecasts import probability_of_rise
from stockbatch.records import QUANTILES

UPPER = [0.674490, 1.281552, 1.644854, 1.959964, 2.326348]
NORMAL = np.array([*np.negative(UPPER[::-1]), 0, *UPPER])
RETURNS = st.floats(-0.5, 0.5)


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


@given(arrays(np.float64, (3, 2, 11), elements=GRID))
def test_probability_of_rise_equals_its_plain_loop(quantiles):
    quantiles = np.sort(quantiles, axis=-1)
    found = probability_of_rise(quantiles)
    assert found.shape == (3, 2)
    expected = [[loop_probability(list(row)) for row in ticker] for ticker in quantiles]
    assert_allclose(found, expected, rtol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()


@given(arrays(np.float64, 11, elements=RETURNS), RETURNS)
def test_a_higher_forecast_is_no_less_likely_to_rise(quantiles, shift):
    quantiles = np.sort(quantiles)
    lower, higher = sorted((0.0, shift))
    assert probability_of_rise(quantiles + higher) >= probability_of_rise(quantiles + lower) - 1e-12


@given(arrays(np.float64, 11, elements=RETURNS, unique=True))
def test_it_is_near_one_half_exactly_where_the_median_is_zero(quantiles):
    quantiles = np.sort(quantiles)
    assert probability_of_rise(quantiles - quantiles[5]) == pytest.approx(0.5, abs=1e-9)
    assert (probability_of_rise(quantiles) > 0.5 + 1e-12) <= (quantiles[5] > 0)


def test_probability_of_rise_by_hand():
    assert probability_of_rise(NORMAL + 0.674490) == pytest.approx(0.75)
    assert probability_of_rise(NORMAL - 0.674490) == pytest.approx(0.25)
    assert probability_of_rise(NORMAL) == pytest.approx(0.5)
    # near the true tail of the normal distribution, never certain, without a jump
    assert probability_of_rise(NORMAL + 2.576) == pytest.approx(0.995, abs=0.002)
    assert probability_of_rise(NORMAL - 2.576) == pytest.approx(0.005, abs=0.002)
    assert 0.999 < probability_of_rise(NORMAL + 4) < 1
    assert 0 < probability_of_rise(NORMAL - 4) < 0.001
    edge = probability_of_rise(NORMAL + 2.326348 + np.array([[-1e-9], [1e-9]]))
    assert_allclose(edge, 0.99, atol=1e-8)


def test_a_ticker_that_never_moves_does_not_rise():
    assert probability_of_rise(np.zeros(11)) == pytest.approx(0.01)
    assert probability_of_rise(np.full(11, -0.01)) == 0
    assert probability_of_rise(np.full(11, 0.01)) == 1


def test_an_unknown_quantile_leaves_the_probability_unknown():
    quantiles = np.stack([NORMAL, NORMAL])
    quantiles[0, 10] = np.nan
    assert_allclose(probability_of_rise(quantiles), [np.nan, 0.5], atol=1e-9)
