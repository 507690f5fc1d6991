"""Run sessions of the past on request: those never run, those that failed, or all once more."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.agenda import Due
from jobs.daily.run import Summary, run_session
from jobs.isolation import one_by_one
from stockbatch.market import sessions
from stockbatch.records import RunStatus, Trigger
from stockbatch.store import runs
from stockbatch.store.runs import Lack

WHENEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Later than any ticker is put on the watchlist: a backfill handles them all."""


class State(StrEnum):
    """How far a session is."""

    MISSING = "missing"
    FAILED = "failed"
    COMPLETED = "completed"


class Reprocess(StrEnum):
    """What to run beside the sessions that never were."""

    NONE = "none"
    FAILED = "failed"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A session of a backfill, how far it is, and whether it is to be run."""

    calendar: str
    session: date
    state: State
    chosen: bool


def survey(
    app: App, calendar_code: str, first: date, last: date, reprocess: Reprocess
) -> list[Step]:
    """Return every closed session from `first` to `last`, oldest first. Raises UnknownCalendar.

    A session that was skipped counts as never run; one that failed, was interrupted, or lacks bars
    or tickers counts as failed.
    """
    now = app.clock()
    calendar = sessions.load(calendar_code, now.date())
    last = min(last, calendar.last_closed(now))
    days = [sessions.as_date(day) for day in calendar.between(first, last)]
    with app.transaction() as db:
        tries = runs.last_tries(db, calendar.code, first)
        lacks = runs.lacks(db, calendar.code, days, [WHENEVER] * len(days))
    wanted = {State.MISSING}
    if reprocess is not Reprocess.NONE:
        wanted.add(State.FAILED)
    if reprocess is Reprocess.COMPLETED:
        wanted.add(State.COMPLETED)
    steps = []
    for day in days:
        state, (missing, waiting) = State.COMPLETED, lacks.get(day, Lack(0, 0))
        if day not in tries or tries[day].status == RunStatus.SKIPPED:
            state = State.MISSING
        elif tries[day].status in runs.UNFINISHED or missing or waiting:
            state = State.FAILED
        chosen = state in wanted
        steps.append(Step(calendar=calendar.code, session=day, state=state, chosen=chosen))
    return steps


def backfill(app: App, steps: Sequence[Step]) -> Iterator[Summary]:
    """Run the chosen sessions, oldest first. Raises what `run_session` raises."""
    for step in steps:
        if step.chosen:
            # What failed is resumed as it is; only what was finished needs a new attempt.
            again = step.state is State.COMPLETED
            trigger = Trigger.BACKFILL
            yield run_session(app, step.calendar, step.session, trigger=trigger, reprocess=again)


def retry(app: App, calendar_code: str | None = None) -> Iterator[Summary]:
    """Run what is due now without waiting for its time, of one exchange or of all."""
    plan = agenda.plan(agenda.load(app), app.clock(), app.settings)
    with one_by_one() as each:
        for one in _in_order(plan, calendar_code):
            with each():
                yield run_session(
                    app,
                    one.calendar,
                    one.session,
                    trigger=one.trigger,
                    active_before=one.deadline,
                )


def _in_order(plan: agenda.Agenda, calendar_code: str | None) -> list[Due]:
    chosen = [d for d in plan.due + plan.waiting if calendar_code in (None, d.calendar)]
    return sorted(chosen, key=lambda d: (not d.live, d.deadline, d.calendar))
