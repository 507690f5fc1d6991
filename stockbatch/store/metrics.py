"""Metrics: the forecasts of the last sessions with what happened, and what they add up to."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.market.sessions import columns
from stockbatch.records import Floats, Instrument, Kind, ScoreStatus, Sessions
from stockbatch.store import methods as method_store
from stockbatch.store.bulk import days, matrix, rows_of, stage

FIELDS = (
    "close",
    "actual_close",
    "log_return",
    "actual_log_return",
    "origin_close",
    "probability_of_rise",
    *QUANTILE_COLUMNS,
)

# Method and kind come as their places in the lists asked for: `matrix` carries numbers only. Scores
# are looked up one by one (OFFSET 0 keeps the planner from anything else): to join them it would
# read all there are, for every part of the tickers.
_FEW = 20
"""Sessions that are looked up one by one; of more all is read from the first to the last."""
_SCORED = """
SELECT f.instrument_id, f.target_session - date '1970-01-01' AS day,
    array_position(%(methods)s::text[], f.method) AS method,
    array_position(%(kinds)s::text[], f.kind) AS kind,
    f.id AS forecast_id, s.revision,
    f.close, s.actual_close, f.log_return, s.actual_log_return, f.origin_close,
    f.probability_of_rise, {quantiles}
FROM stockbatch.forecasts AS f
CROSS JOIN LATERAL (
    SELECT revision, actual_close, actual_log_return FROM stockbatch.scores
    WHERE forecast_id = f.id AND status <> %(no_session)s OFFSET 0
) AS s
WHERE f.instrument_id = ANY(%(ids)s)
    AND f.target_session {these} AND f.horizon = 1
"""
_THESE, _BETWEEN = (
    _SCORED.format(quantiles=", ".join(QUANTILE_COLUMNS), these=these)
    for these in ("= ANY(%(sessions)s)", "BETWEEN %(first)s AND %(last)s")
)

_COLUMNS = (
    ("method", "text"),
    ("kind", "text"),
    ("window_sessions", "int4"),
    ("metric", "text"),
    ("n", "int4"),
    ("value", "float8"),
    ("baseline", "float8"),
    ("skill", "float8"),
)


class Row(NamedTuple):
    """A metric of all tickers of a calendar over one window; None: unknown."""

    method: str
    kind: str
    window_sessions: int
    metric: str
    n: int
    value: float | None
    baseline: float | None
    skill: float | None


def scored(
    db: Session, instruments: Sequence[Instrument], sessions: Sessions
) -> dict[tuple[str, Kind], dict[str, Floats]]:
    """Return the scored forecasts of `sessions` by method and kind.

    Each is a dictionary of FIELDS with arrays (tickers, sessions), NaN where there is none; of
    several forecasts and scores of one session, the newest counts, and a masked one has no actual.
    """
    methods, kinds = method_store.names(db), list(Kind)
    ids = [instrument.id for instrument in instruments]
    rows = matrix(
        db,
        _THESE if len(sessions) <= _FEW else _BETWEEN,
        {
            "ids": ids,
            "sessions": sessions.tolist(),
            "first": sessions[0].item(),
            "last": sessions[-1].item(),
            "methods": methods,
            "kinds": kinds,
            "no_session": ScoreStatus.NO_SESSION,
        },
    )
    rows = rows[np.lexsort((rows[:, 5], rows[:, 4]))]  # the server would sort them on disk
    ticker = rows_of(ids, rows[:, 0])
    column, known = columns(sessions, days(rows[:, 1]))
    answer = {}
    # One number for each pair of method and kind; of rows for the same place the last one stays.
    found = len(kinds) * (rows[:, 2] - 1) + rows[:, 3] - 1
    for code in np.unique(found).astype(int).tolist():
        mine = known & (found == code)
        values = np.full((len(FIELDS), len(instruments), len(sessions)), np.nan)
        values[:, ticker[mine], column[mine]] = rows[mine, 6:].T
        key = methods[code // len(kinds)], kinds[code % len(kinds)]
        answer[key] = dict(zip(FIELDS, values, strict=True))
    return answer


# What is the same is left alone.
_SAVE = text("""
INSERT INTO stockbatch.metrics AS m
    (calendar, through_session, method, kind, window_sessions, metric, n, value, baseline, skill)
SELECT :calendar, :through, s.* FROM staged_metrics AS s
ON CONFLICT (calendar, method, kind, window_sessions, metric, through_session) DO UPDATE SET
    n = excluded.n, value = excluded.value, baseline = excluded.baseline, skill = excluded.skill,
    updated_at = clock_timestamp()
WHERE (m.n, m.value, m.baseline, m.skill) IS DISTINCT FROM
    (excluded.n, excluded.value, excluded.baseline, excluded.skill)
""")


def save(db: Session, calendar: str, through: date, rows: Iterable[Row]) -> None:
    """Store metrics of a calendar in the windows ending at `through`."""
    stage(db, "staged_metrics", _COLUMNS, rows)
    db.execute(_SAVE, {"calendar": calendar, "through": through})
