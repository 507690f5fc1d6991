"""When live forecasts were committed: what was held back beyond its deadline is found by it."""

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

_IS_TRACKED = text("SELECT current_setting('track_commit_timestamp')::boolean")

# What came before the trigger was judged by none: rows of an older version, or of a backup that was
# restored. A minute is left from the trigger's last look to the commit itself.
_LATE = text("""
SELECT i.calendar, f.target_session, count(*) AS forecasts,
    min(f.deadline_at) AS deadline_at, max(pg_xact_commit_timestamp(f.xmin)) AS committed_at
FROM stockbatch.forecasts AS f
JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
WHERE f.kind = 'live'
    AND pg_xact_commit_timestamp(f.xmin) > f.deadline_at + interval '1 minute'
    AND pg_xact_commit_timestamp(f.xmin) > coalesce((
        SELECT pg_xact_commit_timestamp(xmin) FROM pg_trigger
        WHERE tgrelid = 'stockbatch.forecasts'::regclass AND tgname = 'judge_commit'
    ), '-infinity')
GROUP BY i.calendar, f.target_session
ORDER BY f.target_session DESC, i.calendar
""")


class LateCommit(NamedTuple):
    """Live forecasts of a session that were committed after its deadline."""

    calendar: str
    target_session: date
    forecasts: int
    deadline_at: datetime
    committed_at: datetime

    def __str__(self) -> str:
        return (
            f"{self.forecasts} live forecasts of {self.calendar} {self.target_session} were"
            f" committed up to {self.committed_at:%Y-%m-%d %H:%M} UTC, their deadline was"
            f" {self.deadline_at:%Y-%m-%d %H:%M}"
        )


def are_tracked(db: Session) -> bool:
    """Tell whether the server keeps the instants of commits."""
    return bool(db.scalar(_IS_TRACKED))


def after_deadline(db: Session) -> list[LateCommit]:
    """Return what was committed too late, newest session first; nothing where none is tracked."""
    if not are_tracked(db):
        return []
    return [LateCommit(*row) for row in db.execute(_LATE)]
