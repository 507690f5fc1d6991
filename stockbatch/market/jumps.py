"""Returns too large to be trusted at once, after coded splits and dividends are undone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stockbatch.market.adjustments import SIMPLE_SPLITS, Moves
from stockbatch.market.quality import UNDONE, Mask, limited, warning
from stockbatch.records import Check, Finding, Floats, Sessions

SMALLEST_JUMP, DEVIATIONS = 0.25, 10
"""A jump exceeds both, the second in median absolute deviations of the usual returns before it."""
USUAL_RETURNS, FEWEST_RETURNS = 250, 60
"""So many earlier returns that are no jumps are looked at; with fewer, SMALLEST_JUMP decides."""
TENFOLD = float(np.log(10)) - 1e-9
"""A move so large, up or down, is usual for no ticker, and no next bar makes it one."""
REVERSAL = 0.25
"""The share of a jump that may be left two sessions later for it to count as taken back."""
FEWEST_CLOSES, FINEST_TICK, TICKS = 20, 8, 2
"""So many closes before tell the decimals that prices have; moves of so many ticks are usual."""
COARSE, RECURRING = 5, 5
"""Where each price was a close so often on average, moves made so often before are usual."""
CLOSE_ERROR, GAP_ERROR, SMALL_SPLIT_ERROR = 0.02, 0.04, 0.025
"""How far from a split's log ratio close or gap may be; from a ratio below 2, both at most."""

_SPLITS = np.log(SIMPLE_SPLITS)
_UNITS = np.log([100, 1000])


_MEANING = {
    Check.JUMP_PENDING: "not used before the next bar confirms it",
    Check.JUMP_SPLIT_LIKE: "looks like a split nobody reported: not used",
    Check.JUMP_UNIT_LIKE: "looks like prices in another unit of the currency: not used",
    Check.JUMP_REVERSED: "the next bar takes it back: neither is used",
    Check.JUMP_SPLIT_STATED: "as a split stated that the prices do not show: not used",
    Check.JUMP_TENFOLD: "ten times or more: not used unless `quality accept` says so",
    Check.JUMP_RELEASED: "confirmed by the next bar: used",
    Check.JUMP_CONFIRMED: "another provider, or somebody, says the same: used",
}
"""What is said of a jump, by the check that speaks of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jumps:
    """Returns too large to be trusted at once, as masks of shape (tickers, sessions).

    A masked return is neither input nor target, a released one was a jump that came true, a pending
    one is masked until the next bar is known, however many sessions later. What a second provider
    or a person confirmed is in no mask: it was known at once, and is a return like any other.
    """

    masked: Mask
    released: Mask
    pending: Mask


def jumps(moves: Moves, confirmed: Mask | None = None) -> Jumps:
    """Find the jumps among `moves`, arrays of shape (T, S).

    The next close there is confirms a jump or takes it back, unless it is among those `confirmed`
    already, by default none. What is said of a session depends on nothing after that bar.
    """
    masked, released, pending = (np.zeros(moves.total.shape, bool) for _ in range(3))
    for row, column, _, check in _judged(moves, confirmed):
        released[row, column] = check is Check.JUMP_RELEASED
        pending[row, column] = check is Check.JUMP_PENDING
        masked[row, column] = check not in (Check.JUMP_RELEASED, Check.JUMP_CONFIRMED)
        if check is Check.JUMP_REVERSED:
            masked[row, column + 1] = True
    return Jumps(masked=masked, released=released, pending=pending)


def jump_findings(
    moves: Moves, sessions: Sessions, confirmed: Mask | None = None
) -> tuple[tuple[Finding, ...], ...]:
    """Return one tuple of findings per ticker about what `jumps` found in the same arrays."""
    findings: list[list[Finding]] = [[] for _ in moves.total]
    for row, column, threshold, check in _judged(moves, confirmed):
        size = moves.total[row, column]
        # Nobody reads more digits of an absurd price than those of e to the 99.
        text = f"{np.expm1(min(size, 99)):+.1%} in one session: {_MEANING[check]}"
        findings[row].append(warning(check, sessions[column], text, size, threshold))
    return tuple(tuple(limited(of_one)) for of_one in findings)


def unexplained(moves: Moves, row: int, column: int) -> bool:
    """Tell whether a jump there is like no split and no other unit, so that it may be genuine."""
    return _explanation(*_at(moves, row, column)) is None


def _judged(moves: Moves, confirmed: Mask | None) -> Iterator[tuple[int, int, float, Check]]:
    """Yield row, column, threshold and check of every jump, ticker by ticker, oldest first.

    The way back of a reversal is no jump.
    """
    # Returns of that size are rare: a loop over them is quick where one over all would not be.
    unusual = np.zeros(moves.total.shape, bool)
    back = (-1, -1)
    for row, column in np.argwhere(np.abs(moves.total) > SMALLEST_JUMP).tolist():
        returns = moves.total[row]
        # Steps of a coarse grid are left out of the deviations too: they would hide all else.
        if _steps(moves, row, column):
            unusual[row, column] = True
            continue
        threshold = _threshold(returns[:column], unusual[row, :column])
        unusual[row, column] = abs(returns[column]) > threshold
        if not unusual[row, column] or (row, column) == back:
            continue
        jump, gap, split = _at(moves, row, column)
        following = float(moves.following[row, column])
        known = confirmed is not None and bool(confirmed[row, column])
        check = _named(jump, gap, split, following, confirmed=known)
        if check is Check.JUMP_REVERSED:
            back = row, column + 1
        yield row, column, threshold, check


def _at(moves: Moves, row: int, column: int) -> tuple[float, float, float]:
    """Return the move to the close, that to the open, and the split stated."""
    jump, gap, split = (
        one[row, column].item() for one in (moves.total, moves.overnight, moves.split)
    )
    return jump, gap, split


def _steps(moves: Moves, row: int, column: int) -> bool:
    """Tell whether a large return is usual where a tick is a large part of the price.

    Judged by the closes before: where prices are 0.0001 and 0.0002, doubling is the smallest move.
    """
    size = abs(moves.total[row, column])
    if size >= TENFOLD:
        return False
    window = slice(max(0, column - USUAL_RETURNS), column)
    close = moves.close[row, window]
    known = close[np.isfinite(close)]
    if len(known) < FEWEST_CLOSES:
        return False
    move = abs(moves.close[row, column] - known[-1])
    if moves.split[row, column] == 0 and move <= TICKS * _tick(known) * (1 + 1e-3):
        return True
    if len(known) < FEWEST_RETURNS or COARSE * len(np.unique(known)) > len(known):
        return False
    # On other grids than that of decimals, as a quarter of a penny, or one that a split has scaled.
    before = np.abs(moves.total[row, window])
    return bool(((before >= size - 1e-6) & (before < TENFOLD)).sum() >= RECURRING)


def _tick(closes: Floats) -> float:
    """Return the smallest change of price that the decimals of `closes` allow, 0 if too small."""
    for decimals in range(FINEST_TICK + 1):
        ticks = closes * 10.0**decimals
        if (np.abs(ticks - np.round(ticks)) < 1e-4).all() and ticks.min() > 0.5:
            return float(10.0**-decimals)
    return 0.0


def _threshold(returns: Floats, unusual: Mask) -> float:
    """Return the size from which a return is a jump, judged by the usual ones before it."""
    # Jumps before are left out: one of them would hide the next by raising what is usual.
    usual = returns[np.isfinite(returns) & ~unusual][-USUAL_RETURNS:]
    if len(usual) < FEWEST_RETURNS:
        return SMALLEST_JUMP
    deviation = np.median(np.abs(usual - np.median(usual)))
    return min(max(SMALLEST_JUMP, DEVIATIONS * float(deviation)), TENFOLD)


def _named(jump: float, gap: float, split: float, following: float, *, confirmed: bool) -> Check:
    """Say what a jump is; `confirmed` stands in for all that its size and the next bar tell."""
    if confirmed and np.isfinite(jump):
        return Check.JUMP_CONFIRMED
    left = jump + following
    if not np.isfinite(left):
        return Check.JUMP_PENDING
    if abs(left) <= REVERSAL * abs(jump):
        return Check.JUMP_REVERSED
    # A provider that misses a split misses it in the next bar too, and so may another provider:
    # what looks like one is not even asked about.
    return _explanation(jump, gap, split) or (
        Check.JUMP_TENFOLD if abs(jump) >= TENFOLD else Check.JUMP_RELEASED
    )


def _explanation(jump: float, gap: float, split: float) -> Check | None:
    """Say what else than a change of worth a jump looks like; None: like nothing else."""
    # Prices that do not show a split move by it once when it is undone, and twice if the wrong way.
    if split and min(abs(jump - split), abs(jump - 2 * split)) <= UNDONE * abs(split):
        return Check.JUMP_SPLIT_STATED
    if _near(jump, gap, _UNITS).any():
        return Check.JUMP_UNIT_LIKE
    return Check.JUMP_SPLIT_LIKE if _split_like(jump, gap) else None


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
