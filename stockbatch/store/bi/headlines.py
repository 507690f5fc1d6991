"""Which method is shown first, and since when."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask


def changes(db: Session) -> Answer:
    """Return every change of the headline, the oldest first."""
    query = "SELECT * FROM bi.headlines ORDER BY from_session NULLS FIRST, set_at"
    return ask(db, query)
