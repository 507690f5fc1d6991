"""What portfolios hold: statements that are added, never changed.

A statement says of a portfolio what it holds from a day on, each ticker a row. What is held on a
day follows from the last row of each ticker up to it; of several of one day the last recorded.
"""

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.store.bulk import stage


class Holding(NamedTuple):
    """A line of a statement."""

    portfolio: str
    instrument_id: int
    from_day: date
    quantity: float


class Position(NamedTuple):
    """What a portfolio holds of a ticker at the close of a session."""

    portfolio: str
    instrument_id: int
    ticker: str
    currency: str | None
    units: float
    """After the splits since its statement."""
    close: float | None
    """None: there is no usable bar of the session."""


_STATED = text("""
SELECT DISTINCT ON (portfolio, from_day, instrument_id) portfolio, instrument_id, from_day, quantity
FROM stockbatch.holdings WHERE portfolio = ANY(cast(:portfolios AS text[]))
ORDER BY portfolio, from_day, instrument_id, id DESC
""")


def stated(db: Session, portfolios: Iterable[str]) -> list[Holding]:
    """Return what all statements of portfolios say by now, oldest first."""
    found = db.execute(_STATED, {"portfolios": list(portfolios)})
    return [Holding(*row) for row in found]


_COLUMNS = (
    ("portfolio", "text"),
    ("instrument_id", "int4"),
    ("from_day", "date"),
    ("quantity", "float8"),
)
_NAMES = ", ".join(name for name, _ in _COLUMNS)


def add(db: Session, holdings: Iterable[Holding]) -> None:
    """Record lines of statements."""
    stage(db, "staged_holdings", _COLUMNS, holdings)
    add = f"INSERT INTO stockbatch.holdings ({_NAMES}) SELECT {_NAMES} FROM staged_holdings"
    db.execute(text(add))


# Shares of the day of a statement become as many more by each split up to the session, whether or
# not the provider's prices show it. A close that a later split is in is one of its shares, unless a
# restatement says that what is older was left as it had been. Who came back to the watchlist of
# another exchange is still held: without it the portfolio would be another one.
_POSITIONS = text("""
WITH held AS (
    SELECT DISTINCT ON (portfolio, instrument_id) * FROM stockbatch.holdings
    WHERE from_day <= :session
    ORDER BY portfolio, instrument_id, from_day DESC, id DESC
)
SELECT h.portfolio, h.instrument_id, i.ticker, i.currency,
    h.quantity * split.ratio AS units, b.close
FROM held AS h
JOIN stockbatch.instruments AS i ON i.id = h.instrument_id
LEFT JOIN stockbatch.bars AS b
    ON b.instrument_id = h.instrument_id AND b.session = :session AND b.state <> 'quarantined'
CROSS JOIN LATERAL (
    SELECT exp(coalesce(sum(ln(a.value)), 0)) AS ratio FROM stockbatch.corporate_actions AS a
    WHERE a.instrument_id = h.instrument_id AND a.kind = 'split' AND a.retracted_at IS NULL
        AND a.session > h.from_day AND (a.session <= :session OR a.in_prices AND NOT EXISTS (
            SELECT FROM stockbatch.corporate_actions AS r
            WHERE r.instrument_id = a.instrument_id AND r.kind = 'restatement'
                AND r.retracted_at IS NULL AND r.session > :session AND r.session <= a.session
        ))
) AS split
WHERE h.quantity <> 0 AND EXISTS (
    SELECT FROM held AS other JOIN stockbatch.instruments AS o ON o.id = other.instrument_id
    WHERE other.portfolio = h.portfolio AND other.quantity <> 0 AND o.calendar = :calendar
)
ORDER BY h.portfolio, i.ticker
""")


def positions(db: Session, calendar: str, session: date) -> list[Position]:
    """Return what all portfolios of a calendar hold at the close of a session.

    All of it, also what has left the watchlist or, since, its calendar.
    """
    found = db.execute(_POSITIONS, {"calendar": calendar, "session": session})
    return [Position(*row) for row in found]
