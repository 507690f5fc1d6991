"""EWMA: past returns, in units of the volatility before them, times today's volatility."""

import numpy as np

from stockbatch.engine.features import decaying_sum
from stockbatch.methods.base import Given, Method, Stated
from stockbatch.methods.rolling_quantile import WINDOW, rolling_quantiles_by_origin
from stockbatch.records import Floats

DECAY = 0.94
"""By which a squared return loses weight from one session to the next."""
VOLATILITY_WINDOW = 250
"""Sessions an EWMA volatility looks back."""
FEWEST_FOR_VOLATILITY = 20
"""Known returns it needs."""
SMALLEST_VOLATILITY = 1e-6
REACH = VOLATILITY_WINDOW + WINDOW
"""Sessions up to the origin that a forecast depends on."""


class Ewma(Method):
    """States filtered historical quantiles."""

    name = "ewma"
    title = "EWMA"
    sentence = (
        "Past returns measured by the volatility of their day, times today's: an exponentially"
        " weighted moving average, as RiskMetrics has it."
    )
    is_baseline = True
    is_rival = True

    def forecast(self, given: Given) -> Stated:
        """Return the quantiles known at each origin."""
        returns = given.material.features.returns
        return Stated.of(ewma_quantiles_by_origin(returns, given.origins))


def ewma_quantiles_by_origin(returns: Floats, origins: int) -> Floats:
    """Return the EWMA quantiles as of each of the last `origins` <= S sessions, (T, N, 11).

    `returns` has shape (T, S), NaN where unknown; rows that know too little are NaN.

    The volatility known at the origin, times the rolling quantiles of past returns in units of the
    volatility known before them. J.P. Morgan & Reuters, "RiskMetrics: technical document" (1996);
    filtered historical simulation after Hull & White, "Incorporating volatility updating into the
    historical simulation method for value-at-risk", Journal of Risk 1 (1998).
    """
    returns = returns[:, -(REACH + origins - 1) :]
    volatility = ewma_volatility(returns)
    scaled = np.full_like(returns, np.nan)
    # By the volatility of the day before: by its own, a large move would look like an ordinary one.
    scaled[:, 1:] = returns[:, 1:] / volatility[:, :-1]
    return volatility[:, -origins:, None] * rolling_quantiles_by_origin(scaled, origins)


def ewma_volatility(returns: Floats) -> Floats:
    """Return the root of the decaying mean of squared returns known at each session, (T, S).

    The weights sum to 1 over the known returns of VOLATILITY_WINDOW sessions: NaN where these are
    fewer than FEWEST_FOR_VOLATILITY. Time passes over sessions without a return.
    """
    known = np.isfinite(returns)
    ones = known.astype(np.float64)
    total = decaying_sum(np.where(known, returns, 0.0) ** 2, DECAY, VOLATILITY_WINDOW)
    weight = decaying_sum(ones, DECAY, VOLATILITY_WINDOW)
    enough = decaying_sum(ones, 1.0, VOLATILITY_WINDOW) >= FEWEST_FOR_VOLATILITY
    variance = np.divide(total, weight, out=np.full_like(total, np.nan), where=enough)
    return np.sqrt(np.maximum(variance, SMALLEST_VOLATILITY**2))
