"""The dimension of sessions: when each opened and closed."""

from datetime import date

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.sessions import TradingCalendar
from stockbatch.store.bulk import stage


def extend(db: Session, calendar: TradingCalendar, first: date, last: date) -> None:
    """Store the sessions of `calendar` from `first` to `last` that are not stored yet."""
    sessions = calendar.between(first, last)
    known = {
        row.session
        for row in db.execute(
            text(
                "SELECT session FROM stockbatch.sessions"
                " WHERE calendar = :calendar AND session BETWEEN :first AND :last"
            ),
            {"calendar": calendar.code, "first": first, "last": last},
        )
    }
    missing = [session for session in sessions.tolist() if session not in known]
    if not missing:
        return
    stage(
        db,
        "staged_sessions",
        (("session", "date"), ("open_at", "timestamptz"), ("close_at", "timestamptz")),
        ((session, calendar.open(session), calendar.close(session)) for session in missing),
    )
    db.execute(
        text(
            "INSERT INTO stockbatch.sessions (calendar, session, open_at, close_at)"
            " SELECT :calendar, * FROM staged_sessions ON CONFLICT DO NOTHING"
        ),
        {"calendar": calendar.code},
    )
