"""When one share became several."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask


def of_ticker(db: Session, ticker: str) -> Answer:
    """Return the splits of a ticker, the oldest first."""
    query = (
        "SELECT session, ratio, split, is_in_prices, provider FROM bi.splits"
        " WHERE ticker = :ticker ORDER BY session"
    )
    return ask(db, query, ticker=ticker)
