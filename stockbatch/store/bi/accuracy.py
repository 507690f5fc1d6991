"""How good the forecasts were: of a ticker, of all tickers of a calendar, method by method."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.forecasts import MOST_TICKERS
from stockbatch.store.bi.query import Answer, ask
from stockbatch.store.preference import KIND_FIRST

# Metrics of calendars are kept for every session. Kinds end at different ones (a backtest stops
# where live forecasts begin), so that the newest session is looked for within each kind.
_OF_CALENDARS = """
SELECT * FROM (
    SELECT *, max(session) OVER (PARTITION BY calendar, kind) AS newest
    FROM bi.accuracy WHERE scope = 'calendar'
) AS a
WHERE session = newest AND window_sessions = :window
ORDER BY calendar, kind, metric, method
"""

# One row per calendar, method, kind and window: all its tickers, at its newest session. What was
# not measured for a month is no comparison any more; the bound also keeps the query short.
_LEADERBOARD = """
SELECT DISTINCT ON (calendar, kind, window_sessions, method)
    calendar, kind, window_sessions, method, session, n, pinball, skill_vs_rolling_quantile_pct,
    skill_vs_rolling_quantile_error_pct, skill_vs_har_pct, skill_vs_lstm_pct, share_better_pct,
    dm_p_value, mae_return_skill_pct,
    coverage_80_pct, coverage_95_pct
FROM bi.leaderboard
WHERE session > (SELECT max(session) FROM bi.leaderboard) - 30
ORDER BY calendar, kind, window_sessions, method, session DESC
LIMIT 1000
"""

# One row per ticker: the view has a row per metric, which aggregates with a filter turn on its side
# (each picks the only value there is).
_BY_TICKER = """
SELECT
    ticker, is_demo, method, kind, window_sessions,
    max(n) FILTER (WHERE metric = 'pinball') AS n,
    max(skill_pct) FILTER (WHERE metric = 'pinball') AS skill_pct,
    max(skill_pct) FILTER (WHERE metric = 'mae') AS naive_skill_pct,
    max(value) FILTER (WHERE metric = 'mape') AS mape_pct,
    100 * max(value) FILTER (WHERE metric = 'directional_accuracy') AS direction_pct,
    100 * max(value) FILTER (WHERE metric = 'coverage_80') AS coverage_80_pct,
    100 * max(value) FILTER (WHERE metric = 'coverage_95') AS coverage_95_pct
FROM bi.accuracy
WHERE scope = 'ticker' AND is_headline AND window_sessions = :window AND kind = :kind
    AND metric IN ('pinball', 'mae', 'mape', 'directional_accuracy', 'coverage_80', 'coverage_95')
GROUP BY ticker, is_demo, method, kind, window_sessions
ORDER BY ticker
LIMIT :most
"""

_KINDS = f"""
SELECT DISTINCT kind
FROM bi.accuracy
WHERE scope = 'ticker' AND is_headline AND metric = 'pinball' AND window_sessions = 250
ORDER BY {KIND_FIRST}
"""


def of_ticker(db: Session, ticker: str, window: int) -> Answer:
    """Return the metrics of one ticker over one window."""
    query = (
        "SELECT * FROM bi.accuracy WHERE ticker = :ticker AND window_sessions = :window"
        " ORDER BY kind, metric, method"
    )
    return ask(db, query, ticker=ticker, window=window)


def headlines_of_tickers(db: Session, window: int) -> Answer:
    """Return the metrics of what is shown first of every ticker, over one window."""
    query = (
        "SELECT * FROM bi.accuracy WHERE scope = 'ticker' AND is_headline"
        " AND window_sessions = :window ORDER BY ticker, kind, metric"
    )
    return ask(db, query, window=window)


def of_calendars(db: Session, window: int) -> Answer:
    """Return the newest metrics over all tickers of each calendar, over one window."""
    return ask(db, _OF_CALENDARS, window=window)


def leaderboard(db: Session) -> Answer:
    """Return how all tickers of each calendar were forecast by each method."""
    return ask(db, _LEADERBOARD)


def by_ticker(db: Session, kind: str, window: int) -> Answer:
    """Return how well the method shown first forecast each ticker, beside the baselines."""
    return ask(db, _BY_TICKER, kind=kind, window=window, most=MOST_TICKERS)


def kinds(db: Session) -> Answer:
    """Return the kinds of forecasts that have metrics of what is shown, the preferred first."""
    return ask(db, _KINDS)
