"""How old the data are; demonstration data, which never get newer, are left out."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask

MOST_BEHIND = 500

# One row per exchange: how many of its tickers have the bar of the last closed session. A ticker
# that never had a bar is as much behind as one whose bar is old.
_OF_CALENDARS = """
SELECT
    calendar, session, bool_and(is_ready) AS is_ready, count(*)::integer AS tickers,
    count(*) FILTER (WHERE sessions_behind > 0 OR bar_session IS NULL)::integer AS behind,
    min(age_hours) AS age_hours
FROM bi.data_freshness
WHERE NOT is_demo
GROUP BY calendar, session
ORDER BY calendar
LIMIT 200
"""

# One row per ticker whose bars are not as new as the last closed session, the oldest first.
_BEHIND = """
SELECT
    ticker, calendar, bar_session, sessions_behind, bar_provider, outcome_action, outcome_reason
FROM bi.data_freshness
WHERE (sessions_behind > 0 OR bar_session IS NULL) AND NOT is_demo
ORDER BY sessions_behind DESC NULLS FIRST, ticker
LIMIT :most
"""


def of_calendars(db: Session) -> Answer:
    """Return how old the data of each exchange are."""
    return ask(db, _OF_CALENDARS)


def behind(db: Session) -> Answer:
    """Return the tickers that lack bars."""
    return ask(db, _BEHIND, most=MOST_BEHIND)
