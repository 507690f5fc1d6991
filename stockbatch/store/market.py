"""What all tickers of a calendar did together."""

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.market.adjustments import restate
from stockbatch.market.sessions import columns
from stockbatch.records import ActionKind, BarState, Floats, Market, Sessions
from stockbatch.store.bulk import days, matrix

FEWEST = 5
"""Tickers with a return that a session needs to count as known."""

# The number of bars is stored beside each sum: where it still holds, no bar came or went since. A
# bar that was corrected changes nothing: what forecasts were made of stays as it was that night.
_CHANGED = """
SELECT a.session - date '1970-01-01' AS day, a.tickers
FROM (
    SELECT b.session, count(*) AS tickers
    FROM stockbatch.bars AS b
    JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
    WHERE i.calendar = %(calendar)s AND i.active AND NOT i.demo AND b.state <> %(quarantined)s
        AND b.session BETWEEN %(first)s AND %(last)s
    GROUP BY b.session
) AS a
LEFT JOIN stockbatch.market_inputs AS m ON m.calendar = %(calendar)s AND m.session = a.session
WHERE m.instruments IS DISTINCT FROM a.tickers
ORDER BY a.session
"""

_PRICES = """
SELECT b.instrument_id, b.session - date '1970-01-01' AS day, b.close,
    coalesce(split.value, 1) * coalesce(restatement.value, 1) AS split,
    coalesce(dividend.value, 0) AS dividend
FROM stockbatch.bars AS b
JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
LEFT JOIN stockbatch.corporate_actions AS split
    ON split.instrument_id = b.instrument_id AND split.session = b.session
    AND split.kind = %(split)s AND NOT split.in_prices AND split.retracted_at IS NULL
LEFT JOIN stockbatch.corporate_actions AS restatement
    ON restatement.instrument_id = b.instrument_id AND restatement.session = b.session
    AND restatement.kind = %(restatement)s AND restatement.retracted_at IS NULL
LEFT JOIN stockbatch.corporate_actions AS dividend
    ON dividend.instrument_id = b.instrument_id AND dividend.session = b.session
    AND dividend.kind = %(dividend)s AND NOT dividend.in_prices AND dividend.retracted_at IS NULL
WHERE i.calendar = %(calendar)s AND i.active AND NOT i.demo AND b.state <> %(quarantined)s
    AND b.session BETWEEN %(first)s AND %(last)s
"""

_KINDS = {
    "quarantined": BarState.QUARANTINED,
    "split": ActionKind.SPLIT,
    "restatement": ActionKind.RESTATEMENT,
    "dividend": ActionKind.DIVIDEND,
}

_SAVE = text("""
INSERT INTO stockbatch.market_inputs (calendar, session, instruments, absolute_return)
SELECT :calendar, n.* FROM unnest(
    cast(:sessions AS date[]), cast(:tickers AS int[]), cast(:moves AS float8[])
) AS n
ON CONFLICT (calendar, session) DO UPDATE SET
    instruments = excluded.instruments, absolute_return = excluded.absolute_return,
    updated_at = clock_timestamp()
""")


def update(db: Session, calendar: str, sessions: Sessions) -> None:
    """Sum up those of `sessions` that are not summed up yet, or were with other tickers.

    Each is made of its own bars and those of the session before: nothing later is read.
    """
    among = {"calendar": calendar, **_KINDS}
    span = {"first": sessions[0].item(), "last": sessions[-1].item()}
    changed = matrix(db, _CHANGED, {**among, **span})
    column, known = columns(sessions, days(changed[:, 0]))
    known &= column > 0  # the first session is only there to be the one before
    column, tickers = column[known], changed[known, 1]
    if not len(column):
        return
    # Prices are read from before the first session to be summed up to the last, and no others.
    begin, end = column[0] - 1, column[-1] + 1
    span = {"first": sessions[begin].item(), "last": sessions[end - 1].item()}
    prices = matrix(db, _PRICES, {**among, **span})
    moves = _moves(prices, sessions[begin:end])[column - begin]
    db.execute(
        _SAVE,
        {
            "calendar": calendar,
            "sessions": sessions[column].tolist(),
            "tickers": tickers.astype(int).tolist(),
            "moves": [None if np.isnan(move) else move for move in moves.tolist()],
        },
    )


def _moves(prices: Floats, sessions: Sessions) -> Floats:
    """Return the median size of the log returns of `sessions`, NaN of the first and of small ones.

    `prices` have columns instrument, day, close, split and dividend.
    """
    column, known = columns(sessions, days(prices[:, 1]))
    instruments, row = np.unique(prices[:, 0], return_inverse=True)
    row, column = row[known], column[known]
    close, restated = np.full((2, len(instruments), len(sessions)), np.nan)
    close[row, column] = prices[known, 2]
    restated[row, column] = restate(*prices[known, 2:].T)
    size = np.abs(np.log(restated[:, 1:] / close[:, :-1]))
    moves = np.full(len(sessions), np.nan)
    enough = np.isfinite(size).sum(axis=0) >= FEWEST
    moves[1:][enough] = np.nanmedian(size[:, enough], axis=0)
    return moves


def load(db: Session, calendar: str, sessions: Sessions) -> Market:
    """Return the market on `sessions`, NaN where it is unknown."""
    rows = matrix(
        db,
        "SELECT session - date '1970-01-01' AS day, absolute_return FROM stockbatch.market_inputs"
        " WHERE calendar = %(calendar)s AND session BETWEEN %(first)s AND %(last)s",
        {
            "calendar": calendar,
            "first": sessions[0].item(),
            "last": sessions[-1].item(),
        },
    )
    moves = np.full(len(sessions), np.nan)
    column, known = columns(sessions, days(rows[:, 0]))
    moves[column[known]] = rows[known, 1]
    return Market(sessions=sessions, absolute_return=moves)
