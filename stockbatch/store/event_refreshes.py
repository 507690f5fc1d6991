"""When sources of events were last asked about which ticker, and how fresh what is known is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import EventRefreshRow
from stockbatch.text import printable


class Last(NamedTuple):
    """What came of asking about one ticker last."""

    asked_at: datetime
    history_at: datetime | None
    waits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of asking a source about one ticker: an answer, its history, a problem."""

    instrument_id: int
    answered: bool
    history: bool = False
    waits: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How a source did when it was last asked about each ticker."""

    source: str
    answered_at: datetime | None
    """When it last answered for any; None: it never has."""
    problems: int
    """Tickers that it did not answer for last, or not wholly."""
    problem: str | None
    """What was wrong with one of them."""


# Demo tickers have no reports; what is only projected is nobody's word.
_KNOWN = text("""
SELECT count(*) FILTER (WHERE EXISTS (
    SELECT FROM stockbatch.events AS e
    WHERE e.instrument_id = i.id AND e.kind = 'earnings' AND e.date >= :today
        AND e.withdrawn_at IS NULL AND NOT e.projected
)) AS known, count(*) AS tickers
FROM stockbatch.instruments AS i WHERE i.active AND NOT i.demo
""")
# One problem stands for all: the newest.
_FRESHNESS = text("""
SELECT r.source, max(r.answered_at) AS answered_at, count(r.problem) AS problems,
    (array_agg(r.problem ORDER BY r.asked_at DESC, r.instrument_id)
        FILTER (WHERE r.problem IS NOT NULL))[1] AS problem
FROM stockbatch.event_refreshes AS r
JOIN stockbatch.instruments AS i ON i.id = r.instrument_id
WHERE r.source = ANY(:sources) AND i.active AND NOT i.demo
GROUP BY r.source
ORDER BY r.source
""")


def last(db: Session, source: str) -> dict[int, Last]:
    """Return what came of asking a source last, by the id of the instrument."""
    row = EventRefreshRow
    query = select(row.instrument_id, row.asked_at, row.history_at, row.waits)
    found = db.execute(query.where(row.source == source))
    return {r.instrument_id: Last(r.asked_at, r.history_at, r.waits) for r in found}


def record(db: Session, source: str, asked: Sequence[Asked], now: datetime) -> None:
    """Note what came of asking a source."""
    rows = [
        {
            "instrument_id": one.instrument_id,
            "source": source,
            "asked_at": now,
            "answered_at": now if one.answered else None,
            "history_at": now if one.history else None,
            "waits": one.waits,
            "problem": one.problem and printable(one.problem),
        }
        for one in asked
    ]
    if not rows:
        return
    statement = insert(EventRefreshRow)
    fresh = statement.excluded
    kept = {
        name: func.coalesce(fresh[name], getattr(EventRefreshRow, name))
        for name in ("answered_at", "history_at")
    }
    changed = {name: fresh[name] for name in ("asked_at", "waits", "problem")}
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["instrument_id", "source"], set_=kept | changed
        ),
        rows,
    )


def known(db: Session, today: date) -> tuple[int, int]:
    """Return of how many tickers the next report, from `today` on, is stated; and of how many."""
    found = db.execute(_KNOWN, {"today": today}).one()
    return found.known, found.tickers


def freshness(db: Session, sources: Sequence[str]) -> list[Freshness]:
    """Return how those of `sources` did that were ever asked."""
    found = db.execute(_FRESHNESS, {"sources": list(sources)}).mappings()
    return [Freshness(**row) for row in found]
