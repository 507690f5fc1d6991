"""How every exchange is doing, for watching it; demonstration instruments are left out."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import Kind, Reason, RunStatus

# The newest session that was run, of exchanges with a ticker of somebody's own. Runs from a time
# that is yet to come are those of a clock that was ahead.
_LAST = """
last AS (
    SELECT r.calendar, max(r.session) AS session FROM stockbatch.runs AS r
    WHERE r.tried_at <= clock_timestamp() AND r.calendar IN (
        SELECT calendar FROM stockbatch.instruments WHERE active AND NOT demo
    )
    GROUP BY r.calendar
)
"""

_SUCCESSES = """
SELECT DISTINCT ON (r.calendar) r.calendar, r.session, r.finished_at,
    extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds
FROM stockbatch.runs AS r JOIN last USING (calendar)
WHERE r.status = :finished
ORDER BY r.calendar, r.finished_at DESC
"""

# Of that session alone: gauges say how things are, the views how they were.
_OUTCOMES = """
SELECT calendar, o.action, o.reason, count(*) AS tickers
FROM last JOIN stockbatch.instruments AS i USING (calendar)
JOIN stockbatch.outcomes AS o ON o.instrument_id = i.id AND o.session = last.session AND o.is_final
WHERE i.active AND NOT i.demo
GROUP BY calendar, o.action, o.reason
"""

# The target is looked up rather than computed: the dimension of sessions has it.
_FORECASTS = """
SELECT calendar, f.method, f.kind, count(DISTINCT f.instrument_id) AS tickers
FROM last CROSS JOIN LATERAL (
    SELECT min(session) AS target FROM stockbatch.sessions
    WHERE calendar = last.calendar AND session > last.session
) AS next
JOIN stockbatch.instruments AS i USING (calendar)
JOIN stockbatch.forecasts AS f ON f.instrument_id = i.id AND f.target_session = next.target
WHERE i.active AND NOT i.demo
GROUP BY calendar, f.method, f.kind
"""

# `h` counts the sessions that a metric has a row for: alerts wait until a window is full.
_METRICS = """
SELECT m.calendar, m.method, m.kind, m.window_sessions, m.metric, m.n, m.value, m.skill,
    m.through_session, (
        SELECT count(*) FROM stockbatch.metrics AS h
        WHERE (h.calendar, h.method, h.kind, h.window_sessions, h.metric)
            = (m.calendar, m.method, m.kind, m.window_sessions, m.metric)
    ) AS sessions
FROM stockbatch.metrics AS m JOIN (
    SELECT calendar, max(m.through_session) AS newest
    FROM stockbatch.metrics AS m JOIN last USING (calendar)
    GROUP BY calendar
) AS of_calendar ON of_calendar.calendar = m.calendar AND of_calendar.newest = m.through_session
WHERE m.metric LIKE 'coverage%' OR m.skill IS NOT NULL
"""

# Late is who has no live forecast by the same method beside the late one: a run that was repeated
# leaves both.
_LATE = """
SELECT count(DISTINCT f.instrument_id)
FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
WHERE i.calendar = :calendar AND i.active AND NOT i.demo AND i.active_since <= :closed_at
    AND f.origin_session = :origin AND f.target_session = :target AND f.kind = :late
    AND NOT EXISTS (
        SELECT FROM stockbatch.forecasts AS l
        WHERE l.instrument_id = f.instrument_id AND l.target_session = f.target_session
            AND l.method = f.method AND l.kind = :live
    )
"""

# One message stands for all: they differ in the ticker only.
_REFUSED = """
SELECT calendar, last.session, count(*) AS tickers, min(o.message) AS message
FROM last JOIN stockbatch.instruments AS i USING (calendar)
JOIN stockbatch.outcomes AS o ON o.instrument_id = i.id AND o.session = last.session AND o.is_final
WHERE i.active AND NOT i.demo AND o.reason = :rate_limited
GROUP BY calendar, last.session
"""


def successes(db: Session) -> Sequence[Any]:
    """Return the run finished last of each exchange: calendar, session, finished_at, seconds."""
    return _all(db, _SUCCESSES, finished=RunStatus.FINISHED)


def outcomes(db: Session) -> Sequence[Any]:
    """Return tickers per calendar, action and reason, of the newest session that was run."""
    return _all(db, _OUTCOMES)


def forecasts(db: Session) -> Sequence[Any]:
    """Return tickers per calendar, method and kind with a forecast from that session."""
    return _all(db, _FORECASTS)


def metrics(db: Session) -> Sequence[Any]:
    """Return the newest metrics over ALL that are a coverage or have a skill.

    `sessions` counts those through which the metric has been computed.
    """
    return _all(db, _METRICS)


def late(db: Session, calendar: str, origin: date, target: date, closed_at: datetime) -> int:
    """Return how many tickers have a late forecast and no live one.

    Tickers put on the watchlist after the origin's close could not have been in time.
    """
    values = {"calendar": calendar, "origin": origin, "target": target, "closed_at": closed_at}
    kinds = {"live": Kind.LIVE, "late": Kind.LATE}
    return int(db.scalar(text(_LATE), {**values, **kinds}) or 0)


def refused(db: Session) -> Sequence[Any]:
    """Return per calendar how many tickers a provider refused for want of quota, and its words."""
    return _all(db, _REFUSED, rate_limited=Reason.RATE_LIMITED)


def _all(db: Session, query: str, **words: str) -> Sequence[Any]:
    return db.execute(text(f"WITH {_LAST} {query}"), words).all()
