"""Returns too large to be trusted at once, after coded splits and dividends are undone."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from stockbatch.market.adjustments import SIMPLE_SPLITS
from stockbatch.market.quality import Mask, limited, warning
from stockbatch.records import Finding, Floats, Sessions

SMALLEST_JUMP, DEVIATIONS = 0.25, 10
"""A jump exceeds both, the second in median absolute deviations of the usual returns before it."""
USUAL_RETURNS, FEWEST_RETURNS = 250, 60
"""So many earlier returns that are no jumps are looked at; with fewer, SMALLEST_JUMP decides."""
REVERSAL = 0.25
"""The share of a jump that may be left two sessions later for it to count as taken back."""
CLOSE_ERROR, GAP_ERROR, SMALL_SPLIT_ERROR = 0.02, 0.04, 0.025
"""How far from a split's log ratio close or gap may be; from a ratio below 2, both at most."""

_SPLITS = np.log(SIMPLE_SPLITS)
_UNITS = np.log([100, 1000])


class Verdict(StrEnum):
    """What became of a jump; the value is the name of the check."""

    PENDING = "jump_pending"
    SPLIT_LIKE = "jump_split_like"
    UNIT_LIKE = "jump_unit_like"
    REVERSED = "jump_reversed"
    RELEASED = "jump_released"
    CONFIRMED = "jump_confirmed"


_MEANING = {
    Verdict.PENDING: "not used before the next bar confirms it",
    Verdict.SPLIT_LIKE: "looks like a split nobody reported: not used",
    Verdict.UNIT_LIKE: "looks like prices in another unit of the currency: not used",
    Verdict.REVERSED: "the next bar takes it back: neither is used",
    Verdict.RELEASED: "confirmed by the next bar: used",
    Verdict.CONFIRMED: "another provider has it too: used",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Jumps:
    """Returns too large to be trusted at once, as masks of shape (tickers, sessions).

    A masked return is neither input nor target, a released one was a jump that came true, a pending
    one is masked until the next bar is known, however many sessions later. What a second provider
    confirmed is in no mask: it was known at once, and is a return like any other.
    """

    masked: Mask
    released: Mask
    pending: Mask


def jumps(
    log_returns: Floats,
    overnight_gaps: Floats,
    following: Floats,
    confirmed: Mask | None = None,
) -> Jumps:
    """Find the jumps in total log returns and gaps of shape (T, S), NaN where there is none.

    `following` are the returns to the next close there is, which confirms a jump or takes it back,
    unless it is among those `confirmed` already, by default none. What is said of a session depends
    on nothing after that bar.
    """
    masked, released, pending = (np.zeros(log_returns.shape, bool) for _ in range(3))
    for row, column, _, verdict in _judged(log_returns, overnight_gaps, following, confirmed):
        released[row, column] = verdict is Verdict.RELEASED
        pending[row, column] = verdict is Verdict.PENDING
        masked[row, column] = verdict not in (Verdict.RELEASED, Verdict.CONFIRMED)
        if verdict is Verdict.REVERSED:
            masked[row, column + 1] = True
    return Jumps(masked=masked, released=released, pending=pending)


def jump_findings(
    log_returns: Floats,
    overnight_gaps: Floats,
    following: Floats,
    sessions: Sessions,
    confirmed: Mask | None = None,
) -> tuple[tuple[Finding, ...], ...]:
    """Return one tuple of findings per ticker about what `jumps` found in the same arrays."""
    findings: list[list[Finding]] = [[] for _ in log_returns]
    judged = _judged(log_returns, overnight_gaps, following, confirmed)
    for row, column, threshold, verdict in judged:
        size = log_returns[row, column]
        text = f"{np.expm1(min(size, 99)):+.1%} in one session: {_MEANING[verdict]}"
        findings[row].append(warning(verdict, sessions[column], text, size, threshold))
    return tuple(tuple(limited(of_one)) for of_one in findings)


def _judged(
    log_returns: Floats, overnight_gaps: Floats, following: Floats, confirmed: Mask | None
) -> Iterator[tuple[int, int, float, Verdict]]:
    """Yield row, column, threshold and verdict of every jump, ticker by ticker, oldest first.

    The way back of a reversal is no jump.
    """
    jumped = np.zeros(log_returns.shape, bool)
    back = (-1, -1)
    for row, column in np.argwhere(np.abs(log_returns) > SMALLEST_JUMP).tolist():
        returns = log_returns[row]
        threshold = _threshold(returns[:column], jumped[row, :column])
        jumped[row, column] = abs(returns[column]) > threshold
        if not jumped[row, column] or (row, column) == back:
            continue
        place = row, column
        moves = (one[place].item() for one in (log_returns, overnight_gaps, following))
        verdict = _verdict(*moves, confirmed=confirmed is not None and bool(confirmed[place]))
        if verdict is Verdict.REVERSED:
            back = row, column + 1
        yield row, column, threshold, verdict


def _threshold(returns: Floats, jumped: Mask) -> float:
    """Return the size from which a return is a jump, judged by the usual ones before it."""
    usual = returns[np.isfinite(returns) & ~jumped][-USUAL_RETURNS:]
    if len(usual) < FEWEST_RETURNS:
        return SMALLEST_JUMP
    deviation = np.median(np.abs(usual - np.median(usual)))
    return max(SMALLEST_JUMP, DEVIATIONS * float(deviation))


def _verdict(jump: float, gap: float, following: float, *, confirmed: bool) -> Verdict:
    left = jump if confirmed else jump + following
    if not np.isfinite(left):
        return Verdict.PENDING
    if abs(left) <= REVERSAL * abs(jump):
        return Verdict.REVERSED
    if _near(jump, gap, _UNITS).any():
        return Verdict.UNIT_LIKE
    if _split_like(jump, gap):
        return Verdict.SPLIT_LIKE
    return Verdict.CONFIRMED if confirmed else Verdict.RELEASED


def _split_like(jump: float, gap: float) -> bool:
    """Tell whether the prices moved as by a simple split, up or down.

    Crashes by a fifth to a third are common: the small ratios need the gap and the close to agree.
    """
    away = np.maximum(*_away(jump, gap, _SPLITS))
    small = (away < SMALL_SPLIT_ERROR) & (jump * gap > 0)
    return bool(np.where(np.log(2) > _SPLITS, small, _near(jump, gap, _SPLITS)).any())


def _near(jump: float, gap: float, sizes: Floats) -> Mask:
    """Tell which sizes of a move, up or down, either the close or the open has nearly made."""
    close, opened = _away(jump, gap, sizes)
    return np.asarray((close < CLOSE_ERROR) | (opened < GAP_ERROR))


def _away(jump: float, gap: float, sizes: Floats) -> Floats:
    """Return how far the move to the close and that to the open are from `sizes`, shape (2, n)."""
    return np.abs(np.abs([[jump], [gap]]) - sizes)
