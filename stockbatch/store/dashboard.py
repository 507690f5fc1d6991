"""Reads of the `bi` views for the dashboard and the report; all are bounded and need no right more.

Each returns a frame of rows as its query says, sessions as datetime64, unknown numbers as NaN, and
raises SchemaOutOfDate where a view or one of its columns is missing.
"""

from typing import Any

import pandas as pd
import psycopg
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from stockbatch import database
from stockbatch.exceptions import SchemaOutOfDate

MOST_TICKERS = 10_000
MOST_SESSIONS = 1_300
MOST_FINDINGS = 500

_DATES = ("session", "origin_session", "bar_session")
_MISSING = (
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
)
_KIND_ORDER = "CASE kind WHEN 'live' THEN 1 WHEN 'late' THEN 2 ELSE 3 END"

# One row per ticker: its latest forecast by the best method that made one, and how good that is.
_FORECASTS = f"""
WITH forecast AS (
    SELECT DISTINCT ON (ticker) *
    FROM bi.next_session_forecast
    ORDER BY ticker, method <> 'lstm', method <> 'rolling_quantile', method
),
skill AS (
    SELECT DISTINCT ON (ticker, method)
        ticker, method, kind AS skill_kind, max(n) AS skill_n,
        max(skill_pct) FILTER (WHERE metric = 'pinball') AS skill_pct,
        max(skill_pct) FILTER (WHERE metric = 'mae') AS naive_skill_pct
    FROM bi.accuracy
    WHERE scope = 'ticker' AND metric IN ('pinball', 'mae') AND window_sessions = 250
    GROUP BY ticker, method, kind
    ORDER BY ticker, method, {_KIND_ORDER}
)
SELECT
    ticker, name, currency, session, kind, is_current, method, origin_session, origin_close,
    forecast_close, forecast_return_pct, close_low_80, close_high_80, close_low_95, close_high_95,
    100 * (close_low_80 / origin_close - 1) AS return_low_80_pct,
    100 * (close_high_80 / origin_close - 1) AS return_high_80_pct,
    100 * (close_low_95 / origin_close - 1) AS return_low_95_pct,
    100 * (close_high_95 / origin_close - 1) AS return_high_95_pct,
    probability_of_rise_pct, is_trusted, is_demo, skill_pct, naive_skill_pct, skill_kind, skill_n
FROM forecast
LEFT JOIN skill USING (ticker, method)
ORDER BY ticker
LIMIT :most
"""

# One row per method: the latest forecast of one ticker.
_FORECASTS_OF = """
SELECT
    session, kind, is_current, method, currency, origin_session, origin_close, forecast_close,
    forecast_return_pct, close_low_80, close_high_80, close_low_95, close_high_95,
    probability_of_rise_pct, is_trusted, is_demo
FROM bi.next_session_forecast
WHERE ticker = :ticker
ORDER BY method <> 'lstm', method <> 'rolling_quantile', method
"""

# One row per session of one ticker, the newest ones, oldest first.
_PRICES = """
SELECT
    *,
    CASE WHEN lag(session) OVER sessions = origin_session THEN lag(close) OVER sessions END
        AS naive_close
FROM (
    SELECT
        session, close, average_20, average_50, average_200, forecast_kind, origin_session,
        forecast_close, close_low_80, close_high_80, close_low_95, close_high_95, currency
    FROM bi.price_and_forecast
    WHERE ticker = :ticker
    ORDER BY session DESC
    LIMIT :sessions
) AS newest
WINDOW sessions AS (ORDER BY session)
ORDER BY session
"""

# One row per session and method of one ticker, the newest scored ones, oldest first.
_ERRORS = """
SELECT * FROM (
    SELECT session, method, kind, error_pct, abs(error_pct) AS absolute_error_pct, inside_80
    FROM bi.forecast_history
    WHERE ticker = :ticker AND method IN ('lstm', 'naive') AND score_status = 'scored'
    ORDER BY session DESC
    LIMIT 2 * :sessions
) AS newest
ORDER BY session
"""

# One row per epoch of the models newest for one ticker: its own and that one's base.
_TRAINING = """
WITH own AS (
    SELECT model_id, base_model_id
    FROM bi.training_history
    WHERE ticker = :ticker
    ORDER BY session DESC, model_id DESC
    LIMIT 1
)
SELECT
    model_id, model_kind, session, reason, verdict, tickers, epoch, training_loss,
    validation_loss, is_best_epoch, initial_validation_loss, gain_pct, gain_error_pct
FROM bi.training_history
WHERE model_id IN (SELECT model_id FROM own UNION ALL SELECT base_model_id FROM own)
ORDER BY model_kind DESC, epoch
LIMIT 1000
"""

# One row per calendar, method, kind and window: all its tickers, at its newest session.
_LEADERBOARD = """
SELECT DISTINCT ON (calendar, kind, window_sessions, method)
    calendar, kind, window_sessions, method, session, n, pinball, skill_vs_rolling_quantile_pct,
    skill_vs_rolling_quantile_error_pct, share_better_pct, dm_p_value, mae_return_skill_pct,
    coverage_80_pct, coverage_95_pct
FROM bi.leaderboard
WHERE session > (SELECT max(session) FROM bi.leaderboard) - 30
ORDER BY calendar, kind, window_sessions, method, session DESC
LIMIT 1000
"""

# One row per ticker, kind and window: the LSTM's losses and coverage beside those of its baselines.
_ACCURACY = """
SELECT
    ticker, is_demo, kind, window_sessions,
    max(n) FILTER (WHERE metric = 'pinball') AS n,
    max(skill_pct) FILTER (WHERE metric = 'pinball') AS skill_pct,
    max(skill_pct) FILTER (WHERE metric = 'mae') AS naive_skill_pct,
    max(value) FILTER (WHERE metric = 'mape') AS mape_pct,
    100 * max(value) FILTER (WHERE metric = 'directional_accuracy') AS direction_pct,
    100 * max(value) FILTER (WHERE metric = 'coverage_80') AS coverage_80_pct,
    100 * max(value) FILTER (WHERE metric = 'coverage_95') AS coverage_95_pct
FROM bi.accuracy
WHERE scope = 'ticker' AND method = 'lstm' AND window_sessions = :window AND kind = :kind
    AND metric IN ('pinball', 'mae', 'mape', 'directional_accuracy', 'coverage_80', 'coverage_95')
GROUP BY ticker, is_demo, kind, window_sessions
ORDER BY ticker
LIMIT :most
"""

# One row per kind of which the LSTM has a metric of some ticker.
_KINDS = f"""
SELECT DISTINCT kind, {_KIND_ORDER} AS place
FROM bi.accuracy
WHERE scope = 'ticker' AND method = 'lstm' AND metric = 'pinball' AND window_sessions = 250
ORDER BY place
"""

# One row per run, newest first.
_RUNS = """
SELECT
    session, calendar, attempt, trigger, status, started_at, duration_seconds, instruments,
    trained, reused, base, naive, none, message
FROM bi.run_history
ORDER BY started_at DESC
LIMIT :count
"""

# One row per session, action and reason of the last five weeks.
_OUTCOMES = """
SELECT
    session, action, reason, count(*)::integer AS tickers, min(ticker) AS example,
    (array_agg(message ORDER BY ticker))[1] AS message
FROM bi.outcomes
WHERE session > (SELECT max(session) FROM bi.run_history) - 35
GROUP BY session, action, reason
ORDER BY session DESC, tickers DESC
LIMIT 1000
"""

# One row per exchange: how many of its tickers have the bar of the last closed session.
_FRESHNESS = """
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

# One row per finding, newest first.
_FINDINGS = """
SELECT session, ticker, severity, check_name, message, observed, threshold, updated_at
FROM bi.data_issues
ORDER BY updated_at DESC, issue_id DESC
LIMIT :most
"""


def forecasts(db: Session) -> pd.DataFrame:
    """Return the latest forecast of every ticker by the best method, with its skill."""
    return _frame(db, _FORECASTS, most=MOST_TICKERS)


def own_or_demo(data: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of your own tickers; those of the demonstration if there are no others."""
    demo = data["is_demo"].astype(bool)
    return data if demo.all() else data[~demo]


def forecasts_of(db: Session, ticker: str) -> pd.DataFrame:
    """Return the latest forecast of one ticker by every method, the best first."""
    return _frame(db, _FORECASTS_OF, ticker=ticker)


def prices(db: Session, ticker: str, sessions: int = MOST_SESSIONS) -> pd.DataFrame:
    """Return closes, moving averages and forecasts of one ticker, split-restated."""
    return _frame(db, _PRICES, ticker=ticker, sessions=sessions)


def errors(db: Session, ticker: str, sessions: int = MOST_SESSIONS) -> pd.DataFrame:
    """Return the errors of one ticker's LSTM and naive forecasts, percent of the actual close."""
    return _frame(db, _ERRORS, ticker=ticker, sessions=sessions)


def training(db: Session, ticker: str) -> pd.DataFrame:
    """Return the losses per epoch of a ticker's newest model and of the base it started from."""
    return _frame(db, _TRAINING, ticker=ticker)


def leaderboard(db: Session) -> pd.DataFrame:
    """Return how all tickers of each calendar were forecast by each method."""
    return _frame(db, _LEADERBOARD)


def accuracy(db: Session, kind: str, window: int) -> pd.DataFrame:
    """Return how well the LSTM forecast each ticker."""
    return _frame(db, _ACCURACY, kind=kind, window=window, most=MOST_TICKERS)


def kinds(db: Session) -> list[str]:
    """Return the kinds of forecasts with metrics, the preferred one first."""
    return [str(kind) for kind in _frame(db, _KINDS)["kind"]]


def runs(db: Session, count: int = 200) -> pd.DataFrame:
    """Return the runs started last, newest first."""
    return _frame(db, _RUNS, count=count)


def outcomes(db: Session) -> pd.DataFrame:
    """Return how many tickers ended how, and why, session by session."""
    return _frame(db, _OUTCOMES)


def freshness(db: Session) -> pd.DataFrame:
    """Return how old the data of each exchange are; demonstration data are left out."""
    return _frame(db, _FRESHNESS)


def behind(db: Session) -> pd.DataFrame:
    """Return the tickers that lack bars; demonstration data are left out."""
    return _frame(db, _BEHIND, most=MOST_FINDINGS)


def findings(db: Session) -> pd.DataFrame:
    """Return what the checks of bars found last."""
    return _frame(db, _FINDINGS, most=MOST_FINDINGS)


def _frame(db: Session, query: str, **parameters: Any) -> pd.DataFrame:
    connection = db.connection()
    try:
        found = connection.execute(text(query), parameters)
    except ProgrammingError as error:
        if not isinstance(error.orig, _MISSING):
            raise
        url, expected = database.redacted(connection.engine.url), database.head()
        raise SchemaOutOfDate(url=url, found="an older one", expected=expected) from error
    frame = pd.DataFrame.from_records(found.all(), columns=list(found.keys()), coerce_float=True)
    return frame.astype({name: "datetime64[s]" for name in _DATES if name in frame})
