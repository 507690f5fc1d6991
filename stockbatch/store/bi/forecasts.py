"""What is forecast for the next session, and what was forecast before."""

from datetime import date

from sqlalchemy.orm import Session

from stockbatch.records import POINT_BASELINE, ScoreStatus
from stockbatch.store.bi.prices import MOST_SESSIONS
from stockbatch.store.bi.query import Answer, ask
from stockbatch.store.preference import HEADLINE, KIND_FIRST, METHOD_FIRST

MOST_TICKERS = 10_000

# One row per ticker: its latest forecast by the best method that made one.
_LATEST = f"""
SELECT DISTINCT ON (ticker) *
FROM bi.next_session_forecast
ORDER BY ticker, {METHOD_FIRST}
"""

# The same rows, and how good that method was. A ticker may have metrics of several kinds, which are
# never mixed: the skill is that of the preferred one, and says which it is.
_LATEST_WITH_SKILL = f"""
WITH forecast AS ({_LATEST}),
skill AS (
    SELECT DISTINCT ON (ticker, method)
        ticker, method, kind AS skill_kind, max(n) AS skill_n,
        max(skill_pct) FILTER (WHERE metric = 'pinball') AS skill_pct,
        max(skill_pct) FILTER (WHERE metric = 'mae') AS naive_skill_pct
    FROM bi.accuracy
    WHERE scope = 'ticker' AND metric IN ('pinball', 'mae') AND window_sessions = 250
    GROUP BY ticker, method, kind
    ORDER BY ticker, method, {KIND_FIRST}
)
SELECT
    forecast.*,
    100 * (close_low_80 / origin_close - 1) AS return_low_80_pct,
    100 * (close_high_80 / origin_close - 1) AS return_high_80_pct,
    100 * (close_low_95 / origin_close - 1) AS return_low_95_pct,
    100 * (close_high_95 / origin_close - 1) AS return_high_95_pct,
    skill_pct, naive_skill_pct, skill_kind, skill_n
FROM forecast
LEFT JOIN skill USING (ticker, method)
ORDER BY ticker
LIMIT :most
"""

# The headline's errors beside those of the naive forecast, the newest sessions, oldest first.
_ERRORS = f"""
SELECT * FROM (
    SELECT session, method, kind, error_pct, abs(error_pct) AS absolute_error_pct
    FROM bi.forecast_history
    WHERE ticker = :ticker AND method IN ('{HEADLINE}', '{POINT_BASELINE}')
        AND score_status = :scored
    ORDER BY session DESC
    LIMIT 2 * :sessions -- two methods
) AS newest
ORDER BY session
"""


def latest(db: Session) -> Answer:
    """Return the latest forecast of every ticker by the best method that made one."""
    return ask(db, _LATEST)


def latest_with_skill(db: Session) -> Answer:
    """Return the rows of `latest`, their intervals as returns too, and the skill of the method."""
    return ask(db, _LATEST_WITH_SKILL, most=MOST_TICKERS)


def latest_by(db: Session, method: str, after: str, limit: int) -> Answer:
    """Return the latest forecasts by one method, in the order of tickers, those after `after`."""
    query = (
        "SELECT * FROM bi.next_session_forecast WHERE method = :method AND ticker > :after"
        " ORDER BY ticker LIMIT :limit"
    )
    return ask(db, query, method=method, after=after, limit=limit)


def of_ticker(db: Session, ticker: str) -> Answer:
    """Return the latest forecasts of one ticker, one per method."""
    query = "SELECT * FROM bi.next_session_forecast WHERE ticker = :ticker ORDER BY method"
    return ask(db, query, ticker=ticker)


def history(db: Session, ticker: str, method: str, first: date, before: date, limit: int) -> Answer:
    """Return forecasts of the sessions from `first` on and before `before`, the newest first.

    A ticker that was removed from the watchlist keeps its history.
    """
    query = (
        "SELECT * FROM bi.forecast_history WHERE ticker = :ticker AND method = :method"
        " AND session >= :first AND session < :before ORDER BY session DESC LIMIT :limit"
    )
    span = {"first": first, "before": before, "limit": limit}
    return ask(db, query, ticker=ticker, method=method, **span)


def errors(db: Session, ticker: str, sessions: int = MOST_SESSIONS) -> Answer:
    """Return the errors of one ticker's LSTM and naive forecasts, percent of the actual close."""
    return ask(db, _ERRORS, ticker=ticker, sessions=sessions, scored=ScoreStatus.SCORED)
