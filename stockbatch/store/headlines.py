"""The headline, the method shown first: dated changes that are added, never changed.

The views say of every forecast whether it is the one shown; here is what they go by.
"""

from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.exceptions import UnsuitableHeadline
from stockbatch.records import LSTM, QUANTILE_BASELINE

# As bi.accuracy has it: that of the newest session forecast, or the last one where none was.
_NOW = text("""
SELECT method FROM stockbatch.headlines
WHERE from_session <= (SELECT coalesce(max(target_session), 'infinity') FROM stockbatch.forecasts)
ORDER BY from_session DESC, id DESC
LIMIT 1
""")
_OF = text("""
SELECT method FROM stockbatch.headlines WHERE from_session <= :session
ORDER BY from_session DESC, id DESC
LIMIT 1
""")
_NEWEST = text("SELECT max(target_session) FROM stockbatch.forecasts")
_ADD = text("INSERT INTO stockbatch.headlines (from_session, method) VALUES (:first, :method)")


def order(db: Session) -> list[str]:
    """Return the methods of which the first that has something is shown now, best first."""
    return list(dict.fromkeys((db.scalars(_NOW).one(), LSTM, QUANTILE_BASELINE)))


def of(db: Session, session: date) -> str:
    """Return the method shown first of a target session."""
    return str(db.scalars(_OF, {"session": session}).one())


def change(db: Session, method: str, first: date | None) -> date:
    """Show a method first from a target session on; return that session.

    By default it is the day after the newest session forecast, which comes before the next one of
    any exchange; `date.min`, for all there will be, where nothing was forecast. Raises
    UnsuitableHeadline where `first` or a later session has been forecast.
    """
    newest: date | None = db.scalar(_NEWEST)
    if first is None:
        first = date.min if newest is None else newest + timedelta(days=1)
    if newest is not None and first <= newest:
        reason = f"sessions up to {newest} have been forecast, and what was shown stays"
        raise UnsuitableHeadline(method=method, when=f" from {first} on", reason=reason)
    db.execute(_ADD, {"first": first, "method": method})
    return first
