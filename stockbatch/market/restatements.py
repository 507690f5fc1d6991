"""Prices adjusted for dividends: each one paid lowers all earlier ones, and no return changes.

What is stored stays as it came. One dated factor, a restatement, says by what to divide the prices
before its session to have them as the provider tells them from then on: pure functions.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date

import numpy as np

from stockbatch.market.quality import Checked
from stockbatch.market.sessions import as_date
from stockbatch.records import (
    ActionKind,
    Bars,
    CorporateAction,
    Floats,
    Sessions,
    StoredBars,
)

SAME = 1e-4
"""Relative difference up to which two prices of a session are one, but for their rounding."""


def on_todays_basis(stored: StoredBars) -> Bars:
    """Return the stored bars as their provider is expected to tell them now."""
    return _times(stored.bars, 1 / _later(stored.restatements, stored.sessions))


def on_stored_basis(checked: Checked, stored: StoredBars, ratio: float) -> Checked:
    """Return what came as it is to be stored beside the `stored` bars.

    `ratio` is that of prices now to those expected: other than 1 where a dividend was paid. From
    the first new session on prices stay as they are; those before get the basis they are stored
    on, and where they are the same then, they are the stored ones to the last bit.
    """
    restatements, actions = stored.restatements, checked.actions
    came = np.concatenate([checked.accepted.sessions, checked.quarantined.sessions])
    new = came[came > np.datetime64(stored.newest)]
    # Without a new session there is nothing that the stored bars must stand beside.
    first_new = as_date(new.min()) if len(new) else date.max
    if ratio != 1:
        known = {action.session: action.value for action in restatements}
        value = known.get(first_new, 1.0) / ratio
        restated = CorporateAction(session=first_new, kind=ActionKind.RESTATEMENT, value=value)
        restatements = (*(a for a in restatements if a.session != first_new), restated)
        actions = (*actions, restated) if len(new) else actions
    now = [
        _times(bars, _later(restatements, bars.sessions))
        for bars in (checked.accepted, checked.quarantined)
    ]
    accepted = _unchanged(now[0], stored.bars, rounding(checked.accepted))
    return replace(checked, accepted=accepted, quarantined=now[1], actions=actions)


def lowered_by(actions: Iterable[CorporateAction], bars: Bars, after: Sessions) -> float:
    """Return by what dividends that went ex after the last of some sessions lowered prices."""
    ratio = 1.0
    for action in sorted(actions, key=lambda action: action.session, reverse=True):
        session = np.datetime64(action.session)
        before = int(np.searchsorted(bars.sessions, session)) - 1
        if action.kind is ActionKind.DIVIDEND and before >= 0 and (session > after).all():
            # What came before is lowered by this one, and by all later ones, too.
            without = float(bars.close[before]) / ratio
            ratio *= without / (without + action.value)
    return ratio


def rounding(bars: Bars) -> float:
    """Return by how much prices may be off because they are published with few decimals."""
    prices = np.stack([bars.open, bars.high, bars.low, bars.close])
    if not prices.size:
        return 0.0
    coarsest = max(0.01, 1e-3 * float(np.median(prices)))
    for decimals in range(7):
        step = 10.0**-decimals
        if step <= coarsest and np.abs(prices / step - np.round(prices / step)).max() < 1e-6:
            return step / 2
    return 0.0


def tolerance(now: Floats, before: Floats, rounding: float) -> Floats:
    """Return by how much the ratio of two prices may be off one, relatively."""
    return SAME + rounding * (1 / now + 1 / before)


def _later(restatements: Iterable[CorporateAction], sessions: Sessions) -> Floats:
    """Return the product of the restatements after each session."""
    product = np.ones(len(sessions))
    for action in restatements:
        product[sessions < np.datetime64(action.session)] *= action.value
    return product


def _times(bars: Bars, factor: Floats) -> Bars:
    return replace(
        bars,
        open=bars.open * factor,
        high=bars.high * factor,
        low=bars.low * factor,
        close=bars.close * factor,
    )


def _unchanged(now: Bars, stored: Bars, rounding: float) -> Bars:
    """Put the stored prices where those of now are the same."""
    _, new, old = np.intersect1d(
        now.sessions, stored.sessions, assume_unique=True, return_indices=True
    )
    names = ("open", "high", "low", "close")
    prices = np.stack([getattr(now, name) for name in names])
    before = np.stack([getattr(stored, name) for name in names])[:, old]
    off = np.abs(prices[:, new] / before - 1)
    same = (off <= tolerance(prices[:, new], before, rounding)).all(axis=0)
    prices[:, new[same]] = before[:, same]
    return replace(now, **dict(zip(names, prices, strict=True)))
