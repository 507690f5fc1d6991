"""Returns and price series with splits and dividends undone, derived from as-traded bars.

A holder of one share at the close of t-1 has `split[t]` shares and as many dividends at the close
of t, so the total return of session t is (close[t] + dividend[t]) * split[t] / close[t-1]. It needs
nothing but what is known at t: actions that go ex later change no earlier return.
"""

from typing import NamedTuple

import numpy as np

from stockbatch.records import Floats, Panel

SIMPLE_SPLITS = np.array([5 / 4, 4 / 3, 3 / 2, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50])
"""Ratios of splits that nobody needs to have stated for a change of prices to look like one."""


class Moves(NamedTuple):
    """The log returns of a panel by which a jump is known, with its closes; all of shape (T, S)."""

    total: Floats
    """From the close before to the close, NaN across gaps."""
    overnight: Floats
    """From the close before to the open, NaN across gaps."""
    following: Floats
    """From the close to the next close there is, however many sessions later."""
    split: Floats
    """Of the split stated for the session, undone in `total`; 0 where there is none."""
    close: Floats
    """As stored: on the grid that prices have where they are traded."""


def moves(panel: Panel) -> Moves:
    """Return the log returns of `panel`, splits and dividends undone."""
    return Moves(
        total=total_log_returns(panel),
        overnight=overnight_gaps(panel),
        following=following_log_returns(panel),
        split=np.log(panel.split),
        close=panel.close,
    )


def restate(price: Floats, split: Floats, dividend: Floats) -> Floats:
    """Return prices of a session on the basis of the session before, as if nothing went ex.

    Shapes broadcast; NaN stays NaN. This is what a forecast made the session before speaks of.
    """
    return (price + dividend) * split


def total_log_returns(panel: Panel) -> Floats:
    """Return the log returns from close to close, dividends included, of shape (T, S).

    NaN in the first column and wherever the bar of the session or of the one before is missing: a
    return across a gap is not a return of one session.
    """
    return _from_previous_close(panel.close, panel)


def overnight_gaps(panel: Panel) -> Floats:
    """Return the log returns from the previous close to the open, of shape (T, S).

    NaN as in `total_log_returns`.
    """
    return _from_previous_close(panel.open, panel)


def adjusted_closes(panel: Panel) -> Floats:
    """Return the closes adjusted backward for splits and dividends, of shape (T, S).

    The series ends on the basis of the last session; between neighbouring bars it moves by exactly
    the total return. A dividend of a session without a bar counts at the next close there is.
    """
    # close * shares is what one share of the first session has become: splits do not move it.
    shares = np.cumprod(panel.split, axis=1)
    # A dividend is put into more shares at the close it comes with: so much they grow in number.
    growth = 1 + panel.dividend * shares / _next_known(panel.close * shares)
    growth[np.isnan(growth)] = 1
    # Only dividends after a session shrink its close: it is ex its own already.
    later = np.ones_like(growth)
    later[:, :-1] = np.cumprod(growth[:, :0:-1], axis=1)[:, ::-1]
    adjusted: Floats = panel.close * (shares / shares[:, -1:]) / later
    return adjusted


def following_log_returns(panel: Panel) -> Floats:
    """Return the log returns from each close to the next there is, across gaps, of shape (T, S).

    NaN where there is no close, or none after it. What confirms a level, or takes it back.
    """
    returns = np.full(panel.close.shape, np.nan)
    level = np.log(adjusted_closes(panel))
    # By levels that are adjusted once for the whole panel, so that what went ex within a gap is
    # undone.
    returns[:, :-1] = _next_known(level[:, 1:]) - level[:, :-1]
    # Where the next bar is that of the next session, its return is the same to the last bit.
    next_session = total_log_returns(panel)[:, 1:]
    np.copyto(returns[:, :-1], next_session, where=~np.isnan(next_session))
    return returns


def _from_previous_close(price: Floats, panel: Panel) -> Floats:
    returns = np.full(price.shape, np.nan)
    now = restate(price[:, 1:], panel.split[:, 1:], panel.dividend[:, 1:])
    returns[:, 1:] = np.log(now / panel.close[:, :-1])
    return returns


def _next_known(price: Floats) -> Floats:
    """Fill every NaN of (T, S) with the first number to its right, if there is one."""
    # Each number points at itself and each NaN at the end; the least pointer from the right then
    # tells the next number; where there is none it stays at the end, which is NaN itself.
    last = price.shape[1] - 1
    column = np.where(np.isnan(price), last, np.arange(price.shape[1]))
    column = np.minimum.accumulate(column[:, ::-1], axis=1)[:, ::-1]
    return np.take_along_axis(price, column, axis=1)
