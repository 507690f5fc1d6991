"""What no ticker could do is not forecast, whichever method says so."""

import numpy as np
import pytest

from stockbatch.methods.garch import LARGEST_MEAN, LARGEST_SCALE, fit_garch

RARELY = 3
"""An illiquid share trades once in so many sessions."""


@pytest.mark.parametrize("seed", range(40))
def test_a_share_that_hardly_trades_has_a_plausible_fit_or_none(seed):
    random = np.random.default_rng(seed)
    traded = random.random(500) < 1 / RARELY
    returns = np.where(traded, np.round(random.normal(0, 0.01, 500), 3), 0.0)
    fitted = fit_garch(returns)
    if fitted is not None:
        mean, omega, alpha, beta, _ = fitted
        spread = returns.std()
        assert abs(mean) <= LARGEST_MEAN * spread
        variance = returns.var()
        variances = [variance]
        for value in returns:
            variance = omega + alpha * (value - mean) ** 2 + beta * variance
            variances.append(variance)
        assert np.sqrt(np.median(variances)) <= 2 * LARGEST_SCALE * spread
