import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.methods.ewma import (
    DECAY,
    FEWEST_FOR_VOLATILITY,
    REACH,
    VOLATILITY_WINDOW,
    ewma_quantiles_by_origin,
    ewma_volatility,
)
from stockbatch.methods.rolling_quantile import WINDOW
from stockbatch.records import QUANTILES
from tests.support.returns import wandering


def ewma_quantiles(returns):
    return ewma_quantiles_by_origin(returns, 1)[:, 0]


def loop_volatility(returns):
    """The volatility of one ticker after its last return, straight from the definition."""
    window = returns[-VOLATILITY_WINDOW:]
    weights = DECAY ** np.arange(len(window))[::-1]
    known = ~np.isnan(window)
    if known.sum() < FEWEST_FOR_VOLATILITY:
        return math.nan
    return math.sqrt(np.average(window[known] ** 2, weights=weights[known]))


def test_ewma_volatility_equals_its_definition():
    returns = wandering()
    found = ewma_volatility(returns)
    for ticker in range(len(returns)):
        for last in (0, 18, 19, 25, 249, 250, 251, 600, 899):
            expected = loop_volatility(returns[ticker, : last + 1])
            assert_allclose(found[ticker, last], expected, rtol=1e-9)


def test_ewma_quantiles_equal_their_definition():
    returns = wandering()
    for row, found in zip(returns, ewma_quantiles(returns), strict=True):
        scaled = [
            row[last] / loop_volatility(row[:last])
            for last in range(len(row) - WINDOW, len(row))
            if not math.isnan(row[last])
        ]
        expected = np.nanquantile(scaled, QUANTILES) * loop_volatility(row)
        assert_allclose(found, expected, rtol=1e-9)
        assert (np.diff(found) > 0).all()


def test_ewma_reaches_as_far_as_it_says():
    returns = wandering(sessions=1000)
    found = ewma_quantiles(returns)
    assert_array_equal(ewma_quantiles(returns[:, -REACH:]), found)
    returns[:, :-REACH] = 7
    assert_array_equal(ewma_quantiles(returns), found)
    returns[:, -REACH] = 1e6
    assert (ewma_quantiles(returns)[:2] != found[:2]).any(axis=1).all()


@pytest.mark.parametrize("factor", [1e-3, 0.3, 1e3])
def test_ewma_scales_with_the_returns(factor):
    returns = wandering(sessions=400)
    assert_allclose(ewma_quantiles(returns * factor), ewma_quantiles(returns) * factor, rtol=1e-6)


def test_ewma_of_a_ticker_that_never_moves_is_zero():
    assert_array_equal(ewma_quantiles(np.zeros((1, 500))), np.zeros((1, 11)))


def test_ewma_widens_after_a_shock_and_forgets_it():
    random = np.random.default_rng(2)
    returns = random.normal(0, 0.01, (1, 800))
    calm = ewma_quantiles(returns[:, :600])[0, 10]
    returns[:, 600:620] *= 5
    assert ewma_quantiles(returns[:, :620])[0, 10] > 3 * calm
    assert ewma_quantiles(returns)[0, 10] < 1.5 * calm


def test_every_origin_sees_nothing_after_it():
    returns = wandering(sessions=700)
    found = ewma_quantiles_by_origin(returns, 600)
    assert found.shape == (3, 600, 11)
    for origin in (0, 1, 30, 299, 598, 599):
        assert_allclose(ewma_quantiles(returns[:, : 101 + origin]), found[:, origin], rtol=1e-12)
    assert np.isnan(found[-1, 0]).all()
