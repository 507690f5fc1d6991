"""The daily job of one exchange and session: fetch, score, forecast, sum up."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version
from typing import TypedDict, Unpack

from structlog.contextvars import bound_contextvars

from jobs import monitoring
from jobs.app import App
from jobs.fetch_bars import fetch_bars
from jobs.make_forecasts import make_forecasts
from jobs.score_forecasts import score_forecasts
from jobs.update_metrics import update_metrics
from stockbatch import sessions
from stockbatch.exceptions import RunSuperseded, SessionNotClosed, StockbatchError
from stockbatch.records import Instrument, Outcome, Run
from stockbatch.sessions import TradingCalendar
from stockbatch.store import calendar as calendar_store
from stockbatch.store import instruments as instrument_store
from stockbatch.store import runs

log = logging.getLogger(__name__)

AHEAD = timedelta(days=30)
"""How far beyond the run's session the dimension of sessions reaches."""


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


def run_session(
    app: App,
    calendar_code: str,
    session: date | None = None,
    **options: Unpack[Options],
) -> Summary:
    """Run the job for `session`, by default the last one closed; nothing later is read.

    What is finished is left alone, unless `retrain` asks for a new attempt. Raises NotASession,
    SessionNotClosed, UnknownInstrument, UnknownProvider, NoInstruments, RunInProgress.
    """
    tickers, retrain = options.get("tickers"), options.get("retrain", False)
    provider = options.get("provider")
    if provider:
        app.provider(provider)
    calendar, session = _closed_session(app, calendar_code, session)
    with runs.exclusive(app.engine, calendar.code):
        with app.transaction() as db:
            chosen = instrument_store.work_list(db, calendar.code, tickers)
            todo = chosen if retrain else runs.unfinished(db, chosen, session)
            interrupted = runs.is_interrupted(db, calendar.code, session)
        if todo or interrupted:
            _run(app, calendar, session, todo, provider, retrain=retrain)
        with app.transaction() as db:
            outcomes = runs.final_outcomes(db, chosen, session)
    return Summary(
        calendar=calendar.code,
        session=session,
        done_before=not (todo or interrupted),
        outcomes=tuple(outcomes.values()),
    )


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
        delay = timedelta(minutes=app.settings.close_delay_minutes)
        return calendar, calendar.last_closed(now, delay)
    calendar.require(session)
    close = calendar.close(session)
    if close > now:
        raise SessionNotClosed(session=session, calendar=calendar.code, close=close)
    return calendar, session


def _run(
    app: App,
    calendar: TradingCalendar,
    session: date,
    instruments: Sequence[Instrument],
    provider: str | None,
    *,
    retrain: bool,
) -> None:
    with app.transaction() as db:
        run = runs.open_run(
            db,
            calendar.code,
            session,
            trigger="manual",
            reprocess=retrain,
            code_version=version("stockbatch"),
            engine_hash=app.settings.engine_hash(),
        )
        calendar_store.extend(db, calendar, sessions.FIRST_DAY, session + AHEAD)
    try:
        with bound_contextvars(run_id=run.id):
            _steps(app, run, calendar, instruments, provider, retrain=retrain)
    except RunSuperseded:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, StockbatchError) else repr(error)
        with app.transaction() as db:
            runs.close_run(db, run, failure=reason)
        raise


def _steps(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    instruments: Sequence[Instrument],
    provider: str | None,
    *,
    retrain: bool,
) -> None:
    name = f"{run.calendar} {run.session}"
    with _step(app, run, "fetch"):
        problems = fetch_bars(app, run, calendar, instruments, provider=provider)
        log.info("%s: bars fetched, %d problems", name, len(problems))
    with _step(app, run, "score"):
        scored = score_forecasts(app, run, calendar, instruments)
        log.info("%s: %d forecasts scored", name, scored)
    with _step(app, run, "forecast"):
        make_forecasts(app, run, calendar, instruments, problems, retrain=retrain)
        log.info("%s: forecasts made for %d tickers", name, len(instruments))
    with _step(app, run, "metrics"):
        update_metrics(app, run, calendar)
    app.on_event("finish")
    with app.transaction() as db:
        runs.close_run(db, run)


@contextmanager
def _step(app: App, run: Run, name: str) -> Iterator[None]:
    """Tell that a step begins, and how long it took if it succeeds."""
    app.on_event(name)
    with monitoring.STEP_SECONDS.labels(run.calendar, name).time():
        yield
