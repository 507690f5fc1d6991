"""A run in the ledger: opened or resumed, and ended as finished, stopped, failed or skipped."""

import logging
from collections.abc import Callable
from datetime import date, timedelta
from importlib.metadata import version

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from structlog.contextvars import bound_contextvars

from jobs.app import App
from jobs.isolation import told
from stockbatch.exceptions import DatabaseError, LockLost, RunStopped, RunSuperseded
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Run, Trigger
from stockbatch.store import calendar as calendar_store
from stockbatch.store import instruments, runs
from stockbatch.text import counted

log = logging.getLogger(__name__)

AHEAD = timedelta(days=30)
"""How far beyond the run's session the dimension of sessions reaches."""


def carry_out(
    app: App,
    calendar: TradingCalendar,
    session: date,
    steps: Callable[[Run], bool],
    *,
    trigger: Trigger,
    reprocess: bool = False,
) -> None:
    """Open or resume the run of a session and take `steps`; then it is finished, stopped or failed.

    The calendar is this process's alone. Where `steps` return False, nothing was done, and a run
    that was finished before keeps its end.
    """
    app.on_event("open")
    with app.transaction() as db:
        run = _open(app, db, calendar, session, trigger, reprocess=reprocess)
    try:
        with app.transaction() as db:
            runs.settle(db, run)
        with bound_contextvars(run_id=run.id):
            done = steps(run)
        app.on_event("finish")
        with app.transaction() as db:
            if done:
                runs.close_run(db, run)
            else:
                runs.leave_as_it_was(db, run)
    except (RunSuperseded, LockLost):  # it is nobody's to end, or another's
        raise
    except Exception as error:
        _record(app, run, error)
        raise


def _open(
    app: App,
    db: Session,
    calendar: TradingCalendar,
    session: date,
    trigger: Trigger,
    *,
    reprocess: bool = False,
) -> Run:
    calendar_store.extend(db, calendar, sessions.FIRST_DAY, session + AHEAD)
    return runs.open_run(
        db,
        calendar.code,
        session,
        trigger=trigger,
        reprocess=reprocess,
        code_version=version("stockbatch"),
        engine_hash=app.settings.engine_hash(),
    )


def _record(app: App, run: Run, error: Exception) -> None:
    """Record why a run ended early; where the database cannot, the run looks like a killed one."""
    reason = told(error)
    try:
        with app.transaction() as db:
            if isinstance(error, RunStopped):
                runs.stop_run(db, run, reason)
            else:
                runs.close_run(db, run, failure=reason)
    except (DatabaseError, DBAPIError) as unrecorded:
        name = f"{run.calendar} {run.session}"
        log.warning("%s: its failure (%s) cannot be recorded: %s", name, reason, unrecorded)


def skip_session(app: App, calendar_code: str, session: date) -> None:
    """Record that a session is too old to be caught up. Raises RunInProgress, ClocksApart.

    By a clock that was ahead without the database's this is wrong, and undone when it comes.
    """
    app.require_one_time()
    calendar = sessions.load(calendar_code, app.clock().date())
    deadline = calendar.deadline_from(session)
    caught_up = counted(app.settings.catch_up_sessions, "session")
    reason = f"older than what is caught up: {caught_up}"
    with app.exclusive(calendar.code), app.transaction() as db:
        chosen = instruments.active(db, calendar.code, deadline)
        run = _open(app, db, calendar, session, Trigger.CATCH_UP)
        runs.skip_run(db, run, [i for i in chosen if not i.demo], reason)
