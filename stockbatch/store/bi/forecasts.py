"""What is forecast for the next session, and what was forecast before."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy.orm import Session

from stockbatch.records import (
    LSTM,
    POINT_BASELINE,
    QUANTILE_BASELINE,
    ForecastOrder,
    ScoreStatus,
)
from stockbatch.store.bi.prices import MOST_SESSIONS
from stockbatch.store.bi.query import Answer, ask
from stockbatch.store.preference import KIND_FIRST

MOST_TICKERS = 10_000

# What is told to be the largest comes first; where it is not told, last.
_SIZES = {
    ForecastOrder.TICKER: "0::float8",
    ForecastOrder.LARGEST_EXPECTED_MOVE: "expected_move_pct",
    ForecastOrder.MOST_UNUSUAL: "move_ratio",
    ForecastOrder.LARGEST_DOWNSIDE: "-downside_pct",
    ForecastOrder.MOST_PROBABLE_RISE: "probability_of_rise_pct",
}

# One row per ticker: its latest forecast that is shown first, or by any other method if none is.
_LATEST = """
SELECT DISTINCT ON (ticker) *
FROM bi.next_session_forecast
ORDER BY ticker, is_headline DESC, method
"""

# The same rows, and how good that method was, or the one shown before while it has no metrics yet.
# A ticker may have metrics of several kinds, which are never mixed: the skill is that of the
# preferred one. It says of which method and kind it is.
_LATEST_WITH_SKILL = f"""
WITH forecast AS ({_LATEST}),
skill AS (
    SELECT DISTINCT ON (ticker)
        ticker, a.method AS skill_method, a.kind AS skill_kind, max(n) AS skill_n,
        max(skill_pct) FILTER (WHERE metric = 'pinball') AS skill_pct,
        max(skill_pct) FILTER (WHERE metric = 'mae') AS naive_skill_pct
    FROM bi.accuracy AS a
    JOIN forecast AS f USING (ticker)
    WHERE scope = 'ticker' AND metric IN ('pinball', 'mae') AND window_sessions = 250
        AND a.method IN (f.method, '{LSTM}', '{QUANTILE_BASELINE}')
    GROUP BY ticker, a.method, a.kind, f.method
    ORDER BY ticker, a.method <> f.method, a.method <> '{LSTM}', a.{KIND_FIRST}
)
SELECT
    forecast.*,
    100 * (close_low_80 / origin_close - 1) AS return_low_80_pct,
    100 * (close_high_80 / origin_close - 1) AS return_high_80_pct,
    100 * (close_low_95 / origin_close - 1) AS return_low_95_pct,
    100 * (close_high_95 / origin_close - 1) AS return_high_95_pct,
    skill_pct, naive_skill_pct, skill_kind, skill_n, skill_method
FROM forecast
LEFT JOIN skill USING (ticker)
ORDER BY {{size}} DESC NULLS LAST, ticker
LIMIT :most
"""

# The forecasts shown first of a ticker: a row per session, whose method bi.headlines decides.
_SHOWN = "SELECT session, method FROM bi.price_and_forecast WHERE ticker = :ticker"

# Their errors beside those of the naive forecast, the newest sessions, oldest first.
_ERRORS = f"""
SELECT * FROM (
    SELECT session, method, kind, error_pct, abs(error_pct) AS absolute_error_pct
    FROM bi.forecast_history
    WHERE ticker = :ticker AND score_status = :scored
        AND (method = '{POINT_BASELINE}' OR (session, method) IN ({_SHOWN}))
    ORDER BY session DESC
    LIMIT 2 * :sessions -- two methods
) AS newest
ORDER BY session
"""


def latest(db: Session, order: ForecastOrder = ForecastOrder.TICKER) -> Answer:
    """Return the latest forecast of every ticker that is shown first, if any, else another one."""
    query = f"SELECT * FROM ({_LATEST}) AS f ORDER BY {_SIZES[order]} DESC NULLS LAST, ticker"
    return ask(db, query)


def chosen(
    db: Session,
    tickers: Sequence[str] | None,
    method: str | None,
    order: ForecastOrder = ForecastOrder.TICKER,
    *,
    everything: bool = False,
) -> Answer:
    """Return the latest forecasts of some tickers, or of all, in an order.

    They are those by a method, or with `everything` by all methods, the one shown first before all
    others; else those of `latest`.
    """
    source = "bi.next_session_forecast" if method or everything else f"({_LATEST})"
    query = (
        f"SELECT * FROM {source} AS f"
        " WHERE (cast(:tickers AS text[]) IS NULL OR ticker = ANY(cast(:tickers AS text[])))"
        " AND (cast(:method AS text) IS NULL OR method = :method)"
        f" ORDER BY {_SIZES[order]} DESC NULLS LAST, ticker, is_headline DESC, method"
    )
    return ask(db, query, tickers=list(tickers) if tickers else None, method=method)


def latest_with_skill(db: Session, order: ForecastOrder = ForecastOrder.TICKER) -> Answer:
    """Return the rows of `latest`, their intervals as returns too, and the skill of the method."""
    return ask(db, _LATEST_WITH_SKILL.format(size=_SIZES[order]), most=MOST_TICKERS)


def latest_by(
    db: Session,
    method: str | None,
    after: str,
    limit: int,
    order: ForecastOrder = ForecastOrder.TICKER,
    *,
    tickers: Sequence[str] | None = None,
) -> Answer:
    """Return the latest forecasts in an order, those that come after the one of ticker `after`.

    They are those by one method, or those shown first, of some tickers or of all.
    """
    chosen = "is_headline" if method is None else "method = :method"
    if tickers is not None:
        chosen += " AND ticker = ANY(cast(:tickers AS text[]))"
    # A ticker that has gone since still has its place among tickers, but in no other order.
    place = f"coalesce({_SIZES[order]}, '-infinity')"
    following = "ticker > :after"
    if order is not ForecastOrder.TICKER:
        following = (
            ":after = '' OR (-place, ticker) > (SELECT -place, ticker FROM f WHERE ticker = :after)"
        )
    query = (
        f"WITH f AS (SELECT *, {place} AS place FROM bi.next_session_forecast WHERE {chosen})"
        f" SELECT * FROM f WHERE {following} ORDER BY place DESC, ticker LIMIT :limit"
    )
    among = {} if tickers is None else {"tickers": list(tickers)}
    return ask(db, query, method=method, after=after, limit=limit, **among)


def of_ticker(db: Session, ticker: str) -> Answer:
    """Return the latest forecasts of one ticker, one per method."""
    query = "SELECT * FROM bi.next_session_forecast WHERE ticker = :ticker ORDER BY method"
    return ask(db, query, ticker=ticker)


def history(
    db: Session, ticker: str, method: str | None, first: date, before: date, limit: int
) -> Answer:
    """Return forecasts of the sessions from `first` on and before `before`, the newest first.

    They are those by one method, or those shown first. A ticker that was removed from the watchlist
    keeps its history.
    """
    between = "session >= :first AND session < :before"
    shown = f"(session, method) IN ({_SHOWN} AND {between})"
    chosen = shown if method is None else "method = :method"
    query = (
        f"SELECT * FROM bi.forecast_history WHERE ticker = :ticker AND {chosen}"
        f" AND {between} ORDER BY session DESC LIMIT :limit"
    )
    span = {"first": first, "before": before, "limit": limit}
    return ask(db, query, ticker=ticker, method=method, **span)


def errors(db: Session, ticker: str, sessions: int = MOST_SESSIONS) -> Answer:
    """Return the errors of one ticker's forecasts shown first, and of the naive ones, percent."""
    return ask(db, _ERRORS, ticker=ticker, sessions=sessions, scored=ScoreStatus.SCORED)
