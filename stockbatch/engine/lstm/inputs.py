"""What the inputs of a network are, in formulas, for whoever feeds one without this program.

They say in words what `engine.features` computes; every number is taken from there.
"""

from stockbatch.engine.features import (
    DECAY,
    LIMIT,
    MEAN_MOVE,
    MEAN_WINDOWS,
    MINIMUM_SAMPLES,
    SMALLEST_RANGE,
    SMALLEST_VOLATILITY,
    USUAL_MOVE,
    USUAL_VOLATILITY,
    VOLATILITY_WINDOW,
)

SYMBOLS = (
    "r(t) = ln((close(t) + dividend(t)) * split(t) / close(t-1)): the total log return of session"
    " t; g(t) the same with open(t) in the place of close(t)",
    "s(t), column `scale` of the example: the root of the mean of"
    " (r² + ln(high / low)² / (4 ln 2)) / 2 over the last"
    f" {VOLATILITY_WINDOW} sessions, each weighing {DECAY} of the one after it; unknown before"
    f" {MINIMUM_SAMPLES} of them, at least {SMALLEST_VOLATILITY}",
    "p(t): the sum of r up to t; mean(x, n): over the known values of the last n sessions",
    "m(t): the median of |r(t)| over all tickers of the exchange; M(t): its mean with the weights"
    " of s(t)",
)
"""What the letters of the formulas stand for; t counts the sessions of the exchange."""
FORMULAS = {
    "return": "r(t) / s(t-1)",
    "overnight_gap": "g(t) / s(t-1)",
    "absolute_return": f"|r(t)| / s(t-1) - {MEAN_MOVE}",
    "range": f"ln(max(ln(high(t) / low(t)) / s(t-1), {SMALLEST_RANGE}) / sqrt(4 ln 2))",
    "close_location": "(2 close(t) - high(t) - low(t)) / (high(t) - low(t)), 0 if high = low",
    **{f"distance_{n}": f"(p(t) - mean(p, {n})) / (s(t) sqrt({n}))" for n in MEAN_WINDOWS},
    "volatility_change": f"ln s(t) - mean(ln s, {VOLATILITY_WINDOW})",
    "volatility": f"ln s(t) - ln {USUAL_VOLATILITY}",
    "known": "1 where r(t) is known and no doubtful jump, else 0",
    "market_move": "m(t) / M(t-1) - 1",
    "market_volatility_change": f"ln M(t) - mean(ln M, {VOLATILITY_WINDOW})",
    "relative_volatility": f"ln s(t) - ln M(t) + ln {USUAL_MOVE}",
}
"""By name, in the order of the last axis."""
SCALING = (
    f"Cut off at plus and minus {LIMIT:g}; what is unknown is 0. Where r(t) is unknown or a"
    " doubtful jump, so are the first five inputs; a jump enters s and p a session later, if the"
    " next bar confirms it. Nothing else is scaled or shifted."
)
