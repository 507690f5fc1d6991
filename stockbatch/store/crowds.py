"""What the past intervals of all tickers of a calendar teach the next ones, session by session."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import CrowdRow
from stockbatch.market.sessions import columns
from stockbatch.records import Crowd, Floats, Instrument, ScoreStatus, Sessions
from stockbatch.store.bulk import days, matrix, rows_of


def between(
    db: Session, calendar: str, method: str, first: date, last: date, *, demo: bool
) -> dict[date, Crowd]:
    """Return the crowds of a method by session, from `first` to `last`."""
    rows = db.scalars(_select(calendar, method, first, last, demo=demo))
    return {row.session: _crowd(row) for row in rows}


def newest(
    db: Session, calendar: str, method: str, first: date, last: date, *, demo: bool
) -> tuple[date, Crowd] | None:
    """Return the newest crowd of a method from `first` to `last`, after its session."""
    query = _select(calendar, method, first, last, demo=demo)
    row = db.scalar(query.order_by(CrowdRow.session.desc()).limit(1))
    return None if row is None else (row.session, _crowd(row))


def _select(calendar: str, method: str, first: date, last: date, *, demo: bool) -> Select[CrowdRow]:
    return select(CrowdRow).where(
        CrowdRow.calendar == calendar,
        CrowdRow.method == method,
        CrowdRow.is_demo == demo,
        CrowdRow.session.between(first, last),
    )


def _crowd(row: CrowdRow) -> Crowd:
    return Crowd(
        logs=np.array(row.logs).reshape(-1, len(row.losses)),
        losses=np.array(row.losses),
        sessions=row.sessions,
        tickers=row.instruments,
    )


def add(
    db: Session, calendar: str, method: str, crowds: Mapping[date, Crowd], *, demo: bool
) -> None:
    """Keep crowds by session; one that is there already stays."""
    if crowds:
        rows = [_row(calendar, method, demo, *item) for item in crowds.items()]
        db.execute(insert(CrowdRow).values(rows).on_conflict_do_nothing())


def _row(calendar: str, method: str, demo: bool, session: date, crowd: Crowd) -> dict[str, object]:
    digest = hashlib.sha256(crowd.logs.tobytes())
    digest.update(crowd.losses.tobytes())
    return {
        "calendar": calendar,
        "session": session,
        "method": method,
        "is_demo": demo,
        "instruments": crowd.tickers,
        "sessions": crowd.sessions,
        "logs": crowd.logs.ravel().tolist(),
        "losses": crowd.losses.tolist(),
        "digest": digest.hexdigest(),
    }


# All forecasts of a session have the same actual return; a bar that was revised has a newer score.
_ACTUAL = """
SELECT DISTINCT ON (f.instrument_id, f.target_session)
    f.instrument_id, f.target_session - date '1970-01-01' AS day, s.actual_log_return
FROM stockbatch.forecasts AS f JOIN stockbatch.scores AS s ON s.forecast_id = f.id
WHERE f.instrument_id = ANY(%(ids)s) AND f.target_session BETWEEN %(first)s AND %(last)s
    AND f.method = %(method)s AND f.horizon = 1 AND s.status = %(scored)s
ORDER BY f.instrument_id, f.target_session, s.revision DESC
"""


def actual_returns(
    db: Session, instruments: Sequence[Instrument], sessions: Sessions, method: str
) -> Floats:
    """Return the log returns that a method was scored by, (tickers, sessions), NaN: none."""
    ids = [instrument.id for instrument in instruments]
    span = {"first": sessions[0].item(), "last": sessions[-1].item()}
    given = {"ids": ids, "method": method, "scored": ScoreStatus.SCORED, **span}
    rows = matrix(db, _ACTUAL, given)
    column, known = columns(sessions, days(rows[:, 1]))
    answer = np.full((len(ids), len(sessions)), np.nan)
    answer[rows_of(ids, rows[known, 0]), column[known]] = rows[known, 2]
    return answer
