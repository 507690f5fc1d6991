import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from stockbatch.methods.distribution import (
    expected_move,
    probability_above,
    probability_below,
    probability_of_move,
    widening,
)
from stockbatch.records import QUANTILES

UPPER = [0.674490, 1.281552, 1.644854, 1.959964, 2.326348]
NORMAL = np.array([*np.negative(UPPER[::-1]), 0, *UPPER])
RETURNS = st.floats(-0.5, 0.5)


def loop_probability(quantiles, threshold=0.0):
    """The probability of more than a threshold, case by case."""
    quantiles = [quantile - threshold for quantile in quantiles]
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


SOME = arrays(np.float64, (3, 2, 11), elements=GRID).map(lambda some: np.sort(some, axis=-1))


def by_loop(quantiles, threshold):
    return [[loop_probability(list(row), threshold) for row in ticker] for ticker in quantiles]


@given(SOME, st.sampled_from([0.0, 0.05, -0.0125]))
def test_probabilities_equal_their_plain_loop(quantiles, threshold):
    above = probability_above(quantiles, threshold)
    assert above.shape == (3, 2)
    assert_allclose(above, by_loop(quantiles, threshold), rtol=1e-12)
    # What is below is above, of the returns with their signs changed.
    below = probability_below(quantiles, threshold)
    assert_allclose(below, by_loop(-quantiles[..., ::-1], -threshold), rtol=1e-12)
    assert ((above >= 0) & (below >= 0)).all()
    assert (above + below <= 1 + 1e-12).all()


@given(SOME)
def test_rise_fall_and_standing_still_are_all_there_is(quantiles):
    rest = 1 - probability_above(quantiles) - probability_below(quantiles)
    zeros = (quantiles == 0).sum(axis=-1)
    first = np.argmax(quantiles == 0, axis=-1)
    levels = np.array(QUANTILES)
    # Levels that are zero are the probability of an unchanged close; else there is no such.
    at_zero = np.where(zeros > 0, levels[np.minimum(first + zeros - 1, 10)] - levels[first], 0.0)
    assert_allclose(rest, at_zero, atol=1e-12)


@given(SOME)
def test_a_move_is_a_rise_or_a_fall_beyond(quantiles):
    found = {change: probability_of_move(quantiles, change) for change in (0.02, 0.05)}
    for change, of_move in found.items():
        rises = np.array(by_loop(quantiles, np.log(1 + change)))
        falls = np.array(by_loop(-quantiles[..., ::-1], -np.log(1 - change)))
        assert_allclose(of_move, np.minimum(rises + falls, 1), rtol=1e-12)
        assert (of_move <= 1).all()
    assert (found[0.05] <= found[0.02] + 1e-12).all()


def test_a_move_of_2_percent_by_hand():
    # A simple return of +2 % is a log return of 0.0198, one of -2 % is -0.0202.
    scale = np.log(1.02) / 1.281552
    assert probability_of_move(scale * NORMAL, 0.02) == pytest.approx(0.1 + 0.098, abs=2e-3)
    assert probability_of_move(NORMAL / 1000, 0.05) < 1e-9
    assert probability_of_move(NORMAL * 1000, 0.05) == pytest.approx(1, abs=1e-3)


def test_the_expected_move_is_half_of_the_80_percent_interval():
    quantiles = np.zeros((2, 11))
    quantiles[0, 3], quantiles[0, 7] = np.log(0.98), np.log(1.04)
    assert_allclose(expected_move(quantiles), [0.03, 0])
    assert_allclose(widening(quantiles[0], np.log(1 + 2 * np.expm1(quantiles[0]))), np.log(2))
    assert widening(quantiles[0], quantiles[1]) == -np.inf


@given(arrays(np.float64, 11, elements=RETURNS), RETURNS)
def test_a_higher_forecast_is_no_less_likely_to_rise(quantiles, shift):
    quantiles = np.sort(quantiles)
    lower, higher = sorted((0.0, shift))
    assert probability_above(quantiles + higher) >= probability_above(quantiles + lower) - 1e-12


@given(arrays(np.float64, 11, elements=RETURNS, unique=True))
def test_it_is_near_one_half_exactly_where_the_median_is_zero(quantiles):
    quantiles = np.sort(quantiles)
    assert probability_above(quantiles - quantiles[5]) == pytest.approx(0.5, abs=1e-9)
    assert (probability_above(quantiles) > 0.5 + 1e-12) <= (quantiles[5] > 0)


def test_probability_of_rise_by_hand():
    assert probability_above(NORMAL + 0.674490) == pytest.approx(0.75)
    assert probability_above(NORMAL - 0.674490) == pytest.approx(0.25)
    assert probability_above(NORMAL) == pytest.approx(0.5)
    # near the true tail of the normal distribution, never certain, without a jump
    assert probability_above(NORMAL + 2.576) == pytest.approx(0.995, abs=0.002)
    assert probability_above(NORMAL - 2.576) == pytest.approx(0.005, abs=0.002)
    assert 0.999 < probability_above(NORMAL + 4) < 1
    assert 0 < probability_above(NORMAL - 4) < 0.001
    edge = probability_above(NORMAL + 2.326348 + np.array([[-1e-9], [1e-9]]))
    assert_allclose(edge, 0.99, atol=1e-8)


def test_a_ticker_that_never_moves_does_not_rise():
    assert probability_above(np.zeros(11)) == pytest.approx(0.01)
    assert probability_above(np.full(11, -0.01)) == 0
    assert probability_above(np.full(11, 0.01)) == 1


def test_an_unknown_quantile_leaves_the_probability_unknown():
    quantiles = np.stack([NORMAL, NORMAL])
    quantiles[0, 10] = np.nan
    assert_allclose(probability_above(quantiles), [np.nan, 0.5], atol=1e-9)
