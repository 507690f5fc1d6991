"""The daily job of one exchange and session: fetch, score, forecast, sum up."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import TypedDict, Unpack
from uuid import uuid4

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from structlog.contextvars import bound_contextvars

from jobs import telemetry
from jobs.app import App
from jobs.daily.confirm import confirm_jumps
from jobs.daily.fetch import fetch_bars
from jobs.daily.forecast import make_forecasts
from jobs.daily.hold import hold_forecasts
from jobs.daily.metrics import update_metrics
from jobs.daily.score import score_forecasts
from stockbatch.exceptions import (
    DatabaseError,
    RunStopped,
    RunSuperseded,
    SessionNotClosed,
    StockbatchError,
)
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Instrument, Outcome, Reason, Run
from stockbatch.store import calendar as calendar_store
from stockbatch.store import instruments as instrument_store
from stockbatch.store import runs

log = logging.getLogger(__name__)

AHEAD = timedelta(days=30)
"""How far beyond the run's session the dimension of sessions reaches."""
NAMED, SHOWN = 10, 20
"""Tickers named of those that have the same problem, and problems told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of a session; `done_before` means that this call changed nothing."""

    calendar: str
    session: date
    done_before: bool
    outcomes: tuple[Outcome, ...]

    def __str__(self) -> str:
        counts = Counter(f"{o.action} ({o.reason})" for o in self.outcomes)
        what = ", ".join(f"{n} {name}" for name, n in counts.most_common())
        done = "finished already" if self.done_before else "finished"
        return f"{self.calendar} {self.session} {done}: {len(self.outcomes)} outcomes: {what}"


class Options(TypedDict, total=False):
    """What a run may be asked beside its session."""

    tickers: Sequence[str] | None
    """Only these; by default all that are due."""
    provider: str | None
    """Fetch from here in place of the instruments' own providers."""
    retrain: bool
    """Train every ticker, however fresh its model is."""
    reprocess: bool
    """Work on all of them once more, however finished they are."""
    trigger: str
    """What is recorded as the reason of a new run: `manual`, or what the daemon says."""
    active_before: datetime | None
    """Only what was on the watchlist by then."""


def run_session(
    app: App,
    calendar_code: str,
    session: date | None = None,
    **options: Unpack[Options],
) -> Summary:
    """Run the job for `session`, by default the last one closed; nothing later is read.

    What is finished is left alone, unless `retrain` or `reprocess` asks for a new attempt. Raises
    NotASession, SessionNotClosed, UnknownInstrument, UnknownProvider, NoInstruments, RunInProgress.
    """
    provider = options.get("provider")
    again = options.get("retrain", False) or options.get("reprocess", False)
    if provider:
        app.provider(provider)
    calendar, session = _closed_session(app, calendar_code, session)
    with runs.exclusive(app.engine, calendar.code) as require:
        with app.transaction() as db:
            chosen = instrument_store.work_list(
                db, calendar.code, options.get("tickers"), options.get("active_before")
            )
            todo = chosen if again else runs.unfinished(db, chosen, session)
            interrupted = runs.is_interrupted(db, calendar.code, session)
        if todo or interrupted:
            work = _Work(
                calendar=calendar,
                watched=chosen,
                todo=todo,
                provider=provider,
                retrain=options.get("retrain", False),
            )
            trigger = options.get("trigger", "manual")
            steps = partial(_steps, app, work)
            reopen(app, calendar, session, steps, require, trigger=trigger, reprocess=again)
        with app.transaction() as db:
            outcomes = runs.final_outcomes(db, chosen, session)
    return Summary(
        calendar=calendar.code,
        session=session,
        done_before=not (todo or interrupted),
        outcomes=tuple(outcomes.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What fetching alone brought: how many tickers have their bar, and why others have none."""

    calendar: str
    session: date
    tickers: int
    problems: Mapping[str, str]
    """What is wrong, by ticker."""

    def __str__(self) -> str:
        have = self.tickers - len(self.problems)
        lines = [f"{self.calendar} {self.session}: {have} of {self.tickers} tickers have their bar"]
        by_reason: dict[str, list[str]] = {}
        for ticker, why in self.problems.items():
            by_reason.setdefault(why, []).append(ticker)
        lines += [f"{_some(of)}: {why}" for why, of in islice(by_reason.items(), SHOWN)]
        if rest := sum(map(len, islice(by_reason.values(), SHOWN, None))):
            lines.append(f"and {rest} more, each with another problem")
        return "\n".join(lines)


def _some(tickers: Sequence[str]) -> str:
    named, rest = tickers[:NAMED], len(tickers) - NAMED
    return ", ".join(named) + (f" and {rest} more" if rest > 0 else "")


def fetch_session(
    app: App,
    calendar_code: str,
    session: date | None = None,
    *,
    tickers: Sequence[str] | None = None,
    provider: str | None = None,
) -> Fetched:
    """Bring the bars up to `session`, by default the last one closed, and do nothing else.

    Raises what `run_session` raises.
    """
    if provider:
        app.provider(provider)
    calendar, session = _closed_session(app, calendar_code, session)
    nobody = Run(id=None, calendar=calendar.code, session=session, attempt=0, owner=uuid4())
    with runs.exclusive(app.engine, calendar.code):
        with app.transaction() as db:
            chosen = instrument_store.work_list(db, calendar.code, tickers)
        problems = fetch_bars(app, nobody, calendar, chosen, provider=provider)
    named = {i.ticker: problems[i.id].message for i in chosen if i.id in problems}
    return Fetched(calendar=calendar.code, session=session, tickers=len(chosen), problems=named)


def calendars_of(
    app: App,
    calendar_code: str | None,
    tickers: Sequence[str] | None,
    session: date | None = None,
) -> list[str]:
    """Return the calendars to handle: the one named, else those of the tickers, or of all due.

    Of several, those that do not trade on `session` are left out, unless none does.
    """
    if calendar_code is not None:
        return [calendar_code]
    with app.transaction() as db:
        codes = instrument_store.calendars(db, tickers)
    today = app.clock().date()
    trading = [c for c in codes if session is None or sessions.load(c, today).is_session(session)]
    return trading or codes


def skip_session(app: App, calendar_code: str, session: date) -> None:
    """Record that a session is too old to be caught up. Raises RunInProgress."""
    calendar = sessions.load(calendar_code, app.clock().date())
    deadline = calendar.deadline_from(session)
    reason = f"older than the {app.settings.catch_up_sessions} sessions that are caught up"
    with runs.exclusive(app.engine, calendar.code) as require, app.transaction() as db:
        chosen = instrument_store.active(db, calendar.code, deadline)
        run = _open(app, db, calendar, session, require, "catch_up")
        runs.skip_run(db, run, [i for i in chosen if not i.demo], reason)


def run_sessions(
    app: App, calendar_code: str, first: date, last: date, **options: Unpack[Options]
) -> Iterator[Summary]:
    """Run the job for every session from `first` to `last`, oldest first."""
    calendar = sessions.load(calendar_code, app.clock().date())
    for session in calendar.between(first, last):
        yield run_session(app, calendar_code, sessions.as_date(session), **options)


def _closed_session(
    app: App, calendar_code: str, session: date | None
) -> tuple[TradingCalendar, date]:
    now = app.clock()
    calendar = sessions.load(calendar_code, now.date())
    if session is None:
        return calendar, calendar.last_closed(now, app.settings.close_delay(calendar.code))
    calendar.require(session)
    close = calendar.close(session)
    if close > now:
        raise SessionNotClosed(session=session, calendar=calendar.code, close=close)
    return calendar, session


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a run is to do: `todo` of the tickers `watched`, whose bars of the session are due."""

    calendar: TradingCalendar
    watched: Sequence[Instrument]
    todo: Sequence[Instrument]
    provider: str | None
    retrain: bool


def reopen(
    app: App,
    calendar: TradingCalendar,
    session: date,
    steps: Callable[[Run], bool],
    require: Callable[[], None],
    *,
    trigger: str,
    reprocess: bool = False,
) -> None:
    """Open or resume the run of a session and take `steps`; then it is finished, stopped or failed.

    `require` raises where this process is not alone with the calendar any more, so that it cannot
    take a run away from another. Where `steps` return False, nothing was done, and a run that was
    finished before keeps its end.
    """
    app.on_event("open")
    with app.transaction() as db:
        run = _open(app, db, calendar, session, require, trigger, reprocess=reprocess)
    try:
        with bound_contextvars(run_id=run.id):
            done = steps(run)
        app.on_event("finish")
        with app.transaction() as db:
            if done:
                runs.close_run(db, run)
            else:
                runs.leave_as_it_was(db, run)
    except RunSuperseded:
        raise
    except Exception as error:
        _record(app, run, error)
        raise


def _open(
    app: App,
    db: Session,
    calendar: TradingCalendar,
    session: date,
    require: Callable[[], None],
    trigger: str,
    *,
    reprocess: bool = False,
) -> Run:
    calendar_store.extend(db, calendar, sessions.FIRST_DAY, session + AHEAD)
    run = runs.open_run(
        db,
        calendar.code,
        session,
        trigger=trigger,
        reprocess=reprocess,
        code_version=version("stockbatch"),
        engine_hash=app.settings.engine_hash(),
    )
    require()  # only now, with the run's row locked, can nobody else come in between
    return run


def _record(app: App, run: Run, error: Exception) -> None:
    """Record why a run ended early; where the database cannot, the run looks like a killed one."""
    reason = str(error) if isinstance(error, StockbatchError) else repr(error)
    try:
        with app.transaction() as db:
            if isinstance(error, RunStopped):
                runs.stop_run(db, run, reason)
            else:
                runs.close_run(db, run, failure=reason)
    except (DatabaseError, DBAPIError) as unrecorded:
        name = f"{run.calendar} {run.session}"
        log.warning("%s: its failure (%s) cannot be recorded: %s", name, reason, unrecorded)


def _steps(app: App, work: _Work, run: Run) -> bool:
    """Return False where a finished run still lacks what it lacked: then nothing is done."""
    name, calendar, instruments = f"{run.calendar} {run.session}", work.calendar, work.todo
    with _step(app, run, "fetch"):
        problems = fetch_bars(app, run, calendar, instruments, provider=work.provider)
        log.info("%s: bars fetched, %d problems", name, len(problems))
    if run.before is not None and _as_before(app, run, instruments, problems):
        return False
    if work.provider is None:  # else it stands in for the fallbacks too
        with _step(app, run, "confirm"):
            if confirmed := confirm_jumps(app, run, calendar, instruments):
                log.info("%s: %d jumps confirmed", name, confirmed)
    with _step(app, run, "score"):
        scored = score_forecasts(app, run, calendar, instruments)
        log.info("%s: %d forecasts scored", name, scored)
    with _step(app, run, "forecast"):
        if not hold_forecasts(app, run, calendar, work.watched, instruments, problems):
            make_forecasts(app, run, calendar, instruments, problems, retrain=work.retrain)
            log.info("%s: forecasts made for %d tickers", name, len(instruments))
    with _step(app, run, "metrics"):
        update_metrics(app, run, calendar)
    return True


@contextmanager
def _step(app: App, run: Run, name: str) -> Iterator[None]:
    """Tell that a step begins, and how long it took if it succeeds."""
    app.checkpoint()
    app.on_event(name)
    with telemetry.STEP_SECONDS.labels(run.calendar, name).time():
        yield


def _as_before(
    app: App, run: Run, instruments: Sequence[Instrument], problems: Mapping[int, Outcome]
) -> bool:
    """Tell whether every ticker still waits for what it waited for when the run was tried last."""
    with app.transaction() as db:
        known = runs.final_outcomes(db, instruments, run.session)
    return all(
        i.id in known
        and known[i.id].reason is (problems[i.id].reason if i.id in problems else Reason.HELD)
        for i in instruments
    )
