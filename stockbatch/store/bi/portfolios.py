"""What portfolios hold now."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask


def held(db: Session) -> Answer:
    """Return every portfolio with each ticker it holds, and its value."""
    return ask(db, "SELECT * FROM bi.portfolios ORDER BY portfolio, ticker")
