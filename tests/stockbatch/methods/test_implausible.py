"""What no ticker could do is not forecast, whichever method says so."""

from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from stockbatch.exceptions import NoFit
from stockbatch.methods import forecasts
from stockbatch.methods.garch import LARGEST_MEAN, LARGEST_SCALE, fit_garch
from tests.support.returns import wandering

RARELY = 3
"""An illiquid share trades once in so many sessions."""


@pytest.mark.parametrize("seed", range(40))
def test_a_share_that_hardly_trades_has_a_plausible_fit_or_none(seed):
    random = np.random.default_rng(seed)
    traded = random.random(500) < 1 / RARELY
    returns = np.where(traded, np.round(random.normal(0, 0.01, 500), 3), 0.0)
    with suppress(NoFit):
        fitted = fit_garch(returns)
        mean, omega, alpha, beta, _ = fitted
        spread = returns.std()
        assert abs(mean) <= LARGEST_MEAN * spread
        variance = returns.var()
        variances = [variance]
        for value in returns:
            variance = omega + alpha * (value - mean) ** 2 + beta * variance
            variances.append(variance)
        assert np.sqrt(np.median(variances)) <= 2 * LARGEST_SCALE * spread


def limits(returns, origins):
    return forecasts._limits(SimpleNamespace(features=SimpleNamespace(returns=returns)), origins)


def test_what_is_implausible_depends_on_nothing_after_the_origin():
    returns = wandering(sessions=700) * 10
    found = limits(returns, 400)
    assert found.shape == (3, 400)
    assert len(np.unique(found)) > 10
    for origin in (0, 1, 150, 398, 399):
        assert_array_equal(limits(returns[:, : 301 + origin], 1)[:, 0], found[:, origin])
    returns[:, -1] = 99  # what comes later has no say
    assert_array_equal(limits(returns, 400)[:, :-1], found[:, :-1])


def test_a_ticker_without_returns_has_the_least_limit():
    assert_array_equal(limits(np.full((2, 3), np.nan), 2), np.full((2, 2), forecasts.LEAST_LIMIT))
