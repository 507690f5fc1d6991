"""How well the tickers of a group were forecast together: as of the last run, no history."""

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.store.bulk import stage

_COLUMNS = (
    *((name, "text") for name in ("group_kind", "group_name", "method", "kind")),
    *((name, "int4") for name in ("window_sessions", "tickers", "n")),
    *((name, "float8") for name in ("pinball", "skill", "skill_error", "mae_return")),
    *((name, "float8") for name in ("coverage_80", "coverage_95")),
)
_NAMES = [name for name, _ in _COLUMNS]
_NUMBERS = _NAMES[5:]

# A run that comes late never replaces what a later session has said; what is the same stays.
_SAVE = f"""
INSERT INTO stockbatch.group_metrics AS m (calendar, through_session, {", ".join(_NAMES)})
SELECT :calendar, :through, s.* FROM staged_group_metrics AS s
ON CONFLICT (group_kind, group_name, calendar, method, kind, window_sessions) DO UPDATE SET
    through_session = excluded.through_session,
    {", ".join(f"{name} = excluded.{name}" for name in _NUMBERS)},
    updated_at = clock_timestamp()
WHERE m.through_session <= excluded.through_session
    AND (m.through_session, {", ".join(f"m.{name}" for name in _NUMBERS)}) IS DISTINCT FROM
        (excluded.through_session, {", ".join(f"excluded.{name}" for name in _NUMBERS)})
"""


class Row(NamedTuple):
    """What a method's forecasts of one kind came to in a group over one window; None: unknown."""

    group_kind: str
    group_name: str
    method: str
    kind: str
    window_sessions: int
    tickers: int
    n: int
    pinball: float | None
    skill: float | None
    skill_error: float | None
    mae_return: float | None
    coverage_80: float | None
    coverage_95: float | None


def save(db: Session, calendar: str, through: date, rows: Iterable[Row]) -> None:
    """Store what groups came to in the windows ending at `through`, in the place of older rows."""
    stage(db, "staged_group_metrics", _COLUMNS, rows)
    db.execute(text(_SAVE), {"calendar": calendar, "through": through})
