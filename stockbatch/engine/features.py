"""Bars to scaled network inputs and targets, and back to prices (NumPy only).

Everything at step t is known at the close of session t and depends on the last REACH bars only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stockbatch.market.adjustments import overnight_gaps, total_log_returns
from stockbatch.market.jumps import Jumps
from stockbatch.records import Floats, Market, Panel

FEATURE_VERSION = "2"
"""Changes whenever the same bars give other inputs or targets: models are then retrained."""

NAMES = (
    "return",
    "overnight_gap",
    "absolute_return",
    "range",
    "close_location",
    "distance_20",
    "distance_50",
    "distance_200",
    "volatility_change",
    "volatility",
    "known",
    "market_move",
    "market_volatility_change",
    "relative_volatility",
)
"""The inputs, in the order of the last axis."""
FROM_RETURN = 5
"""So many of them say nothing where the return is unknown or a jump."""

DECAY = 0.94
"""By which a session's weight falls with each one after it (J.P. Morgan, "RiskMetrics", 1996)."""
VOLATILITY_WINDOW = 250
"""Sessions that count at all, so that no step depends on what lies before REACH."""
MEAN_WINDOWS = (20, 50, 200)
MINIMUM_SAMPLES = 20
"""Returns a volatility needs."""
SMALLEST_VOLATILITY = 1e-4
"""A price that stands still is not divided by zero."""
USUAL_VOLATILITY = 0.015
"""Of a stock in a session: its logarithm centres an input."""
RANGE_VARIANCE = 4 * np.log(2)
"""Mean squared range of a random walk over its variance (Parkinson, "The extreme value method for
estimating the variance of the rate of return", Journal of Business 53, 1980)."""
MEAN_MOVE = 0.8
"""Mean size of a normal return in standard deviations, sqrt(2 / pi), rounded."""
SMALLEST_RANGE = 0.05
"""In volatilities: a bar of one price has no logarithm of its range."""
MARKET_INPUTS = 3
USUAL_MOVE = 0.67
"""Median size of a normal return in standard deviations."""
LIMIT = 8.0
"""Inputs are cut off at plus and minus this: the network has seen too few beyond to learn from."""
JUMP_REACH = 252
"""Sessions before a return that decide whether it is a jump."""
REACH = 2 * VOLATILITY_WINDOW + JUMP_REACH
"""Sessions up to and including step t that step t depends on."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the network sees of a panel, all arrays starting with (tickers, sessions)."""

    inputs: NDArray[np.float32]
    """Finite, with a last axis in the order of NAMES; 0 where unknown."""
    returns: Floats
    """Total log return of each session where it can be a target, else NaN."""
    scale: Floats
    """Volatility known at each close; NaN where too little is known."""
    present: Bools
    """True where there is a bar."""


def compute(panel: Panel, jumps: Jumps, market: Market | None = None) -> Features:
    """Return the features of `panel`; a jump's return is no input, and no target unless released.

    `market` covers the same sessions; without it nothing is known of other tickers. What a jump was
    is known one session later: only then does a released one enter the volatility and the path of
    prices.
    """
    returns, gaps = total_log_returns(panel), overnight_gaps(panel)
    known = np.isfinite(returns) & ~(jumps.masked | jumps.released | jumps.pending)
    released = np.isfinite(returns) & jumps.released
    spread = np.log(panel.high / panel.low)
    scale = _volatility(returns, spread, known, released)
    present = np.isfinite(panel.close)
    # A path of returns in place of prices: splits and dividends leave no step in it.
    path = np.cumsum(_settled(returns, known, released), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN stands for what is unknown
        own = _inputs(panel, returns, gaps, spread, scale, path, known)
        around = _market_inputs(scale, market)
        inputs = np.empty((*scale.shape, len(NAMES)), np.float32)
        # Unknown inputs are 0, which is the middle of each; the input `known` tells the two apart.
        for place, column in enumerate(own):
            told = known if place < FROM_RETURN else present
            inputs[..., place] = _cut_off(np.where(told, column, 0.0))
        for place, column in enumerate(around, len(NAMES) - MARKET_INPUTS):
            inputs[..., place] = _cut_off(column)
    return Features(
        inputs=inputs,
        returns=np.where(known | released, returns, np.nan),
        scale=scale,
        present=present,
    )


def targets(features: Features) -> Floats:
    """Return the next session's return over the volatility known before it, NaN where unknown."""
    result = np.full_like(features.returns, np.nan)
    result[:, :-1] = features.returns[:, 1:] / features.scale[:, :-1]
    return result


def windows(array: NDArray[Any], lookback: int, scored: int, fill: Any = 0) -> NDArray[Any]:
    """Cut (tickers, sessions, …) into (tickers, windows, lookback + scored, …), a read-only view.

    The scored steps of the windows follow each other and end with the last session; what lies
    before the first session is `fill`.
    """
    sessions = array.shape[1]
    front = lookback + -sessions % scored
    padding = [(0, 0), (front, 0)] + [(0, 0)] * (array.ndim - 2)
    padded = np.pad(array, padding, constant_values=fill)
    cut = sliding_window_view(padded, lookback + scored, axis=1)[:, ::scored]
    return np.moveaxis(cut, -1, 2)


def decaying_sum(values: Floats, decay: float, sessions: int) -> Floats:
    """Return the sums of (T, S) over the last `sessions`, with weights falling by `decay`."""
    # Sessions first, so that what a step takes lies together in memory.
    result = values.T.copy()
    # What falls out of the window is taken away again, so that nothing older is remembered: a step
    # then is the same however long the series before it.
    forgotten = decay**sessions * result
    for step in range(1, len(result)):
        state = result[step]
        state += result[step - 1] * decay
        if step >= sessions:
            # Rounding may leave a little less than nothing.
            state -= forgotten[step - sessions]
            np.maximum(state, 0.0, out=state)
    return np.ascontiguousarray(result.T)


def _cut_off(column: Floats) -> Floats:
    """Return an input as the network gets it: within LIMIT, 0 where it is unknown."""
    within = np.clip(column, -LIMIT, LIMIT)
    within[np.isnan(within)] = 0.0
    return within


def _inputs(
    panel: Panel,
    returns: Floats,
    gaps: Floats,
    spread: Floats,
    scale: Floats,
    path: Floats,
    known: Bools,
) -> Iterator[Floats]:
    """Yield the inputs, one by one, before they are cut off, NaN where unknown.

    All are ratios of a kind, returns to volatility or volatility to its mean, so that one network
    may learn from tickers of any price and any temper. What a session did is measured by the
    volatility before it: its own would take part of the surprise away.
    """
    # A session is measured by what was known before it.
    before = _shifted(scale, np.nan)
    yield returns / before
    yield gaps / before
    yield np.abs(returns) / before - MEAN_MOVE
    yield np.log(np.maximum(spread / before, SMALLEST_RANGE) / np.sqrt(RANGE_VARIANCE))
    location = (2 * panel.close - panel.high - panel.low) / (panel.high - panel.low)
    yield np.where(panel.high > panel.low, location, 0.0)
    present = np.isfinite(panel.close)
    for sessions in MEAN_WINDOWS:
        yield (path - _trailing_mean(path, present, sessions)) / (scale * np.sqrt(sessions))
    logarithm = np.log(scale)
    yield logarithm - _trailing_mean(logarithm, np.isfinite(scale), VOLATILITY_WINDOW)
    yield logarithm - np.log(USUAL_VOLATILITY)
    yield known.astype(np.float64)


def _market_inputs(scale: Floats, market: Market | None) -> list[Floats]:
    """Return what the whole market did, shapes (1 or tickers, sessions), NaN where unknown.

    Only the size of its moves is told, never their direction: the same few hundred market returns
    in every ticker's windows are learned by heart.
    """
    if market is None:
        return [np.full_like(scale, np.nan)] * MARKET_INPUTS
    moves = market.absolute_return[None]
    known = np.isfinite(moves)
    weight, total = _decayed(known.astype(np.float64), np.where(known, moves, 0.0))
    # Counts are sums of doubles, hence not quite whole.
    enough = _trailing_sum(known.astype(np.float64), VOLATILITY_WINDOW) >= MINIMUM_SAMPLES - 0.5
    level = np.divide(total, weight, out=np.full_like(total, np.nan), where=enough)
    level = np.maximum(level, SMALLEST_VOLATILITY)
    logarithm = np.log(level)
    change = logarithm - _trailing_mean(logarithm, np.isfinite(level), VOLATILITY_WINDOW)
    move = moves / _shifted(level, np.nan) - 1
    relative = np.log(scale) - logarithm + np.log(USUAL_MOVE)
    return [move, change, relative]


def _volatility(returns: Floats, spread: Floats, known: Bools, released: Bools) -> Floats:
    """Return the volatility at each close: half from returns, half from ranges, decaying.

    A range tells about five times as much as a return (Parkinson, 1980), but nothing of the night.
    """
    from_range = spread**2 / RANGE_VARIANCE
    square = returns**2
    sample = np.where(np.isfinite(spread), (square + from_range) / 2, square)
    ones = _settled(np.ones_like(sample), known, released)
    weight, total = _decayed(ones, _settled(sample, known, released))
    count = _trailing_sum(ones, VOLATILITY_WINDOW)
    enough = count >= MINIMUM_SAMPLES - 0.5
    variance = np.divide(total, weight, out=np.full_like(total, np.nan), where=enough)
    return np.sqrt(np.maximum(variance, SMALLEST_VOLATILITY**2))


def _settled(values: Floats, known: Bools, released: Bools) -> Floats:
    """Return `values` at the session they can be relied on, released ones a session later."""
    # A jump that came true is believed when the next bar has confirmed it, and not a session
    # earlier.
    late = _shifted(np.where(released, values, 0.0), 0.0)
    return np.where(known, values, 0.0) + late


def _decayed(ones: Floats, values: Floats) -> tuple[Floats, Floats]:
    # In one go: of few tickers the steps cost more than what is added up in them.
    sums = decaying_sum(np.concatenate([ones, values]), DECAY, VOLATILITY_WINDOW)
    return sums[: len(ones)], sums[len(ones) :]


def _trailing_sum(values: Floats, sessions: int) -> Floats:
    # The sum so far, less what it was `sessions` ago: no window is added up twice.
    total = np.cumsum(values, axis=1)
    total[:, sessions:] -= total[:, :-sessions].copy()
    return total


def _trailing_mean(values: Floats, valid: Bools, sessions: int) -> Floats:
    """Return the means of the valid values among the last `sessions`, NaN where there is none."""
    total = _trailing_sum(np.where(valid, values, 0.0), sessions)
    count = _trailing_sum(valid.astype(np.float64), sessions)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0.5)


def _shifted(values: Floats, first: float) -> Floats:
    """Return `values` one session later."""
    result = np.empty_like(values)
    result[:, :1], result[:, 1:] = first, values[:, :-1]
    return result
