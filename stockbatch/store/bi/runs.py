"""What ran, and what became of the tickers."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask

# One row per session, action and reason of the last five weeks, with one ticker as an example.
_OUTCOMES = """
SELECT
    session, action, reason, count(*)::integer AS tickers, min(ticker) AS example,
    (array_agg(message ORDER BY ticker))[1] AS message -- what was said of that ticker
FROM bi.outcomes
WHERE session > (SELECT max(session) FROM bi.run_history) - 35
GROUP BY session, action, reason
ORDER BY session DESC, tickers DESC
LIMIT 1000
"""

_LAST_OUTCOME = """
SELECT session, action, reason, message
FROM bi.outcomes
WHERE ticker = :ticker
ORDER BY session DESC
LIMIT 1
"""


def latest(db: Session, count: int) -> Answer:
    """Return the runs started last, newest first."""
    query = "SELECT * FROM bi.run_history ORDER BY started_at DESC LIMIT :count"
    return ask(db, query, count=count)


def outcomes(db: Session) -> Answer:
    """Return how many tickers ended how, and why, session by session."""
    return ask(db, _OUTCOMES)


def last_outcome(db: Session, ticker: str) -> Answer:
    """Return what became of a ticker in the last session it was due in: a row, or none."""
    return ask(db, _LAST_OUTCOME, ticker=ticker)
