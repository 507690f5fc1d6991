"""How far tickers, groups and portfolios may fall: filtered historical simulation.

What a past session would do to today's holdings: each member's return of that session, divided by
the scale that was stated for it, times the scale stated for the next session. All members go
through the same session together, so that their dependence is kept. Barone-Adesi, Giannopoulos &
Vosper, "VaR without correlations for portfolios of derivative securities", Journal of Futures
Markets 19 (1999); the scales here are those of the forecasts, in place of a GARCH model's.

Weights are shares of the gross exposure, outcomes simple returns on it, which add up over members.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stockbatch import metrics
from stockbatch.methods.ewma import VOLATILITY_WINDOW, ewma_volatility
from stockbatch.methods.rolling_quantile import rolling_quantiles
from stockbatch.records import QUANTILES, Floats

LEVELS = QUANTILES[:3]
"""Shares of outcomes beyond the values at risk that are told, smallest first."""
FEWEST, MOST = 250, 1000
"""Past sessions a distribution is made of, at least and at most."""
REACH = MOST + VOLATILITY_WINDOW
"""Sessions up to the origin that a distribution depends on."""
WIDTH = 80
"""Percent of the interval whose half is a scale."""
FORGETTING = 0.01
"""Share of its weight that a session loses with each that comes after it, in portfolios and groups:
how much members move together changes from one year to the next. Boudoukh, Richardson & Whitelaw,
"The best of both worlds", Risk 11 (1998)."""
LEAST_OF_A_GROUP = 0.5
"""Share of a group's members that a session needs for their mean to stand for it."""


class Ways(NamedTuple):
    """The same past sessions as they would be by several scales, each (…, sessions)."""

    stated: Floats
    """By the widths that a method stated, not below EWMA's."""
    ewma: Floats
    unscaled: Floats
    """As they were: what history alone says."""


class Distribution(NamedTuple):
    """What was simulated of P subjects; NaN where too few sessions are known."""

    sessions: NDArray[np.int64]
    """Past sessions it is made of, (P,)."""
    is_stated: NDArray[np.bool_]
    """Whether by the widths that a method stated, else by EWMA's throughout, (P,)."""
    quantiles: Floats
    """Of the simple return, (P, 11)."""
    shortfalls: Floats
    """Mean outcome up to the quantile of each of LEVELS, (P, 3)."""
    unscaled_quantiles: Floats
    """Of the same sessions without scales, (P, 11)."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What members add up to in each past session, which grows part by part of the tickers."""

    totals: Floats
    """Weight times outcome by way of `Ways`, (3, P, sessions)."""
    known: Floats
    """Members known, likewise."""

    @classmethod
    def nothing(cls, subjects: int, sessions: int) -> Self:
        """Return those of no member yet."""
        totals, known = np.zeros((2, len(Ways._fields), subjects, sessions))
        return cls(totals, known)

    def add(self, weights: Floats, outcomes: Ways) -> None:
        """Add members with outcomes (T, sessions), by their weights (P, T), 0 of no member."""
        is_member = (weights != 0).astype(np.float64)
        for way, of_members in enumerate(outcomes):
            finite = np.isfinite(of_members)
            self.totals[way] += weights @ np.where(finite, of_members, 0.0)
            self.known[way] += is_member @ finite.astype(np.float64)

    def of_portfolios(self, members: Floats) -> Ways:
        """Return the sum over all members, (P,) in number, NaN where one is unknown."""
        whole = (self.known == members[:, None]) & (members[:, None] > 0)
        return Ways(*np.where(whole, self.totals, np.nan))

    def of_groups(self, members: Floats) -> Ways:
        """Return the mean over members known, NaN where they are too few of all, (P,) in number.

        Of members that all have the weight 1.
        """
        enough = (self.known >= LEAST_OF_A_GROUP * members[:, None]) & (self.known > 0)
        means = np.divide(
            self.totals, self.known, out=np.full_like(self.totals, np.nan), where=enough
        )
        return Ways(*means)


def outcomes(returns: Floats, half_widths: Floats) -> Ways:
    """Return what each ticker would do tomorrow if a past session came again, (T, up to MOST).

    `returns` are log returns (T, S), the origin's last, NaN where unknown; `half_widths` (T, S + 1)
    half the 80 % widths stated for each of them and, last, for the session after.
    """
    ewma = ewma_scales(returns)
    # Where a method has hardly stated any width, an ordinary move would look like a catastrophe.
    stated = np.maximum(np.where(half_widths > 0, half_widths, np.nan), ewma)
    lately = returns[:, -MOST:]
    some = slice(-lately.shape[1] - 1, None)
    return Ways(
        stated=_simulated(lately, stated[:, some]),
        ewma=_simulated(lately, ewma[:, some]),
        unscaled=np.expm1(lately),
    )


def ewma_scales(returns: Floats) -> Floats:
    """Return half the 80 % width that EWMA states for each session and the next one, (T, S + 1).

    The volatility known before it, times half the 80 % width of the ticker's returns in units of
    it. The latter is one number of all sessions, so that it goes out where EWMA's scales are alone.
    """
    before = np.full((len(returns), returns.shape[1] + 1), np.nan)
    before[:, 1:] = ewma_volatility(returns)
    quantiles = rolling_quantiles(returns / before[:, :-1], window=MOST, minimum=1)
    low, high = metrics.interval(quantiles, WIDTH)
    # Of prices that hardly ever move the width is 0, and of others that are unknown NaN.
    half = np.where(high > low, (high - low) / 2, 1.0)
    scales: Floats = before * half[:, None]
    return scales


def _simulated(returns: Floats, scales: Floats) -> Floats:
    """Return simple returns of the next session, by the last of the scales (T, S + 1)."""
    with np.errstate(over="ignore"):  # what is past all numbers is unknown
        simulated = np.expm1(scales[:, -1:] * returns / scales[:, :-1])
    return np.where(np.isfinite(simulated), simulated, np.nan)


def distribution(ways: Ways, forgetting: float = 0.0) -> Distribution:
    """Return the distribution that outcomes (P, sessions) are, by one kind of scale throughout.

    By the widths stated where FEWEST sessions have them, else by EWMA's. What they would be without
    scales forgets nothing.
    """
    is_stated = np.isfinite(ways.stated).sum(axis=1) >= FEWEST
    chosen = np.where(is_stated[:, None], ways.stated, ways.ewma)
    known = np.isfinite(chosen)
    count = known.sum(axis=1)
    quantiles, shortfalls = _described(chosen) if not forgetting else _aged(chosen, forgetting)
    unscaled, _ = _described(np.where(known, ways.unscaled, np.nan))
    return Distribution(count, is_stated, quantiles, shortfalls, unscaled)


def _described(outcomes: Floats) -> tuple[Floats, Floats]:
    """Return the quantiles (P, 11) and the means up to those of LEVELS (P, 3)."""
    quantiles = rolling_quantiles(outcomes, window=outcomes.shape[1], minimum=FEWEST)
    ordered = np.sort(outcomes, axis=1)  # NaN comes last
    count = np.isfinite(outcomes).sum(axis=1)
    # Of the outcomes those count that are not above the quantile, which lies between two of them.
    worst = (np.maximum(count - 1, 0)[:, None] * np.array(LEVELS)).astype(np.intp)
    sums = np.take_along_axis(np.cumsum(ordered, axis=1), worst, axis=1)
    shortfalls = np.where(count[:, None] >= FEWEST, sums / (worst + 1), np.nan)
    return quantiles, shortfalls


def _aged(outcomes: Floats, forgetting: float) -> tuple[Floats, Floats]:
    """Return what `_described` does, where an outcome weighs less the older it is.

    Between two of them the distribution rises by the mean of their weights.
    """
    quantiles = np.full((len(outcomes), len(QUANTILES)), np.nan)
    shortfalls = np.full((len(outcomes), len(LEVELS)), np.nan)
    weights = (1 - forgetting) ** np.arange(outcomes.shape[1])[::-1]
    known = np.isfinite(outcomes)
    for row in np.flatnonzero(known.sum(axis=1) >= FEWEST).tolist():
        order = np.argsort(outcomes[row, known[row]], kind="stable")
        values, weight = outcomes[row, known[row]][order], weights[known[row]][order]
        share = np.concatenate([[0.0], np.cumsum(weight[1:] + weight[:-1])])
        share /= share[-1]
        quantiles[row] = np.interp(QUANTILES, share, values)
        for place, level in enumerate(LEVELS):
            worst = share <= level
            shortfalls[row, place] = np.average(values[worst], weights=weight[worst])
    return quantiles, shortfalls
