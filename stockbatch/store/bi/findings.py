"""What the checks found in the bars."""

from datetime import date

from sqlalchemy.orm import Session

from stockbatch.records import Check
from stockbatch.store.bi.query import Answer, ask

MOST_FINDINGS = 500

_LATEST = """
SELECT session, ticker, severity, check_name, message, observed, threshold, updated_at
FROM bi.data_issues
ORDER BY updated_at DESC, issue_id DESC
LIMIT :most
"""


def latest(db: Session) -> Answer:
    """Return what the checks found last, the newest first."""
    return ask(db, _LATEST, most=MOST_FINDINGS)


def confirmed_jumps(db: Session, ticker: str) -> list[date]:
    """Return the sessions of a ticker whose jump a second provider confirmed."""
    query = "SELECT session FROM bi.data_issues WHERE ticker = :ticker AND check_name = :check"
    found = ask(db, query, ticker=ticker, check=Check.JUMP_CONFIRMED)
    return [row["session"] for row in found.rows()]
