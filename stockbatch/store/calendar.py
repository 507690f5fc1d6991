"""The dimension of sessions: when each opened and closed, and until when forecasts are live."""

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.market.sessions import TradingCalendar
from stockbatch.store.bulk import matrix, stage_arrays

_COLUMNS = (
    ("session", "date"),
    ("open_at", "float8"),
    ("close_at", "float8"),
    ("deadline_at", "float8"),
)
"""The instants in seconds since 1970."""


def extend(db: Session, calendar: TradingCalendar, first: date, last: date) -> None:
    """Store the sessions of `calendar` from `first` to `last` that are not stored yet."""
    known = matrix(
        db,
        "SELECT session - date '1970-01-01' AS day FROM stockbatch.sessions"
        " WHERE calendar = %(calendar)s AND session BETWEEN %(first)s AND %(last)s",
        {"calendar": calendar.code, "first": first, "last": last},
    )
    days = calendar.sessions
    wanted = (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    # Few, after the first time: what is ahead is stored for a month.
    missing = wanted & ~np.isin(days.astype(np.int64), known)
    if not missing.any():
        return
    columns: dict[str, NDArray[Any]] = {
        "session": days[missing],
        "open_at": calendar.opens[missing].astype(np.int64),
        "close_at": calendar.closes[missing].astype(np.int64),
        "deadline_at": calendar.deadlines()[missing].astype(np.int64),
    }
    stage_arrays(db, "staged_sessions", _COLUMNS, columns)
    db.execute(
        text(
            "INSERT INTO stockbatch.sessions (calendar, session, open_at, close_at, deadline_at)"
            " SELECT :calendar, session, to_timestamp(open_at), to_timestamp(close_at),"
            " to_timestamp(deadline_at)"
            " FROM staged_sessions ON CONFLICT DO NOTHING"
        ),
        {"calendar": calendar.code},
    )
