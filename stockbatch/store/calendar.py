"""The dimension of sessions: when each opened and closed."""

from datetime import date

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.sessions import TradingCalendar
from stockbatch.store.bulk import matrix, stage


def extend(db: Session, calendar: TradingCalendar, first: date, last: date) -> None:
    """Store the sessions of `calendar` from `first` to `last` that are not stored yet."""
    known = matrix(
        db,
        "SELECT session - date '1970-01-01' AS day FROM stockbatch.sessions"
        " WHERE calendar = %(calendar)s AND session BETWEEN %(first)s AND %(last)s",
        {"calendar": calendar.code, "first": first, "last": last},
    )
    days = known[:, 0].astype(np.int64).astype("datetime64[D]")
    missing = np.setdiff1d(calendar.between(first, last), days).tolist()
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
