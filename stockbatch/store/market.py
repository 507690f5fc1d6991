"""What all tickers of a calendar did together."""

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import Market, Sessions
from stockbatch.store.bulk import matrix

FEWEST = 5
"""Tickers with a return that a session needs to count as known."""

_UPDATE = text("""
WITH numbered AS (
    SELECT session, lag(session) OVER (ORDER BY session) AS before
    FROM stockbatch.sessions
    WHERE calendar = :calendar AND session BETWEEN :first AND :last
),
available AS (
    SELECT b.session, count(*) AS tickers
    FROM stockbatch.bars AS b
    JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
    WHERE i.calendar = :calendar AND i.active AND NOT i.demo AND b.state <> 'quarantined'
        AND b.session BETWEEN :first AND :last
    GROUP BY b.session
),
wanted AS (
    SELECT n.session, n.before, a.tickers
    FROM numbered AS n
    JOIN available AS a USING (session)
    LEFT JOIN stockbatch.market_inputs AS m ON m.calendar = :calendar AND m.session = n.session
    WHERE n.before IS NOT NULL AND m.instruments IS DISTINCT FROM a.tickers
),
returns AS (
    SELECT w.session, w.tickers, abs(ln(
        (b.close + coalesce(d.value, 0)) * coalesce(s.value, 1) / p.close
    )) AS size
    FROM wanted AS w
    JOIN stockbatch.bars AS b ON b.session = w.session AND b.state <> 'quarantined'
    JOIN stockbatch.instruments AS i
        ON i.id = b.instrument_id AND i.calendar = :calendar AND i.active AND NOT i.demo
    JOIN stockbatch.bars AS p
        ON p.instrument_id = b.instrument_id AND p.session = w.before AND p.state <> 'quarantined'
    LEFT JOIN stockbatch.corporate_actions AS s
        ON s.instrument_id = b.instrument_id AND s.session = w.session AND s.kind = 'split'
        AND s.retracted_at IS NULL
    LEFT JOIN stockbatch.corporate_actions AS d
        ON d.instrument_id = b.instrument_id AND d.session = w.session AND d.kind = 'dividend'
        AND d.retracted_at IS NULL
)
INSERT INTO stockbatch.market_inputs (calendar, session, instruments, absolute_return)
SELECT :calendar, session, tickers,
    CASE WHEN count(*) >= :fewest THEN percentile_cont(0.5) WITHIN GROUP (ORDER BY size) END
FROM returns GROUP BY session, tickers
ON CONFLICT (calendar, session) DO UPDATE SET
    instruments = excluded.instruments, absolute_return = excluded.absolute_return,
    updated_at = clock_timestamp()
""")


def update(db: Session, calendar: str, sessions: Sessions) -> None:
    """Sum up those of `sessions` that are not summed up yet, or were with other tickers.

    Each is made of its own bars and those of the session before: nothing later is read.
    """
    span = {"first": sessions[0].item(), "last": sessions[-1].item()}
    db.execute(_UPDATE, {"calendar": calendar, "fewest": FEWEST, **span})


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
    days = sessions.astype("datetime64[D]").astype(np.int64)
    column = np.minimum(np.searchsorted(days, rows[:, 0]), len(days) - 1)
    known = days[column] == rows[:, 0]
    moves[column[known]] = rows[known, 1]
    return Market(sessions=sessions, absolute_return=moves)
