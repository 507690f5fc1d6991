"""Log returns of many tickers over many sessions, from their closes alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from stockbatch.market.adjustments import restate
from stockbatch.market.sessions import columns
from stockbatch.records import ActionKind, BarState, Check, Floats, Instrument, Sessions
from stockbatch.store.bulk import by_one_process, days, matrix, rows_of

_WITHIN = "instrument_id = ANY(%(ids)s) AND session BETWEEN %(first)s AND %(last)s"
_PLACE = "instrument_id, session - date '1970-01-01' AS day"
# An index holds all that is asked: no bar itself is read, of which there are millions.
_CLOSES = f"""
SELECT {_PLACE}, close FROM stockbatch.bars
WHERE {_WITHIN} AND state <> '{BarState.QUARANTINED}'
"""
_ACTIONS = f"""
SELECT {_PLACE}, array_position(cast(%(kinds)s AS text[]), kind) AS kind, value
FROM stockbatch.corporate_actions
WHERE {_WITHIN} AND NOT in_prices AND retracted_at IS NULL
"""
_JUMPS = f"""
SELECT {_PLACE}, bool_or(check_name = '{Check.JUMP_REVERSED}')::int AS reversed,
    bool_or(check_name = '{Check.JUMP_RELEASED}')::int AS released
FROM stockbatch.data_issues
WHERE {_WITHIN} AND check_name LIKE 'jump%%'
GROUP BY instrument_id, session
HAVING NOT bool_or(check_name = '{Check.JUMP_CONFIRMED}')
"""
_KINDS = (ActionKind.SPLIT, ActionKind.RESTATEMENT, ActionKind.DIVIDEND)


class Returns(NamedTuple):
    """Of tickers, in the order asked for."""

    log_returns: Floats
    """Dividends included, (tickers, sessions), NaN where unknown or not to be trusted."""
    has_bar: NDArray[np.bool_]
    """Whether there is a usable bar, (tickers, sessions)."""
    is_released: NDArray[np.bool_]
    """Whether it was a jump that only the next bar told to be one of worth, (tickers, sessions)."""

    def known_at(self, place: int) -> Floats:
        """Return the log returns up to a session, (tickers, place + 1), as they were known then."""
        known = self.log_returns[:, : place + 1].copy()
        known[self.is_released[:, place], place] = np.nan
        return known


def load(db: Session, instruments: Sequence[Instrument], sessions: Sessions) -> Returns:
    """Return the log returns of `instruments` on `sessions`; nothing later is read.

    Jumps are those that were found when the tickers were forecast, as `data_issues` has them.
    """
    by_one_process(db)
    ids = [instrument.id for instrument in instruments]
    shape = (len(ids), len(sessions))

    def placed(query: str, **more: Any) -> tuple[Floats, Any]:
        span = {"ids": ids, "first": sessions[0].item(), "last": sessions[-1].item()}
        table = matrix(db, query, {**span, **more})
        column, known = columns(sessions, days(table[:, 1]))
        return table[known, 2:], (rows_of(ids, table[known, 0]), column[known])

    close = np.full(shape, np.nan)
    values, place = placed(_CLOSES)
    close[place] = values[:, 0]
    split, dividend = np.ones(shape), np.zeros(shape)
    values, (row, column) = placed(_ACTIONS, kinds=list(_KINDS))
    for number, value, at in zip(*values.T, zip(row, column, strict=True), strict=True):
        if _KINDS[int(number) - 1] is ActionKind.DIVIDEND:
            dividend[at] = value
        else:
            split[at] *= value
    returns = np.full(shape, np.nan)
    returns[:, 1:] = np.log(restate(close, split, dividend)[:, 1:] / close[:, :-1])
    values, (row, column) = placed(_JUMPS)
    is_reversed, was_released = (values == 1).T
    returns[row[~was_released], column[~was_released]] = np.nan
    back = is_reversed & ~was_released & (column + 1 < shape[1])  # the way back is none either
    returns[row[back], column[back] + 1] = np.nan
    released = np.zeros(shape, bool)
    released[row[was_released], column[was_released]] = True
    return Returns(returns, np.isfinite(close), released)
