"""The daily job of one exchange and session: fetch, score, forecast, sum up."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version
from typing import TypedDict, Unpack
from uuid import uuid4

from jobs.app import App
from jobs.fetch_bars import fetch_bars
from jobs.hold_forecasts import hold_forecasts
from jobs.make_forecasts import make_forecasts
from jobs.score_forecasts import score_forecasts
from jobs.update_metrics import update_metrics
from stockbatch import sessions
from stockbatch.exceptions import RunSuperseded, SessionNotClosed, StockbatchError
from stockbatch.records import Instrument, Outcome, Reason, Run
from stockbatch.sessions import TradingCalendar
from stockbatch.store import calendar as calendar_store
from stockbatch.store import instruments as instrument_store
from stockbatch.store import runs

log = logging.getLogger(__name__)

AHEAD = timedelta(days=30)
"""How far beyond the run's session the dimension of sessions reaches."""
NAMED = 10
"""Tickers named of those that have the same problem."""


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
            work = _Work(
                calendar=calendar,
                session=session,
                watched=chosen,
                todo=todo,
                provider=provider,
                retrain=retrain,
            )
            _run(app, work)
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
        return "\n".join([*lines, *(f"{_some(of)}: {why}" for why, of in by_reason.items())])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a run is to do: `todo` of the tickers `watched`, whose bars of the session are due."""

    calendar: TradingCalendar
    session: date
    watched: Sequence[Instrument]
    todo: Sequence[Instrument]
    provider: str | None
    retrain: bool


def _run(app: App, work: _Work) -> None:
    calendar, session = work.calendar, work.session
    with app.transaction() as db:
        before = runs.finished(db, calendar.code, session)
        run = runs.open_run(
            db,
            calendar.code,
            session,
            trigger="manual",
            reprocess=work.retrain,
            code_version=version("stockbatch"),
            engine_hash=app.settings.engine_hash(),
        )
        calendar_store.extend(db, calendar, sessions.FIRST_DAY, session + AHEAD)
    try:
        done = _steps(app, run, work, again=before is not None and not work.retrain)
        with app.transaction() as db:
            if before is None or done:
                runs.close_run(db, run)
            else:
                runs.leave_as_it_was(db, run, before)
    except RunSuperseded:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, StockbatchError) else repr(error)
        with app.transaction() as db:
            runs.close_run(db, run, failure=reason)
        raise


def _steps(app: App, run: Run, work: _Work, *, again: bool) -> bool:
    """Return False where a run tried `again` still lacks what it lacked: then nothing is done."""
    name, calendar, instruments = f"{run.calendar} {run.session}", work.calendar, work.todo
    app.on_event("fetch")
    problems = fetch_bars(app, run, calendar, instruments, provider=work.provider)
    log.info("%s: bars fetched, %d problems", name, len(problems))
    if again and _as_before(app, run, instruments, problems):
        return False
    app.on_event("score")
    scored = score_forecasts(app, run, calendar, instruments)
    log.info("%s: %d forecasts scored", name, scored)
    app.on_event("forecast")
    if not hold_forecasts(app, run, calendar, work.watched, instruments, problems):
        make_forecasts(app, run, calendar, instruments, problems, retrain=work.retrain)
        log.info("%s: forecasts made for %d tickers", name, len(instruments))
    app.on_event("metrics")
    update_metrics(app, run, calendar)
    app.on_event("finish")
    return True


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
