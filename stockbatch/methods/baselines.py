"""What needs no training: rolling quantiles, EWMA, and the chance of a rise that quantiles imply.

The naive forecast is not here: its close is the origin's, its log return 0. GARCH is in garch.py.
"""

import numpy as np

from stockbatch.records import QUANTILES, Floats

WINDOW = 250
"""Sessions a rolling quantile looks back."""
MINIMUM = 60
"""Known returns it needs."""
DECAY = 0.94
"""By which a squared return loses weight from one session to the next."""
VOLATILITY_WINDOW = 250
"""Sessions an EWMA volatility looks back."""
FEWEST_FOR_VOLATILITY = 20
"""Known returns it needs."""
SMALLEST_VOLATILITY = 1e-6
EWMA_REACH = VOLATILITY_WINDOW + WINDOW
"""Sessions up to the origin that an EWMA forecast depends on."""


def rolling_quantiles(returns: Floats, window: int = WINDOW, minimum: int = MINIMUM) -> Floats:
    """Return the QUANTILES of each ticker's last `window` sessions, of shape (T, 9).

    `returns` has shape (T, S), NaN where unknown; fewer than `minimum` known ones give a row of
    NaN. Linear interpolation of order statistics: type 7 of Hyndman & Fan, "Sample quantiles in
    statistical packages", The American Statistician 50 (1996).
    """
    ordered = np.sort(returns[:, -window:], axis=1)  # NaN comes last
    known = np.sum(~np.isnan(ordered), axis=1)
    position = np.maximum(known - 1, 0)[:, None] * np.array(QUANTILES)
    below = position.astype(np.intp)
    above = np.minimum(below + 1, np.maximum(known - 1, 0)[:, None])
    low, high = (np.take_along_axis(ordered, index, axis=1) for index in (below, above))
    quantiles: Floats = low + (high - low) * (position - below)
    quantiles[known < max(minimum, 1)] = np.nan
    return quantiles


def rolling_quantiles_by_origin(returns: Floats, origins: int) -> Floats:
    """Return `rolling_quantiles` as of each of the last `origins` <= S sessions, (T, N, 9)."""
    ends = range(returns.shape[1] - origins + 1, returns.shape[1] + 1)
    return np.stack([rolling_quantiles(returns[:, :end]) for end in ends], axis=1)


def ewma_quantiles(returns: Floats) -> Floats:
    """Return the EWMA quantiles of the next log return, of shape (T, 9).

    `returns` has shape (T, S), NaN where unknown; rows that know too little are NaN.
    """
    return ewma_quantiles_by_origin(returns, 1)[:, 0]


def ewma_quantiles_by_origin(returns: Floats, origins: int) -> Floats:
    """Return `ewma_quantiles` as of each of the last `origins` <= S sessions, (T, N, 9).

    The volatility known at the origin, times the rolling quantiles of past returns in units of the
    volatility known before them. J.P. Morgan & Reuters, "RiskMetrics: technical document" (1996);
    filtered historical simulation after Hull & White, "Incorporating volatility updating into the
    historical simulation method for value-at-risk", Journal of Risk 1 (1998).
    """
    returns = returns[:, -(EWMA_REACH + origins - 1) :]
    volatility = ewma_volatility(returns)
    scaled = np.full_like(returns, np.nan)
    scaled[:, 1:] = returns[:, 1:] / volatility[:, :-1]
    return volatility[:, -origins:, None] * rolling_quantiles_by_origin(scaled, origins)


def ewma_volatility(returns: Floats) -> Floats:
    """Return the root of the decaying mean of squared returns known at each session, (T, S).

    The weights sum to 1 over the known returns of VOLATILITY_WINDOW sessions: NaN where these are
    fewer than FEWEST_FOR_VOLATILITY. Time passes over sessions without a return.
    """
    known = np.isfinite(returns)
    ones = known.astype(np.float64)
    total = _trailing_sum(np.where(known, returns, 0.0) ** 2, DECAY)
    weight = _trailing_sum(ones, DECAY)
    enough = _trailing_sum(ones, 1.0) >= FEWEST_FOR_VOLATILITY
    variance = np.divide(total, weight, out=np.full_like(total, np.nan), where=enough)
    return np.sqrt(np.maximum(variance, SMALLEST_VOLATILITY**2))


def probability_of_rise(quantiles: Floats) -> Floats:
    """Return the probability of a log return above 0 implied by quantiles of shape (…, 9).

    The distribution function is linear between neighbouring quantiles. Outside of them its tails
    are exponential with the density of the outermost interval, so the answer is never certain and
    moves without a jump as the quantiles pass 0. NaN where a quantile is.
    """
    levels = np.array(QUANTILES)
    passed = np.sum(quantiles <= 0, axis=-1, keepdims=True)
    left = np.clip(passed - 1, 0, len(levels) - 2)
    q0, q1 = (np.take_along_axis(quantiles, left + step, axis=-1)[..., 0] for step in (0, 1))
    p0, p1 = (levels[left + step][..., 0] for step in (0, 1))
    width = np.maximum(q1 - q0, np.finfo(np.float64).tiny)
    density = (p1 - p0) / width
    with np.errstate(over="ignore"):
        between = 1 - p0 + q0 * density
        all_above = 1 - p0 * np.exp(-q0 * density / p0)
        all_below = (1 - p1) * np.exp(q1 * density / (1 - p1))
    inside = np.where(passed[..., 0] == 0, all_above, between)
    probability = np.where(passed[..., 0] == len(levels), all_below, inside)
    return np.where(np.isnan(quantiles).any(axis=-1), np.nan, probability)


def _trailing_sum(values: Floats, decay: float) -> Floats:
    """Return the sums over VOLATILITY_WINDOW sessions with weights falling by `decay`."""
    result = np.empty_like(values)
    state = np.zeros(len(values))
    forgotten = decay**VOLATILITY_WINDOW
    for step in range(values.shape[1]):
        state = state * decay + values[:, step]
        if step >= VOLATILITY_WINDOW:
            state = np.maximum(state - forgotten * values[:, step - VOLATILITY_WINDOW], 0.0)
        result[:, step] = state
    return result
