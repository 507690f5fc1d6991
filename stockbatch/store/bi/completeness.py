"""Whether the bars of what was run are there: said alike by commands, daemon and dashboard."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import ask
from stockbatch.text import counted

SHARE = 0.95
"""Share of the bars due that a session needs."""
FEWEST = 20
"""Tickers from which on a share means anything: of fewer, one missing bar would be too many."""
LATELY = 5
"""A ticker without a bar for longer than so many sessions is not missed any more."""

# The newest session that was run, of each exchange. Runs from a time that is yet to come are those
# of a clock that was ahead. While one goes on, nothing is missing yet.
_NEWEST = """
SELECT DISTINCT ON (calendar) calendar, session, status = 'finished' AS is_finished
FROM bi.run_history
WHERE started_at <= clock_timestamp()
ORDER BY calendar, session DESC, attempt DESC
"""
_ONE = "SELECT :calendar AS calendar, cast(:session AS date) AS session, true AS is_finished"

# Who has an outcome was asked for its bar, whenever it came on the watchlist: on the first day all
# came after the close. A newer bar than that of the session was preceded by one.
_COMPLETENESS = """
WITH run AS ({run})
SELECT
    run.calendar, run.session, run.is_finished, max(f.bar_session) AS newest,
    EXISTS (
        SELECT FROM bi.run_history AS r
        WHERE r.calendar = run.calendar AND r.session = max(f.bar_session) AND status = 'finished'
    ) AS was_run,
    count(o.ticker)::integer AS expected,
    count(o.ticker) FILTER (WHERE f.bar_session >= lately.session)::integer AS due,
    count(o.ticker) FILTER (WHERE f.bar_session >= run.session)::integer AS held
FROM run
JOIN bi.data_freshness AS f ON f.calendar = run.calendar AND NOT f.is_demo
LEFT JOIN bi.outcomes AS o
    ON o.ticker = f.ticker AND o.session = run.session AND o.reason <> 'skipped'
LEFT JOIN LATERAL (
    SELECT min(session) AS session FROM (
        SELECT s.session FROM bi.sessions AS s
        WHERE s.calendar = run.calendar AND s.session <= run.session
        ORDER BY s.session DESC LIMIT 1 + :lately
    ) AS last_ones
) AS lately ON true
GROUP BY run.calendar, run.session, run.is_finished
ORDER BY run.calendar
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """How complete the bars of an exchange's session are; as text, a sentence that says so."""

    calendar: str
    session: date
    is_finished: bool
    """Whether its run is."""
    newest: date | None
    """Session of the newest accepted bar of any ticker."""
    was_run: bool
    """Whether there is a finished run of that."""
    expected: int
    """Tickers that were asked for an accepted bar of the session."""
    due: int
    """Those of them that had one lately."""
    held: int
    """Those that have it."""

    @property
    def is_enough(self) -> bool:
        """Tell whether there is something to forecast from: the rule that runs are held by."""
        if not self.expected:
            return True
        return self.held > 0 and (self.due < FEWEST or self.held >= SHARE * self.due)

    def __str__(self) -> str:
        have = "has" if self.expected == 1 else "have"
        of_all = f"{self.held} of {counted(self.expected, 'ticker')}"
        said = f"{of_all} {have} a bar of {self.session}"
        if self.is_enough:
            return said
        if self.held:
            return f"{said}: 'stockbatch run' asks for the others again"
        if self.newest is None:
            return f"{said}, and none has any: 'stockbatch fetch' says why"
        if self.was_run:
            return f"{said}; nothing has come since {self.newest}, which was run"
        return (
            f"{said}; the newest is of {self.newest}:"
            f" 'stockbatch run --session {self.newest}' or 'backtest'"
        )


def newest(db: Session) -> list[Completeness]:
    """Return how complete the bars of the newest session that was run are, by exchange."""
    return _asked(db, _NEWEST)


def of_session(db: Session, calendar: str, session: date) -> Completeness | None:
    """Return how complete the bars of a session are, None where no ticker is due."""
    found = _asked(db, _ONE, calendar=calendar, session=session)
    return found[0] if found else None


def shortfalls(db: Session) -> list[Completeness]:
    """Return the exchanges whose newest run is finished, though too few of its bars are there."""
    return [one for one in newest(db) if one.is_finished and not one.is_enough]


def _asked(db: Session, run: str, **which: Any) -> list[Completeness]:
    found = ask(db, _COMPLETENESS.format(run=run), lately=LATELY, **which)
    return [Completeness(**row) for row in found.rows()]
