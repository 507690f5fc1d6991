"""Half the raw 80 % widths that a method has stated, by session: thousands of forecasts in a row.

Forecasts are wide rows of every method. What the simulation of risk needs of a thousand sessions of
them is kept beside them, and follows what is added to the ledger.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.market.sessions import columns
from stockbatch.records import Floats, Instrument, Sessions
from stockbatch.store.bulk import cursor_of
from stockbatch.store.preference import KIND_FIRST

# A session that anything was added of is taken anew as a whole: of several forecasts of a ticker
# one counts, and which one that is may have changed.
_UPDATE = text(f"""
WITH added AS (
    SELECT f.target_session, max(f.id) AS through
    FROM stockbatch.forecasts AS f
    JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
    WHERE f.id > (
        SELECT coalesce(max(through_forecast), 0) FROM stockbatch.stated_widths
        WHERE calendar = :calendar AND method = :method
    ) AND f.method = :method AND f.horizon = 1 AND i.calendar = :calendar AND f.q90 IS NOT NULL
    GROUP BY f.target_session
), stated AS (
    SELECT DISTINCT ON (f.target_session, f.instrument_id) f.target_session, f.instrument_id,
        (coalesce(f.raw_q90, f.q90) - coalesce(f.raw_q10, f.q10)) / 2 AS half, added.through
    FROM added
    JOIN stockbatch.forecasts AS f ON f.target_session = added.target_session
    JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
    WHERE f.method = :method AND f.horizon = 1 AND i.calendar = :calendar AND f.q90 IS NOT NULL
    ORDER BY f.target_session, f.instrument_id, f.{KIND_FIRST}, f.recorded_at DESC, f.id DESC
)
INSERT INTO stockbatch.stated_widths AS w
    (calendar, session, method, instrument_ids, half_widths, through_forecast)
SELECT :calendar, target_session, :method, array_agg(instrument_id), array_agg(half), max(through)
FROM stated GROUP BY target_session
ON CONFLICT (calendar, session, method) DO UPDATE SET
    instrument_ids = excluded.instrument_ids, half_widths = excluded.half_widths,
    through_forecast = excluded.through_forecast
""")

_LOAD = """
SELECT session, array_send(instrument_ids), array_send(half_widths) FROM stockbatch.stated_widths
WHERE calendar = %(calendar)s AND method = %(method)s AND session BETWEEN %(first)s AND %(last)s
"""
_HEAD = 20
"""Bytes before the elements of an array of one dimension, as PostgreSQL sends it."""


def update(db: Session, calendar: str, method: str) -> None:
    """Take in what was added to the ledger since; who calls has the calendar alone."""
    db.execute(_UPDATE, {"calendar": calendar, "method": method})


def load(
    db: Session, calendar: str, method: str, instruments: Sequence[Instrument], sessions: Sessions
) -> Floats:
    """Return what a method stated of tickers, (tickers, sessions), NaN where it stated nothing."""
    span = {"first": sessions[0].item(), "last": sessions[-1].item()}
    with cursor_of(db, binary=True) as cursor:
        cursor.execute(_LOAD, {"calendar": calendar, "method": method, **span})
        found = cursor.fetchall()
    ids = np.array([instrument.id for instrument in instruments], np.int64)
    order = np.argsort(ids)
    halves = np.full((len(sessions), len(ids)), np.nan)
    places, known = columns(sessions, np.array([day for day, _, _ in found], "datetime64[D]"))
    for place, is_known, (_, stated, widths) in zip(places, known, found, strict=True):
        if is_known and len(ids):
            wanted = _elements(stated, ">i4")
            at = np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)
            mine = ids[order[at]] == wanted
            halves[place, order[at[mine]]] = _elements(widths, ">f8")[mine]
    return halves.T


def _elements(sent: bytes, kind: str) -> NDArray[np.float64]:
    """Return the numbers of an array without NULL, each of which stands behind its size."""
    return np.frombuffer(sent, [("size", ">i4"), ("value", kind)], offset=_HEAD)["value"]
