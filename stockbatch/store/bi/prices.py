"""Closing prices, what they were forecast to be, and their moving averages."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask

MOST_SESSIONS = 1_300

# One row per session of one ticker, the newest ones, oldest first. The naive forecast is the close
# of the origin. It is shown only where the origin is the session before: elsewhere the row of the
# origin may lie outside the panel, and any other close would not be the naive forecast.
_PRICES = """
SELECT
    *,
    CASE WHEN lag(session) OVER sessions = origin_session THEN lag(close) OVER sessions END
        AS naive_close
FROM (
    SELECT
        session, open, high, low, close, average_20, average_50, average_200, forecast_kind,
        origin_session, forecast_close, close_low_50, close_high_50, close_low_80, close_high_80,
        close_low_95, close_high_95, currency, method
    FROM bi.price_and_forecast
    WHERE ticker = :ticker
    ORDER BY session DESC
    LIMIT :sessions
) AS newest
WINDOW sessions AS (ORDER BY session)
ORDER BY session
"""


def of_ticker(db: Session, ticker: str, sessions: int = MOST_SESSIONS) -> Answer:
    """Return closes, moving averages and forecasts of one ticker, split-restated."""
    return ask(db, _PRICES, ticker=ticker, sessions=sessions)
