"""Forecasts that stand in files, because nothing reads them any more: which may go, and since when.

They are those of the baselines, made for no more than to be compared with. What charts show stays:
forecasts by the headline of their session, and the rolling quantiles where nothing better was made.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from psycopg import postgres
from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from stockbatch.exceptions import SessionArchived
from stockbatch.records import LSTM, QUANTILE_BASELINE, BarState, Instrument, RunStatus, Sessions
from stockbatch.store.bulk import cursor_of, stage

_THROUGH = text("SELECT max(through_session) FROM stockbatch.archives WHERE calendar = :calendar")


def through(db: Session, calendar: str) -> date | None:
    """Return the last session that an archive of a calendar reaches, None where there is none."""
    found: date | None = db.scalar(_THROUGH, {"calendar": calendar})
    return found


def require_kept(
    db: Session, calendar: str, instruments: Sequence[Instrument], target: date
) -> None:
    """Raise SessionArchived where forecasts of a session are taken no more; those of a demo are."""
    last = through(db, calendar)
    if last is not None and target <= last and not all(one.demo for one in instruments):
        raise SessionArchived(session=target, calendar=calendar, last=last)


def kept(db: Session, calendar: str, window: Sessions) -> int:
    """Return how many of the last sessions of `window`, oldest first, no archive reaches to."""
    last = through(db, calendar)
    return len(window) if last is None else int(np.count_nonzero(window > np.datetime64(last)))


# ---- by the owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The rows that one file takes: a query, and what tells one row of it from every other."""

    name: str
    query: str
    table: str
    key: tuple[str, ...]


FORECASTS = Contents(
    name="archived_forecasts",
    query="""
SELECT i.ticker, NOT EXISTS (
    SELECT FROM stockbatch.forecasts AS better
    WHERE better.instrument_id = f.instrument_id AND better.target_session = f.target_session
        AND better.horizon = f.horizon AND better.method = f.method
        AND (better.kind, better.recorded_at, better.id) > (f.kind, f.recorded_at, f.id)
) AS is_shown, f.*
FROM archivable AS a
JOIN stockbatch.forecasts AS f ON f.id = a.id
JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
ORDER BY f.id
""",
    table="stockbatch.forecasts",
    key=("id", "fingerprint"),
)
"""Columns of the table, the ticker, and whether bi.forecast_history showed it."""
SCORES = Contents(
    name="archived_scores",
    query="""
SELECT s.revision = max(s.revision) OVER (PARTITION BY s.forecast_id) AS is_last, s.*
FROM archivable AS a
JOIN stockbatch.scores AS s ON s.forecast_id = a.id
ORDER BY s.id
""",
    table="stockbatch.scores",
    key=("id", "forecast_id", "revision"),
)
"""Columns of the table, and whether it is the last one of its forecast, as the views show it."""
_KEY_TYPES = {"id": "int8", "forecast_id": "int8", "revision": "int4", "fingerprint": "text"}

# Nobody but the owner may, who is told before anything is written; a second one waits, then fails.
_LOCK = text("LOCK TABLE stockbatch.archives IN SHARE ROW EXCLUSIVE MODE")
_CALENDARS = text(
    "SELECT DISTINCT calendar FROM stockbatch.instruments WHERE NOT demo ORDER BY calendar"
)
# A run that a clock ahead has begun says nothing of how far the sessions are.
_LAST_RUN = text(
    "SELECT max(session) FROM stockbatch.runs WHERE calendar = :calendar AND status = :finished"
    " AND tried_at <= clock_timestamp() AND session <= current_date"
).bindparams(finished=RunStatus.FINISHED)
_FIRST = text("""
SELECT min(f.session) FROM stockbatch.instruments AS i
CROSS JOIN LATERAL (
    SELECT min(target_session) AS session FROM stockbatch.forecasts WHERE instrument_id = i.id
) AS f
WHERE i.calendar = :calendar AND NOT i.demo
""")

# A forecast is settled when it is scored by the bar there is, and that bar is final, or none will
# come. All forecasts of a ticker and session by a method go together or stay, so that the one that
# is shown is the same before and after; they share their bar, and nearly always all are settled.
_CHOOSE = text("""
INSERT INTO archivable (id, is_settled)
SELECT f.id, bool_and(
    coalesce(b.state, :final) = :final
    AND EXISTS (
        SELECT FROM stockbatch.scores AS s
        WHERE s.forecast_id = f.id AND s.revision >= coalesce(b.revision, 0)
    )
    AND NOT EXISTS (SELECT FROM stockbatch.unscored AS note WHERE note.forecast_id = f.id)
) OVER (PARTITION BY f.instrument_id, f.target_session, f.method) AS is_settled
FROM stockbatch.instruments AS i
JOIN stockbatch.forecasts AS f
    ON f.instrument_id = i.id AND f.target_session BETWEEN :first AND :last
LEFT JOIN stockbatch.bars AS b
    ON b.instrument_id = f.instrument_id AND b.session = f.target_session
CROSS JOIN LATERAL (
    SELECT method FROM stockbatch.headlines
    WHERE from_session <= f.target_session ORDER BY from_session DESC, id DESC LIMIT 1
) AS headline
WHERE i.calendar = :calendar AND NOT i.demo AND f.method = ANY (:methods)
    AND f.method <> headline.method
    AND (f.method <> :stands_in OR EXISTS (
        SELECT FROM stockbatch.forecasts AS shown
        WHERE shown.instrument_id = f.instrument_id AND shown.target_session = f.target_session
            AND shown.horizon = f.horizon AND shown.method IN (headline.method, :lstm)
    ))
""").bindparams(final=BarState.FINAL, stands_in=QUANTILE_BASELINE, lstm=LSTM)
_MAKE = text(
    "CREATE TEMPORARY TABLE archivable (id int8 PRIMARY KEY, is_settled bool) ON COMMIT DROP"
)
_LEAVE = text("DELETE FROM archivable WHERE NOT is_settled")


def claim(db: Session) -> None:
    """Be the only archiver until the transaction ends. Raises AccessDenied, DatabaseBusy."""
    db.execute(_LOCK)


def calendars(db: Session) -> list[str]:
    """Return the calendars of tickers ever on the watchlist, those of a demonstration aside."""
    return list(db.scalars(_CALENDARS))


def span(db: Session, calendar: str) -> tuple[date, date] | None:
    """Return the first session forecast, and the last one run; None where there is none of them."""
    first = db.scalar(_FIRST, {"calendar": calendar})
    last = db.scalar(_LAST_RUN, {"calendar": calendar})
    return None if first is None or last is None else (first, last)


def choose(
    db: Session, calendar: str, methods: Sequence[str], first: date, last: date
) -> tuple[int, int]:
    """Choose the forecasts of sessions from `first` to `last` that may go, for one transaction.

    Return how many those are, and how many stay because they wait for their bar or their score.
    """
    given = {"calendar": calendar, "methods": list(methods), "first": first, "last": last}
    db.execute(_MAKE)
    found, waiting = _changed(db, _CHOOSE, given), _changed(db, _LEAVE)
    db.execute(text("ANALYZE archivable"))
    return found - waiting, waiting


def columns(db: Session, contents: Contents) -> dict[str, str]:
    """Return the columns of a file, PostgreSQL's types by name."""
    with cursor_of(db) as cursor:
        cursor.execute(f"SELECT * FROM ({contents.query}) AS r LIMIT 0".encode())
        described = cursor.description or ()
    return {column.name: postgres.types[column.type_code].name for column in described}


def rows(db: Session, contents: Contents) -> Iterator[bytes]:
    """Yield what was chosen as lines of CSV, in the order of ids; NULL is empty."""
    with (
        cursor_of(db) as cursor,
        cursor.copy(f"COPY ({contents.query}) TO STDOUT (FORMAT csv)".encode()) as copy,
    ):
        for line in copy:
            yield bytes(line)


def absent(db: Session, contents: Contents, keys: Iterator[tuple[Any, ...]]) -> int:
    """Return how many of the rows with these keys the database does not hold."""
    columns = [(name, _KEY_TYPES[name]) for name in contents.key]
    staged = f"staged_{contents.name}"
    stage(db, staged, columns, keys)
    joined = " AND ".join(f"t.{name} = k.{name}" for name in contents.key)
    missing = f"NOT EXISTS (SELECT FROM {contents.table} AS t WHERE {joined})"
    query = f"SELECT count(*) FROM {staged} AS k WHERE {missing}"
    return db.scalar(text(query)) or 0


_NEXT_PART = text("""
SELECT coalesce(max(part), 0) + 1 FROM stockbatch.archives
WHERE calendar = :calendar AND month = :month
""")
_ADD = text("""
INSERT INTO stockbatch.archives (calendar, month, part, first_session, through_session, methods,
    forecasts, scores, bytes, folder)
VALUES (:calendar, :month, :part, :first_session, :through_session, :methods,
    :forecasts, :scores, :bytes, :folder)
""")
# No window reaches so far back that it had to be summed up anew.
_SUMMED = """(
    SELECT DISTINCT f.instrument_id, f.target_session
    FROM archivable AS a JOIN stockbatch.forecasts AS f ON f.id = a.id
) AS gone
WHERE unsummed.instrument_id = gone.instrument_id AND unsummed.session = gone.target_session"""
_DROP = {
    table: text(f"DELETE FROM stockbatch.{table} USING {gone}")
    for table, gone in (
        ("unscored", "archivable WHERE forecast_id = archivable.id"),
        ("scores", "archivable WHERE forecast_id = archivable.id"),
        ("unsummed", _SUMMED),
        ("forecasts", "archivable WHERE forecasts.id = archivable.id"),
    )
}


def next_part(db: Session, calendar: str, month: date) -> int:
    """Return the number that the next files of a month have."""
    return db.scalar(_NEXT_PART, {"calendar": calendar, "month": month}) or 1


def drop(db: Session) -> Mapping[str, int]:
    """Delete what was chosen; return how many rows that were, by table."""
    return {table: _changed(db, delete) for table, delete in _DROP.items()}


def add(db: Session, **row: Any) -> None:
    """Note that files hold the forecasts of a month; from here on no more of it are taken."""
    db.execute(_ADD, row)


def _changed(db: Session, statement: TextClause, given: Mapping[str, Any] | None = None) -> int:
    result: Any = db.execute(statement, given)
    return int(result.rowcount)
