"""What each session knew of the news of tickers, from all items that were ever kept."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stockbatch.records import Floats, News, Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Items of news, arrays of shape (items,)."""

    row: NDArray[np.intp]
    """Of the ticker."""
    session: Sessions
    """The first that closed no earlier than it was published."""
    assumed: NDArray[np.bool_]
    """Whether it counts as known since it was published."""
    seen_at: Floats
    """Seconds since 1970."""
    score: Floats
    """NaN: it has none."""


def counted(items: Items, sessions: Sessions, cuts: Floats, tickers: int) -> News:
    """Return what `sessions` knew of so many tickers; each knows what was seen before its cut.

    An item belongs to one session only: seen later than that one's cut, it counts for none.
    """
    column = np.minimum(np.searchsorted(sessions, items.session), len(sessions) - 1)
    counts = sessions[column] == items.session
    counts &= items.assumed | (items.seen_at < cuts[column])
    place = items.row[counts], column[counts]
    score = items.score[counts]
    scored = np.isfinite(score)
    found = np.zeros((3, tickers, len(sessions)))
    np.add.at(found[0], place, 1.0)
    np.add.at(found[1], place, scored.astype(np.float64))
    np.add.at(found[2], place, np.where(scored, score, 0.0))
    return News(items=found[0], scored=found[1], total=found[2])
