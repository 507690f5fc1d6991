"""The ledger of runs and their outcomes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Engine, func, insert, select, text, update
from sqlalchemy.orm import Session

from stockbatch.database.tables import OutcomeRow, RunRow
from stockbatch.exceptions import RunInProgress, RunSuperseded
from stockbatch.records import (
    Action,
    Floats,
    Instrument,
    Outcome,
    Reason,
    Run,
    RunStatus,
    Sessions,
    Trigger,
)
from stockbatch.store import lease
from stockbatch.store.bulk import among, days, matrix
from stockbatch.store.lease import Lease
from stockbatch.store.text import storable

UNFINISHED = frozenset({RunStatus.RUNNING, RunStatus.FAILED, RunStatus.STOPPED})
"""Statuses of runs that have to be resumed."""
RETRIED = frozenset(
    {
        Reason.NO_BAR,
        Reason.FETCH_FAILED,
        Reason.RATE_LIMITED,
        Reason.BAR_REFUSED,
        Reason.HELD,
        Reason.SKIPPED,
    }
)
"""Outcomes of what is missing: a later run tries again and replaces them if it can."""

_FIRST_BEGUN = """
SELECT session - date '1970-01-01' AS day, extract(epoch FROM min(started_at)) AS started_at
FROM stockbatch.runs
WHERE calendar = %(calendar)s AND session BETWEEN %(first)s AND %(last)s
GROUP BY session
"""


@contextmanager
def exclusive(
    engine: Engine, calendar: str, waiting: Callable[[], None] = lambda: None
) -> Iterator[Lease]:
    """Be the only process that runs `calendar` in this database. Raises RunInProgress.

    Where another was, but is killed, the end of its lease is waited for, `waiting` meanwhile.
    """
    with lease.hold(engine, f"run {calendar}", waiting) as held:
        if held is None:
            raise RunInProgress(calendar=calendar)
        yield held


def first_begun(db: Session, calendar: str, first: date, last: date) -> tuple[Sessions, Floats]:
    """Return which sessions have runs, and when the first of each began, in seconds since 1970."""
    found = matrix(db, _FIRST_BEGUN, {"calendar": calendar, "first": first, "last": last})
    return days(found[:, 0]), found[:, 1]


def open_run(
    db: Session,
    calendar: str,
    session: date,
    *,
    trigger: Trigger,
    reprocess: bool,
    code_version: str,
    engine_hash: str,
) -> Run:
    """Begin the run of a session, resume it, or, to reprocess a finished one, begin an attempt.

    Once this is committed, a process that held the run before can begin no more to write; whoever
    had begun is waited for by `settle`.
    """
    # Locked: a suspended process that wakes up meanwhile waits here, and finds another owner. Who
    # saves a chunk is not waited for here, where others could begin with theirs for ever.
    last = db.scalars(
        select(RunRow)
        .where(RunRow.calendar == calendar, RunRow.session == session)
        .order_by(RunRow.attempt.desc())
        .limit(1)
        .with_for_update(key_share=True)
    ).first()
    before = None
    # A run that was killed, failed or stopped is resumed as what it is; only one that was finished
    # and is wanted once more becomes another attempt.
    if last is None or (reprocess and last.status == RunStatus.FINISHED):
        run = RunRow(
            calendar=calendar,
            session=session,
            attempt=1 if last is None else last.attempt + 1,
            trigger=trigger,
            status=RunStatus.RUNNING,
            owner=uuid4(),
            code_version=code_version,
            engine_hash=engine_hash,
        )
        db.add(run)
    else:
        run, before = last, _resume(last)
    db.flush()
    return Run(
        id=run.id,
        calendar=calendar,
        session=session,
        attempt=run.attempt,
        owner=run.owner,
        tries=run.tries,
        before=before,
    )


def _resume(run: RunRow) -> dict[str, Any] | None:
    """Take a run over; return what that changed of one that was finished, to be written back."""
    before = None
    if run.status == RunStatus.FINISHED:  # perhaps nothing can be done yet, and it keeps its end
        changed = ("owner", "status", "heartbeat_at", "finished_at", "message")
        before = {column: getattr(run, column) for column in changed}
    # A stop on purpose is nobody's fault: it must not bring a ticker nearer to being left out.
    run.tries += run.status != RunStatus.STOPPED
    run.status, run.owner = RunStatus.RUNNING, uuid4()
    run.finished_at, run.message = None, None
    run.tried_at = func.clock_timestamp()
    return before


_SETTLE = text("SELECT id FROM stockbatch.runs WHERE id = :id FOR UPDATE")
_SHARE = text("""
SELECT id FROM stockbatch.runs
WHERE id = :id AND owner = :owner AND status = :running
FOR KEY SHARE
""")
_LOCK_CHUNK = text("""
SELECT id FROM stockbatch.instruments WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE
""")
_NEWEST_OUTCOME = text("SELECT coalesce(max(id), 0) FROM stockbatch.outcomes")
_DONE_SINCE = text("""
SELECT instrument_id FROM stockbatch.outcomes
WHERE is_final AND session = :session AND id > :since AND instrument_id = ANY(:ids)
""")


def settle(db: Session, run: Run) -> None:
    """Wait for what others had begun to write for the run when it was taken over from them.

    Nobody can begin anew, so that they are soon done: a chunk that is being saved is.
    """
    db.execute(_SETTLE, {"id": run.id})


def share(db: Session, run: Run, instruments: Sequence[Instrument]) -> None:
    """Let this transaction write for these instruments of the run, while others do for others.

    A heartbeat does not wait for it, who takes the run over does. Raises RunSuperseded.
    """
    if run.id is None:
        return
    values = {"id": run.id, "owner": run.owner, "running": RunStatus.RUNNING}
    if db.execute(_SHARE, values).first() is None:
        raise RunSuperseded(run_id=run.id)
    # In one order, so that two of them never wait for each other.
    db.execute(_LOCK_CHUNK, {"ids": [instrument.id for instrument in instruments]})


def newest_outcome(db: Session) -> int:
    """Return the number of the outcome recorded last."""
    return int(db.execute(_NEWEST_OUTCOME).scalar_one())


def done_since(db: Session, run: Run, instruments: Sequence[Instrument], outcome: int) -> set[int]:
    """Return the ids of instruments whose outcome of the session is newer than a number."""
    ids = [instrument.id for instrument in instruments]
    values = {"session": run.session, "since": outcome, "ids": ids}
    return set(db.scalars(_DONE_SINCE, values))


def lock(db: Session, run: Run) -> None:
    """Make this transaction the run's only writer but for `share`. Raises RunSuperseded.

    A backtest, which has no row to lock, is alone by its lease of the calendar.
    """
    if run.id is None:
        return
    held = db.execute(
        update(RunRow)
        .where(RunRow.id == run.id, RunRow.owner == run.owner, RunRow.status == RunStatus.RUNNING)
        .values(heartbeat_at=func.clock_timestamp())
        .returning(RunRow.id)
    ).first()
    if held is None:
        raise RunSuperseded(run_id=run.id)


def close_run(db: Session, run: Run, *, failure: str | None = None) -> None:
    """Count the session's final outcomes and mark the run finished, or failed with its reason."""
    _end_run(db, run, RunStatus.FAILED if failure else RunStatus.FINISHED, failure)


def stop_run(db: Session, run: Run, reason: str) -> None:
    """Mark a run as stopped on purpose: it is resumed, and its try does not count."""
    _end_run(db, run, RunStatus.STOPPED, reason)


def skip_run(db: Session, run: Run, instruments: Sequence[Instrument], reason: str) -> None:
    """Give every instrument without an outcome the outcome `skipped`, and end the run as that."""
    known = final_outcomes(db, instruments, run.session)
    skipped = [
        Outcome(instrument_id=i.id, action=Action.NONE, reason=Reason.SKIPPED, message=reason)
        for i in instruments
        if i.id not in known
    ]
    lock(db, run)
    add_outcomes(db, run, instruments, skipped)
    _end_run(db, run, RunStatus.SKIPPED, reason)


_COUNTS = text("""
SELECT o.action, count(*) AS tickers
FROM stockbatch.outcomes AS o JOIN stockbatch.instruments AS i ON i.id = o.instrument_id
WHERE o.is_final AND o.session = :session AND i.calendar = :calendar
GROUP BY o.action
""")


def _end_run(db: Session, run: Run, status: RunStatus, message: str | None) -> None:
    lock(db, run)
    # Outcomes are of the session, not of the run: what earlier runs of it did is counted, too.
    found = db.execute(_COUNTS, {"session": run.session, "calendar": run.calendar})
    counts = dict.fromkeys(Action, 0) | {Action(row.action): row.tickers for row in found}
    db.execute(
        update(RunRow)
        .where(RunRow.id == run.id)
        .values(
            **{str(action): tickers for action, tickers in counts.items()},
            instruments=sum(counts.values()),
            status=status,
            message=message if message is None else storable(message),
            finished_at=func.clock_timestamp(),
        )
    )


def leave_as_it_was(db: Session, run: Run) -> None:
    """Undo the opening of a finished run that found nothing to do, so that it keeps its end."""
    if run.before is None:
        raise ValueError(f"run {run.id} was not finished before")
    lock(db, run)
    db.execute(update(RunRow).where(RunRow.id == run.id).values(**run.before))


def is_interrupted(db: Session, calendar: str, session: date) -> bool:
    """Tell whether the last run of `session` began and did not finish."""
    status = db.scalar(
        select(RunRow.status)
        .where(RunRow.calendar == calendar, RunRow.session == session)
        .order_by(RunRow.attempt.desc())
        .limit(1)
    )
    return status in UNFINISHED


def last_session(db: Session, calendar: str) -> date | None:
    """Return the newest session that a run of `calendar` was for."""
    # A run from a time that is yet to come is that of a clock that was ahead.
    begun = (RunRow.calendar == calendar) & (RunRow.tried_at <= func.clock_timestamp())
    return db.scalar(select(func.max(RunRow.session)).where(begun))


class LastTry(NamedTuple):
    """How the newest run of a session stands, and when it was begun last."""

    status: RunStatus
    tries: int
    tried_at: datetime
    message: str | None = None


class Lack(NamedTuple):
    """How many instruments have no outcome of a session, and how many wait for its bar."""

    missing: int
    waiting: int


# Only the newest attempt tells how a session stands: it begins where the one before was finished.
_LAST_TRIES = text("""
SELECT DISTINCT ON (session) session, status, tries, tried_at, message
FROM stockbatch.runs
WHERE calendar = :calendar AND session >= :first
ORDER BY session, attempt DESC
""")


def last_tries(db: Session, calendar: str, first: date) -> dict[date, LastTry]:
    """Return the state of the newest run of every session from `first` on that has one."""
    rows = db.execute(_LAST_TRIES, {"calendar": calendar, "first": first})
    return {
        row.session: LastTry(RunStatus(row.status), row.tries, row.tried_at, row.message)
        for row in rows
    }


# Whoever runs an exchange holds its lease: a run that nobody holds has no process any more.
_HISTORY = text("""
SELECT id, calendar, session, attempt, trigger,
    CASE WHEN status = 'running' AND NOT EXISTS (
        SELECT FROM stockbatch.leases
        WHERE name = 'run ' || calendar AND expires_at > clock_timestamp()
    ) THEN 'interrupted' ELSE status END AS status, started_at, finished_at, tries,
    instruments, trained, reused, base, naive, none, message
FROM stockbatch.runs
WHERE cast(:id AS bigint) IS NULL OR id = :id
ORDER BY tried_at DESC, id DESC LIMIT :limit
""")
# Outcomes are of sessions, so that what an earlier run of the same session did is told, too.
_REASONS = text("""
SELECT o.action, o.reason, count(*) AS tickers, min(i.ticker) AS first_ticker,
    min(nullif(o.message, '')) AS message
FROM stockbatch.runs AS r
JOIN stockbatch.instruments AS i ON i.calendar = r.calendar
JOIN stockbatch.outcomes AS o ON o.instrument_id = i.id AND o.session = r.session AND o.is_final
WHERE r.id = :id
GROUP BY o.action, o.reason ORDER BY tickers DESC, o.action, o.reason
""")


def history(db: Session, limit: int, run_id: int | None = None) -> list[dict[str, Any]]:
    """Return the runs begun last, or the one asked for.

    The status of one that was killed, which the next run of its session takes over, is
    `interrupted`.
    """
    rows = db.execute(_HISTORY, {"limit": limit, "id": run_id})
    return [dict(row) for row in rows.mappings()]


def reasons(db: Session, run_id: int) -> list[dict[str, Any]]:
    """Return one row per action and reason of the final outcomes of a run's session."""
    return [dict(row) for row in db.execute(_REASONS, {"id": run_id}).mappings()]


# Whoever came on the watchlist after a session's instant owes that session nothing.
_LACKS = text("""
SELECT s.session,
    count(*) FILTER (WHERE o.id IS NULL) AS missing,
    count(*) FILTER (WHERE o.reason = ANY(:retried)) AS waiting
FROM unnest(cast(:sessions AS date[]), cast(:instants AS timestamptz[])) AS s (session, instant)
JOIN stockbatch.instruments AS i
    ON i.calendar = :calendar AND i.active AND NOT i.demo AND i.active_since < s.instant
LEFT JOIN stockbatch.outcomes AS o
    ON o.instrument_id = i.id AND o.session = s.session AND o.is_final
GROUP BY s.session
""")


def lacks(
    db: Session, calendar: str, sessions: Sequence[date], instants: Sequence[datetime]
) -> dict[date, Lack]:
    """Return what is left to do in `sessions` for the instruments active before the `instants`."""
    parameters = {
        "calendar": calendar,
        "sessions": list(sessions),
        "instants": list(instants),
        "retried": [str(reason) for reason in RETRIED],
    }
    return {row.session: Lack(row.missing, row.waiting) for row in db.execute(_LACKS, parameters)}


def final_outcomes(
    db: Session, instruments: Sequence[Instrument], session: date
) -> dict[int, Outcome]:
    """Return the final outcome of `session` by instrument id, where there is one."""
    rows = db.scalars(
        select(OutcomeRow).where(
            OutcomeRow.is_final,
            OutcomeRow.session == session,
            among(OutcomeRow.instrument_id, [instrument.id for instrument in instruments]),
        )
    )
    return {
        row.instrument_id: Outcome(
            instrument_id=row.instrument_id,
            action=Action(row.action),
            reason=Reason(row.reason),
            message=row.message,
            seconds=row.seconds,
        )
        for row in rows
    }


def unfinished(db: Session, instruments: Sequence[Instrument], session: date) -> list[Instrument]:
    """Return the instruments that `session` still has to be worked on for."""
    known = final_outcomes(db, instruments, session)
    return [i for i in instruments if i.id not in known or known[i.id].reason in RETRIED]


def add_outcomes(
    db: Session, run: Run, instruments: Sequence[Instrument], outcomes: Sequence[Outcome]
) -> None:
    """Make `outcomes` the final ones of the run's session; a try that changes nothing is no row."""
    known = final_outcomes(db, instruments, run.session)
    # What waits for a bar is tried every night: the same reason again would be a row a night.
    fresh = [
        outcome
        for outcome in outcomes
        if (before := known.get(outcome.instrument_id)) is None
        or (before.action, before.reason) != (outcome.action, outcome.reason)
        or outcome.reason not in RETRIED
    ]
    if not fresh:
        return
    # The database numbers the tries and lets the newest be final: nobody else may.
    db.execute(
        insert(OutcomeRow),
        [
            {
                "instrument_id": outcome.instrument_id,
                "session": run.session,
                "run_id": run.id,
                "action": outcome.action,
                "reason": outcome.reason,
                "message": storable(outcome.message),
                "seconds": outcome.seconds,
            }
            for outcome in fresh
        ],
    )
