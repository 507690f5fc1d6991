"""News of tickers, and how they sound against what is usual."""

from datetime import date

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask

_NEWEST = """
SELECT session, ticker, published_at, seen_at, is_assumed, source, title, url, relevance, score,
    scored_by
FROM bi.news
WHERE cast(:ticker AS text) IS NULL OR ticker = :ticker
ORDER BY published_at DESC, news_id DESC
LIMIT :limit
"""
_SENTIMENT = """
SELECT session, ticker, items, mean_score, score_spread, usual_items, usual_score, items_ratio,
    score_deviation, is_unusual
FROM bi.sentiment
"""
_OF_TICKER = f"{_SENTIMENT} WHERE ticker = :ticker ORDER BY session"
_UNUSUAL = f"""
{_SENTIMENT} WHERE is_unusual AND session >= :first ORDER BY session DESC, ticker
"""


def newest(db: Session, ticker: str | None, limit: int) -> Answer:
    """Return the last items of a ticker, or of all, the newest first."""
    return ask(db, _NEWEST, ticker=ticker, limit=limit)


def sentiment(db: Session, ticker: str) -> Answer:
    """Return how many news of a ticker each session had, and how they sound, the oldest first."""
    return ask(db, _OF_TICKER, ticker=ticker)


def unusual(db: Session, first: date) -> Answer:
    """Return the sessions of tickers, from `first` on, whose news are unusual."""
    return ask(db, _UNUSUAL, first=first)
