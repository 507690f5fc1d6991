import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.methods.rolling_quantile import (
    MINIMUM,
    WINDOW,
    rolling_quantiles,
    rolling_quantiles_by_origin,
)
from stockbatch.records import QUANTILES
from tests.support.returns import wandering

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


def test_every_origin_sees_nothing_after_it():
    returns = wandering(sessions=700)
    found = rolling_quantiles_by_origin(returns, 600)
    assert found.shape == (3, 600, 11)
    for origin in (0, 1, 30, 299, 598, 599):
        assert_allclose(rolling_quantiles(returns[:, : 101 + origin]), found[:, origin], rtol=1e-12)
    assert np.isnan(found[-1, 0]).all()
