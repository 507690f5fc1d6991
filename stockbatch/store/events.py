"""What sources state of events, kept with when it could be known; what a session knew of reports.

A row is one source's word for one event and never changes; a date that moves gets another row, and
the one before the instant at which it was seen to hold no longer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, func, insert, or_, select, text, update
from sqlalchemy.orm import Session

from stockbatch.database.tables import EventRow
from stockbatch.market import reports
from stockbatch.market import sessions as trading
from stockbatch.market.events import moved_session
from stockbatch.market.reports import FEW_DAYS, Statements
from stockbatch.market.rhythm import OLDEST, QUARTER
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Event, EventKind, Floats, Instrument, Reports, Sessions, Timing
from stockbatch.store import runs
from stockbatch.store.bulk import days, matrix, rows_of


class Recorded(NamedTuple):
    """How many events were new, stated otherwise than before, stated no longer, or the same."""

    new: int
    changed: int
    withdrawn: int
    same: int


Subject = tuple[int | None, str | None]
"""The id of an instrument, or the code of a calendar."""


def record(
    db: Session,
    instruments: Sequence[Instrument],
    stated: Iterable[Event],
    source: str,
    seen_at: datetime,
    *,
    through: date | None = None,
    watched: bool = False,
) -> Recorded:
    """Keep what `source` states of `instruments`, and of their calendars, as seen at `seen_at`.

    `symbol` of an event is a ticker among them or the code of one's calendar; others are left out,
    and so is what is dated beyond the calendar.
    What it states no longer is withdrawn if it is still ahead and not after `through`, the last day
    of which the source would state all there is; None: it leaves out what it likes.

    What is over when it is first seen counts as known some sessions ahead: it is history. Where the
    source is `watched`, asked again and again, that goes for what was over when it was asked first.
    """
    # Two who record what one source states would each find the other's rows missing.
    db.execute(text("SELECT pg_advisory_xact_lock(hashtext('events ' || :s))"), {"s": source})
    named = _named(instruments, seen_at)
    subjects = dict(named.values())
    now = _by_subject(stated, named)
    before = _stated_before(db, list(subjects), source)
    since = _watched_since(db, list(subjects), source) if watched else {}
    counts = np.zeros(4, int)
    ended: list[int] = []
    added: list[dict[str, object]] = []
    for subject, kind in {**before, **now}:
        calendar = subjects[subject]
        change = _compare(
            before.get((subject, kind), []),
            now.get((subject, kind), []),
            calendar,
            seen_at,
            through,
        )
        counts += change.counts
        ended += change.ended
        history = since.get(subject, seen_at)
        added += [_row(subject, calendar, e, source, seen_at, history) for e in change.added]
    if ended:
        db.execute(
            update(EventRow)
            .where(EventRow.id.in_(ended))
            .values(withdrawn_at=func.greatest(EventRow.known_at, seen_at))
        )
    if added:
        db.execute(insert(EventRow), added)
    return Recorded(*counts.tolist())


def _named(
    instruments: Sequence[Instrument], seen_at: datetime
) -> dict[str, tuple[Subject, TradingCalendar]]:
    """Return what an event may be of, by its name; where a calendar has a ticker's, the ticker."""
    calendars = {i.calendar: trading.load(i.calendar, seen_at.date()) for i in instruments}
    of_calendars = {code: ((None, code), calendar) for code, calendar in calendars.items()}
    return of_calendars | {i.ticker: ((i.id, None), calendars[i.calendar]) for i in instruments}


def _by_subject(
    stated: Iterable[Event], named: Mapping[str, tuple[Subject, TradingCalendar]]
) -> dict[tuple[Subject, str], list[Event]]:
    """Return events by subject and kind, one a day: with an hour rather than without."""
    found: dict[tuple[Subject, str], dict[date, Event]] = defaultdict(dict)
    for event in stated:
        subject, calendar = named.get(event.symbol, (None, None))
        if subject and calendar and calendar.holds(event.date):
            of_kind = found[subject, event.kind]
            other = of_kind.setdefault(event.date, event)
            if other.timing is Timing.UNKNOWN:
                of_kind[event.date] = event
    return {key: list(events.values()) for key, events in found.items()}


class _Stated(NamedTuple):
    """What a source stated before, as far as it matters to whether it now says something else."""

    id: int
    day: date
    timing: str
    session: date
    known_at: datetime
    assumed: bool
    projected: bool


def _stated_before(
    db: Session, subjects: Sequence[Subject], source: str
) -> dict[tuple[Subject, str], list[_Stated]]:
    """Return by subject and kind what a source stated last."""
    e = EventRow
    columns = (e.id, e.day, e.timing, e.session, e.known_at, e.assumed, e.projected)
    rows = db.execute(
        select(e.instrument_id, e.calendar, e.kind, *columns)
        .where(e.source == source, e.withdrawn_at.is_(None), _of(subjects))
        .order_by(e.day)
    )
    found: dict[tuple[Subject, str], list[_Stated]] = defaultdict(list)
    for id_, code, kind, *rest in rows:
        found[(id_, code), kind].append(_Stated(*rest))
    return found


def _watched_since(
    db: Session, subjects: Sequence[Subject], source: str
) -> dict[Subject, datetime]:
    """Return when a source was first seen to state anything of its subjects."""
    e = EventRow
    rows = db.execute(
        select(e.instrument_id, e.calendar, func.min(e.known_at))
        .where(e.source == source, _of(subjects))
        .group_by(e.instrument_id, e.calendar)
    )
    return {(id_, code): known_at for id_, code, known_at in rows}


def _of(subjects: Sequence[Subject]) -> ColumnElement[bool]:
    ids = [id_ for id_, _ in subjects if id_ is not None]
    codes = [code for _, code in subjects if code is not None]
    return or_(EventRow.instrument_id.in_(ids), EventRow.calendar.in_(codes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    ended: list[int]
    added: list[Event]
    counts: tuple[int, int, int, int]


def _compare(
    known: Sequence[_Stated],
    stated: Sequence[Event],
    calendar: TradingCalendar,
    seen_at: datetime,
    through: date | None,
) -> _Change:
    """Compare what a source states of one subject's events with what it stated before."""
    by_date = {row.day: row for row in known}
    fresh = [event for event in stated if event.date not in by_date]
    again = [(event, by_date[event.date]) for event in stated if event.date in by_date]
    told = [(event, row) for event, row in again if _says_more(event, row)]
    ended = [row.id for _, row in told]
    dates = {event.date for event in stated}
    left = [row for row in known if row.day not in dates]
    ahead = {row.id for row in left if calendar.deadline(row.session) > seen_at}
    for event in fresh:
        # What is ahead may move by weeks; what is over is at most put right by a few days.
        weeks = event.date >= seen_at.date()
        apart = {row: abs(row.day - event.date) for row in left}
        near = [r for r in left if apart[r] <= (QUARTER if weeks and r.id in ahead else FEW_DAYS)]
        if near:
            moved = min(near, key=lambda row: apart[row])
            left.remove(moved)
            ended.append(moved.id)
    # A guess that did not come true is nothing to keep.
    waiting = [row for row in left if row.id in ahead or row.projected]
    gone = [row.id for row in waiting if through and row.day <= through]
    changed = len(ended)
    new = len(fresh) + len(told) - changed
    return _Change(
        ended=ended + gone,
        added=[*fresh, *(event for event, _ in told)],
        counts=(new, changed, len(gone), len(again) - len(told)),
    )


def _says_more(event: Event, row: _Stated) -> bool:
    """Tell whether what is stated of a date is another thing than before, or known earlier.

    Who does not know the hour does not deny it.
    """
    hour = event.timing not in (row.timing, Timing.UNKNOWN)
    earlier = event.known_at is not None and (row.assumed or event.known_at < row.known_at)
    return hour or earlier or event.projected != row.projected


def _row(
    subject: Subject,
    calendar: TradingCalendar,
    event: Event,
    source: str,
    seen_at: datetime,
    history: datetime,
) -> dict[str, object]:
    """Return the columns of an event; it is assumed where it was over at the instant `history`."""
    session = moved_session(calendar, event.date, event.timing)
    return {
        "instrument_id": subject[0],
        "calendar": subject[1],
        "kind": event.kind,
        "day": event.date,
        "timing": event.timing,
        "session": session,
        "source": source,
        "known_at": min(event.known_at or seen_at, seen_at),
        "assumed": event.known_at is None and calendar.deadline(session) <= history,
        "projected": event.projected,
    }


def stated_dates(db: Session, instruments: Sequence[Instrument]) -> dict[int, list[date]]:
    """Return the dates of all reports that are stated, by id of the instrument, ascending."""
    e = EventRow
    rows = db.execute(
        select(e.instrument_id, e.day)
        .where(e.kind == EventKind.EARNINGS, ~e.projected, e.withdrawn_at.is_(None))
        .where(e.instrument_id.in_([instrument.id for instrument in instruments]))
        .order_by(e.day)
    )
    found: dict[int, list[date]] = defaultdict(list)
    for id_, day in rows:
        if id_ is not None:
            found[id_].append(day)
    return found


# ---- what each session knew


# A projection is made anew of each session from what that one knew, so that training sees what
# production does; those kept are for people.
_REPORTS = """
SELECT instrument_id, date - date '1970-01-01' AS day, session - date '1970-01-01' AS session,
    (timing = 'unknown')::int AS vague, assumed::int AS assumed,
    extract(epoch FROM known_at) AS known_at,
    extract(epoch FROM coalesce(withdrawn_at, 'infinity')) AS ended_at,
    extract(epoch FROM recorded_at) AS recorded_at
FROM stockbatch.events
WHERE kind = %(kind)s AND NOT projected AND instrument_id = ANY(%(ids)s)
    AND date BETWEEN %(first)s AND %(last)s
"""


def load_reports(
    db: Session,
    instruments: Sequence[Instrument],
    sessions: Sessions,
    calendar: TradingCalendar,
    assumed_sessions: int,
    *,
    as_run: bool = True,
) -> Reports:
    """Return what `sessions` knew of the reports of `instruments`, shape (tickers, sessions).

    Each knew what was seen before the deadline of its forecasts and before its first run began; of
    dates that are assumed, those up to `assumed_sessions` sessions ahead. Where the last session
    has a run, nothing counts that came into the database after that began, so that a replay sees
    what the run saw; a backtest, which is none, says `as_run=False`.
    """
    first, last = sessions[0].item(), sessions[-1].item()
    begun, begun_at = runs.first_begun(db, calendar.code, first, last)
    place, cuts = reports.cuts(calendar, sessions, begun, begun_at)
    own = begun_at[begun == sessions[-1]]
    gate = own[0] if as_run and len(own) else np.inf
    ids = [instrument.id for instrument in instruments]
    # What was a year before tells the rhythm.
    among = {"kind": EventKind.EARNINGS, "ids": ids, "first": first - OLDEST, "last": last + OLDEST}
    found = matrix(db, _REPORTS, among)
    knowledge = reports.Knowledge(
        stated=_statements(found, ids, gate),
        calendar=calendar,
        place=place,
        cuts=cuts,
        reach=assumed_sessions,
    )
    return knowledge.reports(len(ids))


def _statements(found: Floats, ids: Sequence[int], gate: float) -> Statements:
    """Return what had come into the database at the instant `gate`, as it stood then."""
    found = found[found[:, 7] < gate]
    row = rows_of(ids, found[:, 0].astype(np.int64))
    order = np.lexsort((found[:, 1], row))
    found, row = found[order], row[order]
    ended_at = found[:, 6]
    return Statements(
        row=row,
        date=days(found[:, 1]),
        session=days(found[:, 2]),
        vague=found[:, 3] == 1,
        assumed=found[:, 4] == 1,
        known_at=found[:, 5],
        ended_at=np.where(ended_at < gate, ended_at, np.inf),
    )
