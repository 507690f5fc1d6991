"""The daily job of one exchange and session: fetch, score, forecast, sum up."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import TypedDict, Unpack

from jobs import telemetry, workers
from jobs.app import App
from jobs.daily.choice import closed_session
from jobs.daily.confirm import confirm_jumps
from jobs.daily.fetch import fetch_bars
from jobs.daily.forecast import make_forecasts
from jobs.daily.hold import hold_forecasts
from jobs.daily.ledger import carry_out
from jobs.daily.metrics import update_metrics
from jobs.daily.risk import tell_risk
from jobs.daily.score import score_forecasts
from jobs.isolation import is_of_a_ticker, isolate, told
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import Instrument, Outcome, Reason, Run, Trigger
from stockbatch.store import archives, runs
from stockbatch.store import instruments as instrument_store
from stockbatch.text import counted

log = logging.getLogger(__name__)


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
        total = counted(len(self.outcomes), "outcome")
        return f"{self.calendar} {self.session} {done}: {total}: {what}"


class RunOptions(TypedDict, total=False):
    """What a run may be told beside its session."""

    tickers: Sequence[str] | None
    """Only these; by default all that are due."""
    provider: str | None
    """Fetch from here in place of the instruments' own providers."""
    retrain: bool
    """Train every ticker, however fresh its model is."""
    reprocess: bool
    """Work on all of them once more, however finished they are."""
    trigger: Trigger
    """What is recorded as the beginning of a new run: `manual`, or what the daemon says."""
    active_before: datetime | None
    """Only what was on the watchlist by then."""


def run_session(
    app: App,
    calendar_code: str,
    session: date | None = None,
    **options: Unpack[RunOptions],
) -> Summary:
    """Run the job for `session`, by default the last one closed; nothing later is read.

    What is finished is left alone, unless `retrain` or `reprocess` asks for a new attempt. Raises
    NotASession, SessionNotClosed, SessionArchived, UnknownInstrument, UnknownProvider,
    NoInstruments, RunInProgress, MissingExtra.
    """
    workers.require(app.settings)
    provider, retrain = options.get("provider"), options.get("retrain", False)
    again = retrain or options.get("reprocess", False)
    if provider:
        app.provider(provider)  # a wrong one is told before anything is written
    calendar, session = closed_session(app, calendar_code, session)
    with app.exclusive(calendar.code):
        with app.transaction() as db:
            chosen = instrument_store.work_list(
                db, calendar.code, options.get("tickers"), options.get("active_before")
            )
            todo = chosen if again else runs.unfinished(db, chosen, session)
            interrupted = runs.is_interrupted(db, calendar.code, session)
        # A run may have been killed after its last outcome: nothing is left to do but to end it.
        if todo or interrupted:
            with app.transaction() as db:
                archives.require_kept(db, calendar.code, chosen, calendar.next(session))
            job = _DailyJob(
                calendar=calendar, watched=chosen, todo=todo, provider=provider, retrain=retrain
            )
            steps = partial(_take_steps, app, job)
            trigger = options.get("trigger", Trigger.MANUAL)
            carry_out(app, calendar, session, steps, trigger=trigger, reprocess=again)
        with app.transaction() as db:
            outcomes = runs.final_outcomes(db, chosen, session)
    return Summary(
        calendar=calendar.code,
        session=session,
        done_before=not (todo or interrupted),
        outcomes=tuple(outcomes.values()),
    )


def run_sessions(
    app: App, calendar_code: str, first: date, last: date, **options: Unpack[RunOptions]
) -> Iterator[Summary]:
    """Run the job for every session from `first` to `last`, oldest first."""
    calendar = sessions.load(calendar_code, app.clock().date())
    for session in calendar.between(first, last):
        yield run_session(app, calendar_code, sessions.as_date(session), **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DailyJob:
    """What a run is to do: `todo` of the tickers `watched`, whose bars of the session are due."""

    calendar: TradingCalendar
    watched: Sequence[Instrument]
    todo: Sequence[Instrument]
    provider: str | None
    retrain: bool


def _take_steps(app: App, job: _DailyJob, run: Run) -> bool:
    """Return False where a finished run still lacks what it lacked: then nothing is done."""
    name, calendar, instruments = f"{run.calendar} {run.session}", job.calendar, job.todo
    with _step(app, run, "fetch"):
        problems = fetch_bars(app, run, calendar, instruments, provider=job.provider)
        log.info("%s: bars fetched, %d problems", name, len(problems))
    # Waiting for bars is asked every night; without this each night would be another end of the
    # run.
    if run.before is not None and _as_before(app, run, instruments, problems):
        return False
    if job.provider is None:  # else it stands in for the fallbacks too
        with _step(app, run, "confirm"):
            confirmed: list[int] = []
            isolate(
                f"{name} confirm",
                lambda part: confirmed.append(confirm_jumps(app, run, calendar, part)),
                [instruments],
            )
            if any(confirmed):
                log.info("%s: %d jumps confirmed", name, sum(confirmed))
    with _step(app, run, "score"):
        scored: list[int] = []
        unscored = isolate(
            f"{name} score",
            lambda part: scored.append(score_forecasts(app, run, calendar, part)),
            [instruments],
        )
        log.info("%s: %d forecasts scored", name, sum(scored))
    failures = {id_: f"not scored: {told(error)}" for id_, error in unscored.items()}
    with workers.opened(app) as shared:
        with _step(app, run, "forecast"):
            if not hold_forecasts(app, run, calendar, job.watched, instruments, problems):
                make_forecasts(
                    app,
                    run,
                    calendar,
                    instruments,
                    problems,
                    failures=failures,
                    retrain=job.retrain,
                    shared=shared,
                )
                log.info("%s: forecasts made for %d tickers", name, len(instruments))
        with _step(app, run, "risk"):
            _tell_risk(app, run, calendar, name)
        with _step(app, run, "metrics"):
            update_metrics(app, run, calendar, shared)
    return True


def _tell_risk(app: App, run: Run, calendar: TradingCalendar, name: str) -> None:
    """Tell risk; where numbers that nobody thought of spoil it, the run goes on without."""
    try:
        count = tell_risk(app, run, calendar)
        log.info("%s: risk told of %d tickers, groups and portfolios", name, count)
    except Exception as error:
        if not is_of_a_ticker(error):
            raise
        log.warning("%s risk: %s; none is told", name, told(error))


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
