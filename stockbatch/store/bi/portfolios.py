"""What portfolios hold now, what was forecast of them, and what came."""

from datetime import date

from sqlalchemy.orm import Session

from stockbatch.exceptions import UnknownPortfolio
from stockbatch.records import SubjectKind
from stockbatch.store.bi.query import Answer, ask
from stockbatch.store.bi.risk import LEVELS_BESIDE
from stockbatch.store.preference import KIND_FIRST
from stockbatch.text import quoted

# One row per portfolio that holds anything, whether or not anything was told of it yet. A forecast
# made late goes before the reason why there was none in time.
_LATEST = f"""
WITH latest AS (
    SELECT DISTINCT ON (portfolio) *
    FROM bi.portfolio_forecasts
    ORDER BY portfolio, session DESC, reason IS NOT NULL, {KIND_FIRST}
)
SELECT held.portfolio, held.calendar, held.currency, held.tickers, held.value,
    f.session, f.session_close_at > now() AS is_current, f.kind, f.origin_session, f.exposure,
    f.reason, f.method, f.simulations, f.median_return_pct, f.return_low_80_pct,
    f.return_high_80_pct, f.return_low_95_pct, f.return_high_95_pct, levels.*
FROM (
    SELECT portfolio, min(calendar) AS calendar, min(currency) AS currency, count(*) AS tickers,
        sum(value) AS value
    FROM bi.portfolios GROUP BY portfolio
) AS held
LEFT JOIN latest AS f ON f.portfolio = held.portfolio
CROSS JOIN LATERAL (
    SELECT {LEVELS_BESIDE}
    FROM bi.risk AS r
    WHERE r.subject_kind = '{SubjectKind.PORTFOLIO}' AND r.subject = f.portfolio
        AND r.calendar = f.calendar AND r.session = f.session AND r.kind = f.kind
        AND f.reason IS NULL
) AS levels
ORDER BY expected_shortfall_5_pct DESC NULLS LAST, held.portfolio
"""

_FORECASTS = """
SELECT * FROM bi.portfolio_forecasts
WHERE portfolio = :portfolio AND session >= :first AND session <= :before
    AND (session < :before OR kind < :before_kind)
ORDER BY session DESC, kind DESC
LIMIT :limit
"""


def held(db: Session) -> Answer:
    """Return every portfolio with each ticker it holds, and its value."""
    return ask(db, "SELECT * FROM bi.portfolios ORDER BY portfolio, ticker")


def page(db: Session, after: str, after_ticker: str, limit: int) -> Answer:
    """Return what portfolios hold, after a ticker of one, in the order of both."""
    query = (
        "SELECT * FROM bi.portfolios WHERE (portfolio, ticker) > (:after, :after_ticker)"
        " ORDER BY portfolio, ticker LIMIT :limit"
    )
    return ask(db, query, after=after, after_ticker=after_ticker, limit=limit)


def latest(db: Session) -> Answer:
    """Return what was last told of every portfolio, the largest expected shortfall first."""
    return ask(db, _LATEST)


def forecasts(
    db: Session, portfolio: str, first: date, before: date, before_kind: str, limit: int
) -> Answer:
    """Return forecasts of the sessions from `first` on and before `before`, the newest first.

    And of the session `before` those of kinds after `before_kind`, if that is one: live comes
    before late, and late before backtest. Raises UnknownPortfolio.
    """
    known = (
        "SELECT FROM bi.portfolios WHERE portfolio = :portfolio"
        " UNION ALL SELECT FROM bi.portfolio_forecasts WHERE portfolio = :portfolio LIMIT 1"
    )
    if not ask(db, known, portfolio=portfolio).values:
        raise UnknownPortfolio(portfolio=quoted(portfolio))
    span = {"first": first, "before": before, "before_kind": before_kind, "limit": limit}
    return ask(db, _FORECASTS, portfolio=portfolio, **span)
