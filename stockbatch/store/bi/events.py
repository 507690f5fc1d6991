"""What is known to move prices: reports and other events."""

from datetime import date

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask

_COLUMNS = """
SELECT session, ticker, calendar, kind, event_date, timing, event, source, known_at, is_assumed,
    is_projected, withdrawn_at, is_current
FROM bi.events
"""
_AHEAD = f"{_COLUMNS} WHERE is_current AND session >= :today ORDER BY session, ticker, event_id"
_OF_TICKER = f"{_COLUMNS} WHERE ticker = :ticker ORDER BY event_date DESC, event_id DESC"
_PAGE = """
SELECT * FROM bi.events
WHERE ticker = :ticker AND session >= :first AND (session, event_id) < (:before, :before_id)
ORDER BY session DESC, event_id DESC
LIMIT :limit
"""
_CURRENT = f"{_COLUMNS} WHERE ticker = :ticker AND is_current ORDER BY session, event_id"


def ahead(db: Session, today: date) -> Answer:
    """Return what counts of the events that move sessions from `today` on, the next first."""
    return ask(db, _AHEAD, today=today)


def of_ticker(db: Session, ticker: str) -> Answer:
    """Return all that was ever stated of a ticker's events, the newest first."""
    return ask(db, _OF_TICKER, ticker=ticker)


def page(db: Session, ticker: str, first: date, before: date, before_id: int, limit: int) -> Answer:
    """Return versions of a ticker's events from the session `first` on, the latest first.

    Only those before the version `before_id` of the session `before`.
    """
    span = {"first": first, "before": before, "before_id": before_id, "limit": limit}
    return ask(db, _PAGE, ticker=ticker, **span)


def current(db: Session, ticker: str) -> Answer:
    """Return what counts of a ticker's events, the oldest first."""
    return ask(db, _CURRENT, ticker=ticker)
