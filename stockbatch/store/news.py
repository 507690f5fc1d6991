"""News of tickers, kept with when each item could be known; what a session knew of them.

A row never changes but for a first score. An item counts once per ticker, whoever brings it.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import NewsRow
from stockbatch.market import news as known
from stockbatch.market import reports
from stockbatch.market import sessions as trading
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Instrument, News, NewsItem, Sessions
from stockbatch.store import runs
from stockbatch.store.bulk import days, matrix, rows_of
from stockbatch.store.text import storable
from stockbatch.text import plain

LONGEST_TITLE, LONGEST_URL = 500, 2000
"""Characters; the table refuses more."""
BATCH = 1000
"""Rows written, or titles scored, at once."""


class Recorded(NamedTuple):
    """How many items were new, known already, or beyond the calendar of their ticker."""

    new: int
    same: int
    outside: int


def record(
    db: Session,
    instruments: Sequence[Instrument],
    items: Iterable[NewsItem],
    seen_at: datetime,
    *,
    history: bool = False,
) -> Recorded:
    """Keep news of `instruments`, whose tickers are the symbols of `items`, as seen at `seen_at`.

    What is published later than that is dated then. Of an item that is there already nothing
    changes: the first score stays. With `history`, what was over when it was seen, because its
    session's forecasts were due before, is assumed to have been known since it was published.
    """
    calendars = {i.calendar: trading.load(i.calendar, seen_at.date()) for i in instruments}
    named = {i.ticker: (i.id, calendars[i.calendar]) for i in instruments}
    rows, outside = list[dict[str, object]](), 0
    for item in items:
        id_, calendar = named[item.symbol]
        published_at = min(item.published_at, seen_at)
        if not calendar.holds(published_at.date()):
            outside += 1
            continue
        rows.append({"instrument_id": id_} | _row(item, calendar, published_at, seen_at, history))
    new = 0
    for first in range(0, len(rows), BATCH):
        statement = insert(NewsRow).on_conflict_do_nothing().returning(NewsRow.id)
        new += len(db.scalars(statement, rows[first : first + BATCH]).all())
    return Recorded(new=new, same=len(rows) - new, outside=outside)


def _row(
    item: NewsItem,
    calendar: TradingCalendar,
    published_at: datetime,
    seen_at: datetime,
    history: bool,
) -> dict[str, object]:
    title = storable(plain(item.title, LONGEST_TITLE))
    url = _url(item.url)
    # As its source dates it: what is ahead of now would else be another item at each import.
    named = url or f"{item.published_at.isoformat()} {title}"
    session = calendar.closing_after(published_at)
    return {
        "published_at": published_at,
        "session": session,
        "seen_at": seen_at,
        "assumed": history and calendar.deadline(calendar.next(session)) <= seen_at,
        "source": storable(plain(item.source, LONGEST_TITLE)),
        "title": title,
        "url": url,
        "url_hash": hashlib.sha256(named.encode()).hexdigest(),
        "relevance": item.relevance,
        "score": item.score,
        "scored_by": item.scored_by if item.score is not None else None,
    }


def _url(url: str | None) -> str | None:
    """Return an address that a browser may be sent to; None for whatever else it is."""
    if url is None or len(url) > LONGEST_URL or not url.isascii() or not url.isprintable():
        return None
    return url if url.startswith(("http://", "https://")) and " " not in url else None


Scores = Callable[[Sequence[str]], Sequence[float]]
"""Returns how titles sound, -1 to 1 each."""


def score(db: Session, name: str, scores: Scores) -> int:
    """Give items without a score one by the scorer `name`; return how many."""
    query = select(NewsRow.id, NewsRow.title).where(NewsRow.score.is_(None)).order_by(NewsRow.id)
    lacking = db.execute(query).all()
    for first in range(0, len(lacking), BATCH):
        batch = lacking[first : first + BATCH]
        found = scores([row.title for row in batch])
        given = [
            {"id": row.id, "score": min(1.0, max(-1.0, float(one))), "scored_by": name}
            for row, one in zip(batch, found, strict=True)
        ]
        db.execute(update(NewsRow), given)
    return len(lacking)


def unscored(db: Session) -> int:
    """Return how many items have no score."""
    return db.scalar(select(func.count()).where(NewsRow.score.is_(None))) or 0


# ---- what each session knew


_NEWS = """
SELECT instrument_id, session - date '1970-01-01' AS day, assumed::int AS assumed,
    extract(epoch FROM seen_at) AS seen_at, score
FROM stockbatch.news
WHERE instrument_id = ANY(%(ids)s) AND session BETWEEN %(first)s AND %(last)s
    AND extract(epoch FROM recorded_at) < %(gate)s
"""


def load(
    db: Session,
    instruments: Sequence[Instrument],
    sessions: Sessions,
    calendar: TradingCalendar,
    *,
    as_run: bool = True,
) -> News:
    """Return what `sessions` knew of the news of `instruments`, shape (tickers, sessions).

    Each knew what was published by its close and seen before the deadline of its forecasts and
    before its first run began; of history, all that was published. Where the last session has a
    run, nothing counts that came into the database after that began, so that a replay sees what
    the run saw; a backtest, which is none, says `as_run=False`.
    """
    first, last = sessions[0].item(), sessions[-1].item()
    begun, begun_at = runs.first_begun(db, calendar.code, first, last)
    _, cuts = reports.cuts(calendar, sessions, begun, begun_at)
    own = begun_at[begun == sessions[-1]]
    gate = float(own[0]) if as_run and len(own) else float("inf")
    ids = [instrument.id for instrument in instruments]
    found = matrix(db, _NEWS, {"ids": ids, "first": first, "last": last, "gate": gate})
    items = known.Items(
        row=rows_of(ids, found[:, 0].astype(np.int64)),
        session=days(found[:, 1]),
        assumed=found[:, 2] == 1,
        seen_at=found[:, 3],
        score=found[:, 4],
    )
    return known.counted(items, sessions, cuts, len(ids))
