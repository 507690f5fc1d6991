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
    """How much is known of what is to come."""

    answered_at: datetime | None
    """When any source last answered; None: none ever has."""
    tickers: int
    """On the watchlist, demo tickers aside."""
    known: int
    """Of these, those of whose next report somebody has stated the date."""
    problems: int
    """Tickers that a source did not answer for last."""
    problem: str | None
    """What was wrong with one of them."""


# What is only projected is nobody's word. Demo tickers have no reports.
_FRESHNESS = text("""
WITH watched AS (
    SELECT id FROM stockbatch.instruments WHERE active AND NOT demo
), asked AS (
    SELECT r.* FROM stockbatch.event_refreshes AS r JOIN watched ON watched.id = r.instrument_id
    WHERE r.source = ANY(:sources)
)
SELECT
    (SELECT max(answered_at) FROM asked) AS answered_at,
    (SELECT count(*) FROM watched) AS tickers,
    (
        SELECT count(DISTINCT e.instrument_id)
        FROM stockbatch.events AS e JOIN watched ON watched.id = e.instrument_id
        WHERE e.kind = 'earnings' AND e.date >= :today AND e.withdrawn_at IS NULL
            AND NOT e.projected
    ) AS known,
    (SELECT count(DISTINCT instrument_id) FROM asked WHERE problem IS NOT NULL) AS problems,
    (
        SELECT problem FROM asked WHERE problem IS NOT NULL
        ORDER BY asked_at DESC, instrument_id LIMIT 1
    ) AS problem
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


def freshness(db: Session, sources: Sequence[str], today: date) -> Freshness:
    """Return how much is known of reports from `today` on, and how `sources` did last."""
    found = db.execute(_FRESHNESS, {"sources": list(sources), "today": today}).mappings().one()
    return Freshness(**found)
