"""What losses add up to by session, kept for the next night, and what of it is out of date."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from stockbatch.market.sessions import as_date
from stockbatch.records import Floats, Instrument, Sessions
from stockbatch.store.bulk import days, matrix, rows_of


class Kept(NamedTuple):
    """The sums of a calendar."""

    through: date
    members: Any
    """Whose losses they are, in JSON."""
    arrays: dict[str, Floats]


_LOAD = text(
    "SELECT through_session, members, sums FROM stockbatch.sums WHERE calendar = :calendar"
)
_SAVE = text("""
INSERT INTO stockbatch.sums AS s (calendar, through_session, members, sums)
VALUES (:calendar, :through, :members, :sums)
ON CONFLICT (calendar) DO UPDATE SET
    through_session = excluded.through_session, members = excluded.members, sums = excluded.sums
WHERE s.through_session <= excluded.through_session
""").bindparams(bindparam("members", type_=JSONB))


def load(db: Session, calendar: str) -> Kept | None:
    """Return the sums that are kept of a calendar, None where there are none."""
    row = db.execute(_LOAD, {"calendar": calendar}).one_or_none()
    if row is None:
        return None
    return Kept(row.through_session, row.members, safetensors.numpy.load(bytes(row.sums)))


def save(
    db: Session, calendar: str, through: date, members: Any, arrays: Mapping[str, Floats]
) -> None:
    """Keep the sums of a calendar up to a session, in the place of older ones, never of newer."""
    data = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    )
    given = {"calendar": calendar, "through": through, "members": members, "sums": data}
    db.execute(_SAVE, given)


def forget(db: Session, calendar: str) -> None:
    """Keep nothing of a calendar: the next night adds up the whole window."""
    db.execute(
        text("DELETE FROM stockbatch.sums WHERE calendar = :calendar"), {"calendar": calendar}
    )


# ---- notes, kept by triggers


class Notes(NamedTuple):
    """That scores came or went, a note an element."""

    ids: NDArray[np.int64]
    ticker: NDArray[np.intp]
    """Places in the instruments asked about."""
    sessions: Sessions
    """Target sessions of the scores."""


_SESSIONS = text("""
SELECT DISTINCT note.session FROM stockbatch.unsummed AS note
JOIN stockbatch.instruments AS i ON i.id = note.instrument_id
WHERE i.calendar = :calendar AND i.active AND note.session BETWEEN :first AND :last
""")
_NOTED = """
SELECT id, instrument_id, session - date '1970-01-01' AS day
FROM stockbatch.unsummed WHERE instrument_id = ANY(%(ids)s)
"""
_FORECAST = text("""
SELECT i.id FROM unnest(cast(:ids AS int[])) AS i (id)
WHERE EXISTS (
    SELECT FROM stockbatch.forecasts AS f
    WHERE f.instrument_id = i.id AND f.target_session <= :through
)
""")
_SETTLE = text("DELETE FROM stockbatch.unsummed WHERE id = ANY(cast(:ids AS int8[]))")


def sessions_noted(db: Session, calendar: str, window: Sessions) -> set[date]:
    """Return the sessions of which scores of active tickers came or went since they were summed."""
    around = {"first": as_date(window[0]), "last": as_date(window[-1])}
    return set(db.scalars(_SESSIONS, {"calendar": calendar, **around}))


def forecast_through(db: Session, ids: Sequence[int], through: date) -> set[int]:
    """Return which of these instruments have forecasts of sessions up to `through`."""
    return set(db.scalars(_FORECAST, {"ids": list(ids), "through": through}))


def noted(db: Session, instruments: Sequence[Instrument]) -> Notes:
    """Return the notes of some tickers."""
    ids = [instrument.id for instrument in instruments]
    rows = matrix(db, _NOTED, {"ids": ids})
    return Notes(rows[:, 0].astype(np.int64), rows_of(ids, rows[:, 1]), days(rows[:, 2]))


def settle(db: Session, notes: Sequence[int]) -> None:
    """Take notes away, by their ids: they are summed up."""
    db.execute(_SETTLE, {"ids": list(notes)})
