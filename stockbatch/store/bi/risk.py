"""How much tickers, groups and portfolios may lose, and how well that was told."""

from collections.abc import Mapping
from datetime import date

from sqlalchemy.orm import Session

from stockbatch.records import SubjectKind
from stockbatch.store.bi.forecasts import MOST_TICKERS
from stockbatch.store.bi.query import Answer, Row, ask
from stockbatch.store.preference import KIND_FIRST

LEVELS = {"5": 5.0, "2_5": 2.5, "1": 1.0}
"""Percent of sessions that should lose more, by what columns of one level call it."""
MEASURES = ("value_at_risk", "expected_shortfall")
MOST_SESSIONS = 800
"""Of the history of a portfolio, all kinds together."""

# The view has a row per level, which aggregates with a filter turn on its side (each picks the only
# value there is).
LEVELS_BESIDE = ", ".join(
    f"max({measure}{end}) FILTER (WHERE level_pct = {level}) AS {measure}_{name}{end}"
    for name, level in LEVELS.items()
    for measure in MEASURES
    for end in ("_pct", "")
)

# What each exchange was last told of: who lacks there has no forecast. Found calendar by calendar
# in the index on sessions. Of several kinds the preferred one counts. The demonstration, which may
# end later than bars of your own, is told apart.
_LATEST = f"""
WITH newest AS (
    SELECT c.calendar, latest.session
    FROM (SELECT DISTINCT calendar FROM bi.instruments WHERE is_demo = :demo) AS c
    CROSS JOIN LATERAL (
        SELECT session FROM bi.risk
        WHERE calendar = c.calendar AND is_demo = :demo
        ORDER BY session DESC
        LIMIT 1
    ) AS latest
), told AS (
    SELECT DISTINCT ON (subject_kind, subject, r.calendar, level_pct) r.*
    FROM newest
    JOIN bi.risk AS r ON r.calendar = newest.calendar AND r.session = newest.session
    WHERE r.is_demo = :demo AND subject_kind <> '{SubjectKind.PORTFOLIO}'
        AND (cast(:ticker AS text) IS NULL OR r.ticker = :ticker)
    ORDER BY subject_kind, subject, r.calendar, level_pct, r.{KIND_FIRST}
)
SELECT subject_kind, subject, told.ticker, i.name, told.calendar, told.currency, session,
    session_close_at > now() AS is_current, told.kind, method, simulations, members, told.is_demo,
    {LEVELS_BESIDE}
FROM told
LEFT JOIN bi.instruments AS i ON i.ticker = told.ticker
WHERE told.ticker IS NULL OR i.is_active
GROUP BY subject_kind, subject, told.ticker, i.name, told.calendar, told.currency, session,
    session_close_at, told.kind, method, simulations, members, told.is_demo
ORDER BY expected_shortfall_5_pct DESC, subject_kind, subject
LIMIT :most
"""

_HISTORY = f"""
SELECT * FROM (
    SELECT session, kind, level_pct, value_at_risk_pct, expected_shortfall_pct, score_status,
        actual_return_pct, actual_result, is_breach, currency
    FROM bi.risk
    WHERE subject_kind = '{SubjectKind.PORTFOLIO}' AND subject = :portfolio AND level_pct = :level
    ORDER BY session DESC
    LIMIT :most
) AS newest
ORDER BY session
"""

# What was not measured for a month is not told any more: a group that is gone, a ticker removed.
_BACKTESTS = """
WITH measured AS (
    SELECT *, max(session) OVER (PARTITION BY is_demo) AS newest
    FROM bi.risk_backtests WHERE kind = :kind
)
SELECT b.*, i.name
FROM measured AS b
LEFT JOIN bi.instruments AS i ON i.ticker = b.ticker
WHERE b.window_sessions = :window AND (b.ticker IS NULL OR i.is_active) AND b.session > newest - 30
ORDER BY b.subject_kind, b.subject, b.calendar, b.level_pct
LIMIT 3 * :most -- levels
"""

_KINDS = f"""
SELECT DISTINCT kind
FROM bi.risk_backtests
WHERE NOT is_demo OR NOT EXISTS (SELECT FROM bi.risk_backtests WHERE NOT is_demo)
ORDER BY {KIND_FIRST}
"""

_PLACE = """concat_ws('/', subject_kind, subject, calendar, kind, level_pct) COLLATE "C" """


def latest(db: Session, ticker: str | None = None) -> Answer:
    """Return what was last told of every ticker and group, the largest expected shortfall first.

    Or of one ticker alone. Of the demonstration only where there is nothing else.
    """
    own = ask(db, _LATEST, ticker=ticker, demo=False, most=MOST_TICKERS)
    return own if own.values else ask(db, _LATEST, ticker=ticker, demo=True, most=MOST_TICKERS)


def history(db: Session, portfolio: str, level: float) -> Answer:
    """Return what was told of a portfolio at one level and what came, by session and kind."""
    return ask(db, _HISTORY, portfolio=portfolio, level=level, most=MOST_SESSIONS)


def backtests(db: Session, kind: str, window: int) -> Answer:
    """Return how well the risk of every ticker, group and portfolio was told, at each level."""
    return ask(db, _BACKTESTS, kind=kind, window=window, most=MOST_TICKERS)


def kinds(db: Session) -> Answer:
    """Return the kinds of forecasts that were measured, the preferred first.

    Those of the demonstration only where there is nothing else.
    """
    return ask(db, _KINDS)


def place(row: Row) -> str:
    """Return what orders the rows of one session."""
    names = ("subject_kind", "subject", "calendar", "kind")
    return "/".join([*(str(row[name]) for name in names), f"{row['level_pct']:g}"])


def page(
    db: Session, only: Mapping[str, object], first: date, before: date, after: str, limit: int
) -> Answer:
    """Return rows of the sessions from `first` on and before `before`, the newest first.

    And of the session `before`, if `after` is a `place`, those after it. `only` has what columns
    must be.
    """
    chosen = " AND ".join(["session >= :first", *(f"{column} = :{column}" for column in only)])
    query = (
        f"SELECT * FROM bi.risk WHERE {chosen} AND session <= :before"
        f" AND (session < :before OR :after <> '' AND {_PLACE} > :after)"
        f" ORDER BY session DESC, {_PLACE} LIMIT :limit"
    )
    return ask(db, query, **only, first=first, before=before, after=after, limit=limit)
