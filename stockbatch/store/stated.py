"""What methods have stated, by session: hundreds of forecasts of each ticker in a row.

Forecasts are wide rows of every method, and those of a ticker lie as far apart as nights do. What
each night needs of a year of them, or of four, is kept beside them, and follows what is added to
the ledger.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.database.tables import QUANTILE_COLUMNS, RAW_QUANTILE_COLUMNS
from stockbatch.market.sessions import columns
from stockbatch.records import Floats, Instrument, Sessions
from stockbatch.store.bulk import cursor_of
from stockbatch.store.forecasts import extend
from stockbatch.store.preference import KIND_FIRST


class Measure(StrEnum):
    """What is kept of a forecast."""

    QUANTILES = "quantiles"
    """All of them, before calibration."""
    HALF_WIDTH = "half_width"
    """Half the 80 % width, before calibration."""


PART = {Measure.QUANTILES: 64, Measure.HALF_WIDTH: 4096}
"""Tickers in a row, by their ids, which begin with 1: a chunk of those that came together, or as
many as are asked for at a time."""
_NUMBERS = {
    Measure.QUANTILES: [
        f"coalesce(f.{raw}, f.{stated}, 'NaN')"
        for raw, stated in zip(RAW_QUANTILE_COLUMNS, QUANTILE_COLUMNS, strict=True)
    ],
    Measure.HALF_WIDTH: [
        "coalesce((coalesce(f.raw_q90, f.q90) - coalesce(f.raw_q10, f.q10)) / 2, 'NaN')"
    ],
}
"""Of a forecast `f`, in SQL."""
_ADDED = text("""
SELECT f.target_session, array_agg(DISTINCT (f.instrument_id - 1) / :part), max(f.id)
FROM stockbatch.forecasts AS f
JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
WHERE f.id > :through AND f.method = :method AND f.horizon = 1 AND i.calendar = :calendar
GROUP BY f.target_session
""")
_THROUGH = text("""
SELECT coalesce(max(through_forecast), 0) FROM stockbatch.stated
WHERE calendar = :calendar AND method = :method AND measure = :measure
""")
# A part of a session that anything was added of is taken anew as a whole: of several forecasts of a
# ticker one counts, and which one that is may have changed.
_UPDATE = """
WITH chosen AS (
    SELECT DISTINCT ON (f.instrument_id) f.instrument_id, ARRAY[{numbers}] AS numbers
    FROM stockbatch.forecasts AS f
    JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
    WHERE f.target_session = :session AND (f.instrument_id - 1) / :part = ANY(cast(:parts AS int[]))
        AND f.method = :method AND f.horizon = 1 AND i.calendar = :calendar
    ORDER BY f.instrument_id, f.{kind_first}, f.recorded_at DESC, f.id DESC
)
INSERT INTO stockbatch.stated
    (calendar, method, measure, session, part, instrument_ids, numbers, through_forecast)
SELECT :calendar, :method, :measure, :session, (instrument_id - 1) / :part,
    array_agg(instrument_id), array_agg(numbers), :through
FROM chosen GROUP BY (instrument_id - 1) / :part
ON CONFLICT (calendar, method, measure, session, part) DO UPDATE SET
    instrument_ids = excluded.instrument_ids, numbers = excluded.numbers,
    through_forecast = excluded.through_forecast
"""
_UPDATES = {
    measure: text(_UPDATE.format(numbers=", ".join(numbers), kind_first=KIND_FIRST))
    for measure, numbers in _NUMBERS.items()
}
_LOAD = """
SELECT session, array_send(instrument_ids), array_send(numbers) FROM stockbatch.stated
WHERE calendar = %(calendar)s AND method = %(method)s AND measure = %(measure)s
    AND session BETWEEN %(first)s AND %(last)s AND part = ANY(%(parts)s)
"""
_HEAD, _OF_A_DIMENSION = 12, 8
"""Bytes before the elements of an array, as PostgreSQL sends it, and as many more per dimension."""


def update(db: Session, calendar: str, method: str, measure: Measure) -> None:
    """Take in what was added to the ledger since; who calls has the calendar alone."""
    given = {"calendar": calendar, "method": method, "measure": measure, "part": PART[measure]}
    through = db.scalar(_THROUGH, given)
    # Session by session: only a question with numbers in it is one whose answer PostgreSQL can
    # expect to be short.
    for session, parts, newest in db.execute(_ADDED, {**given, "through": through}).all():
        more = {"session": session, "parts": parts, "through": newest}
        db.execute(_UPDATES[measure], {**given, **more})


def quantiles(
    db: Session, instruments: Sequence[Instrument], sessions: Sessions, method: str
) -> Floats:
    """Return what `forecasts.past_quantiles` does, as of the last update."""
    found = _load(db, instruments, sessions, method, Measure.QUANTILES)
    extend(found)
    return found


def half_widths(
    db: Session, instruments: Sequence[Instrument], sessions: Sessions, method: str
) -> Floats:
    """Return what a method stated of tickers, (tickers, sessions), NaN where it stated nothing."""
    return _load(db, instruments, sessions, method, Measure.HALF_WIDTH)[..., 0]


def _load(
    db: Session,
    instruments: Sequence[Instrument],
    sessions: Sessions,
    method: str,
    measure: Measure,
) -> Floats:
    """Return the numbers of tickers of one calendar, (tickers, sessions, numbers), NaN for none."""
    ids = np.array([instrument.id for instrument in instruments], np.int64)
    numbers = np.full((len(ids), len(sessions), len(_NUMBERS[measure])), np.nan)
    if not len(ids):
        return numbers
    given = {
        "calendar": instruments[0].calendar,
        "method": method,
        "measure": measure,
        "first": sessions[0].item(),
        "last": sessions[-1].item(),
        "parts": np.unique((ids - 1) // PART[measure]).tolist(),
    }
    with cursor_of(db, binary=True) as cursor:
        cursor.execute(_LOAD, given)
        found = cursor.fetchall()
    order = np.argsort(ids)
    places, known = columns(sessions, np.array([day for day, _, _ in found], "datetime64[D]"))
    for place, is_known, (_, stated, of_each) in zip(places, known, found, strict=True):
        if is_known:
            wanted = _elements(stated, 1, ">i4")
            at = np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)
            mine = ids[order[at]] == wanted
            values = _elements(of_each, 2, ">f8").reshape(len(wanted), -1)
            numbers[order[at[mine]], place] = values[mine]
    return numbers


def _elements(sent: bytes, dimensions: int, kind: str) -> NDArray[np.float64]:
    """Return the numbers of an array without NULL, each of which stands behind its size."""
    head = _HEAD + dimensions * _OF_A_DIMENSION
    return np.frombuffer(sent, [("size", ">i4"), ("value", kind)], offset=head)["value"]
