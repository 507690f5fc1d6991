"""Fetch the bars a session still lacks, check them, store what passes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

from sqlalchemy.orm import Session

from jobs.app import App
from jobs.daily.answers import answers, batches, by_provider
from jobs.isolation import isolate, told
from stockbatch.exceptions import (
    ConfigurationError,
    NoData,
    ProviderError,
    RateLimited,
    UnknownTicker,
)
from stockbatch.market import overlap, quality
from stockbatch.market.overlap import Admitted
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.providers.base import BarProvider, identity
from stockbatch.records import (
    Action,
    BarRequest,
    BarState,
    Check,
    FetchedBars,
    Finding,
    Instrument,
    Outcome,
    PriceBasis,
    Reason,
    Run,
    Severity,
    StoredBars,
)
from stockbatch.store import bars as bar_store
from stockbatch.store import instruments as instrument_store
from stockbatch.store import issues, runs

OVERLAP = 10
"""Stored sessions asked for again, so that late corrections are seen."""
STRIKES = 5
"""Sessions without a bar from any provider after which a ticker may be traded no more."""

Problems = dict[int, Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    """One provider in a run, and what is known by their ids of the tickers it feeds."""

    run: Run
    calendar: TradingCalendar
    source: BarProvider
    stored: Mapping[int, StoredBars]
    agreed: Mapping[int, frozenset[tuple[str, str]]]
    provisional: date | None
    """The session whose bar may still change."""


def fetch_bars(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    instruments: Sequence[Instrument],
    *,
    provider: str | None = None,
) -> Problems:
    """Bring the stored bars of `instruments` up to the run's session.

    Where an instrument's provider fails, its fallbacks are asked in their order; `provider` stands
    in for all of them. Return, by instrument id, why there is no bar of that session.
    """
    # Once the exchange has opened again, nobody corrects the bar any more.
    open_again = app.clock() >= calendar.deadline_from(run.session)
    enough = {BarState.FINAL} if open_again else {BarState.FINAL, BarState.PROVISIONAL}
    with app.transaction() as db:
        states = bar_store.states(db, [i.id for i in instruments], run.session)
    asking = [i for i in instruments if states.get(i.id) not in enough]
    lacking, problems, turn = asking, Problems(), 0
    with app.progress() as progress:
        task = progress.add_task("bars", total=len(asking))
        while groups := by_provider(asking, provider, turn):
            for specification, fed in groups:
                found = _ask(
                    app,
                    run,
                    calendar,
                    specification,
                    fed,
                    provisional=None if open_again else run.session,
                    advance=lambda count: progress.advance(task, count),
                )
                # Who has answered now has no problem left, whatever the providers before it said.
                for id_ in {i.id for i in fed.values()} - found.keys():
                    problems.pop(id_, None)
                problems |= {id_: _joined(problems.get(id_), new) for id_, new in found.items()}
            asking, turn = [i for i in asking if i.id in problems], turn + 1
            progress.update(task, total=len(lacking) + len(asking))
    _finish(app, run, calendar, instruments, problems)
    return problems


def _ask(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    specification: str,
    fed: Mapping[str, Instrument],
    *,
    provisional: date | None,
    advance: Callable[[int], None],
) -> Problems:
    """Ask one provider for the bars of the tickers `fed` to it, by symbol, and store them."""
    try:
        source = app.provider(specification)
    except (ProviderError, ConfigurationError) as error:  # its own settings may be lacking
        advance(len(fed))
        return {i.id: _failure(i, error) for i in fed.values()}
    ids = [instrument.id for instrument in fed.values()]
    with app.transaction() as db:
        own = identity(source.specification)
        stored = bar_store.recent(db, ids, run.session, OVERLAP + 1, provider=own)
        agreed = issues.agreed(db, ids)
    feed = _Feed(
        run=run,
        calendar=calendar,
        source=source,
        stored=stored,
        agreed=agreed,
        provisional=provisional if source.corrects_overnight else None,
    )
    problems, restated = _fetch(app, feed, fed, advance)
    # What was stored is on another basis than what comes now: all of it is fetched, and compared
    # with nothing.
    if restated:
        again = replace(feed, stored={}, agreed={})
        of_whole, _ = _fetch(app, again, restated, lambda _: None, whole=True)
        problems |= of_whole
    return problems


def _fetch(
    app: App,
    feed: _Feed,
    fed: Mapping[str, Instrument],
    advance: Callable[[int], None],
    *,
    whole: bool = False,
) -> tuple[Problems, dict[str, Instrument]]:
    """Load, check and save batch by batch; return problems, and what must be fetched `whole`."""
    session = feed.run.session
    requests = [
        BarRequest(
            symbol=symbol,
            first=as_date(feed.stored[i.id].sessions[0]) if i.id in feed.stored else None,
            last=session,
            calendar=i.calendar,
        )
        for symbol, i in fed.items()
    ]
    problems: Problems = {}
    restated: dict[str, Instrument] = {}
    for batch in batches(answers(feed.source, requests), fed):
        come = {
            i.id: (i, answer.understood(feed.source.price_basis))
            for i, answer in batch
            if isinstance(answer, FetchedBars)
        }
        admitted: dict[int, Admitted] = {}
        for instrument, answer in batch:
            if isinstance(answer, ProviderError):
                problems[instrument.id] = _failure(instrument, answer)
        keep = partial(_keep, app, feed, come, admitted, whole=whole)
        answered = [instrument for instrument, _ in come.values()]
        failed = isolate(f"{feed.run.calendar} {session} fetch", keep, [answered])
        for id_, (instrument, answer) in come.items():
            if id_ in failed:
                problems[id_] = _problem(instrument, Reason.FAILED, told(failed[id_]))
            elif admitted[id_].refetch:
                restated[answer.symbol] = instrument
            elif (problem := _lack(feed, instrument, admitted[id_])) is not None:
                problems[id_] = problem
        advance(len(batch))
        app.checkpoint()
    return problems, restated


def _admit(feed: _Feed, instrument: Instrument, answer: FetchedBars, *, whole: bool) -> Admitted:
    """Check one answer and compare it with what is stored."""
    assert answer.price_basis is not None  # it is understood
    stored = feed.stored.get(instrument.id)
    checked = quality.check(answer, feed.calendar.sessions, feed.run.session)
    if stored is not None and len(stored.sessions) and len(checked.accepted):
        last, first = stored.sessions[-1], checked.accepted.sessions[0]
        found = quality.long_gap(last, first, feed.calendar.sessions)
        # Whether prices show a split of their first session was judged when the bar before came.
        actions = tuple(a for a in checked.actions if a.session > as_date(first))
        checked = replace(checked, actions=actions, findings=(*checked.findings, *found))
    return overlap.admit(
        checked,
        stored,
        feed.run.session,
        basis=answer.price_basis,
        currency=(None if whole else answer.currency, instrument.currency),
        agreed=feed.agreed.get(instrument.id, frozenset()),
    )


def _keep(
    app: App,
    feed: _Feed,
    come: Mapping[int, tuple[Instrument, FetchedBars]],
    admitted: dict[int, Admitted],
    instruments: Sequence[Instrument],
    *,
    whole: bool,
) -> None:
    """Check and store what came of some instruments, and add it to what is admitted."""
    found = {i.id: _admit(feed, *come[i.id], whole=whole) for i in instruments}
    _save(app, feed, come, found, whole=whole)
    admitted.update(found)


def _save(
    app: App,
    feed: _Feed,
    come: Mapping[int, tuple[Instrument, FetchedBars]],
    admitted: Mapping[int, Admitted],
    *,
    whole: bool,
) -> None:
    """Store what was admitted of one batch in one transaction."""
    kept = {id_: one for id_, one in admitted.items() if not one.refetch}
    currencies = {
        id_: answer.currency
        for id_, (instrument, answer) in come.items()
        if id_ in kept and answer.currency and (whole or instrument.currency is None)
    }
    # Of a ticker whose calendar was told, nobody asked the provider anything before.
    bases = {
        id_: answer.price_basis
        for id_, (instrument, answer) in come.items()
        if id_ in kept
        and instrument.price_basis is None
        and instrument.provider == feed.source.specification
    }
    with app.transaction() as db:
        runs.lock(db, feed.run)
        for basis in PriceBasis:
            of_basis = {
                id_: kept[id_]
                for id_, (_, answer) in come.items()
                if id_ in kept and answer.price_basis is basis
            }
            if of_basis:
                _save_bars(db, feed, of_basis, basis, whole=whole)
        instrument_store.set_currencies(db, currencies)
        instrument_store.set_bases(db, bases)
        findings = {id_: one.findings for id_, one in admitted.items()}
        bar_store.add_findings(db, findings, run_id=feed.run.id)


def _save_bars(
    db: Session, feed: _Feed, kept: Mapping[int, Admitted], basis: PriceBasis, *, whole: bool
) -> None:
    """Store the bars and actions of those tickers whose prices are of one basis."""
    name = identity(feed.source.specification)
    bar_store.add(
        db,
        {id_: one.accepted for id_, one in kept.items()},
        provider=name,
        price_basis=basis,
        provisional=feed.provisional,
    )
    bar_store.add(
        db,
        {id_: one.quarantined for id_, one in kept.items()},
        provider=name,
        price_basis=basis,
        state=BarState.QUARANTINED,
    )
    spans = {
        id_: _span(one, whole or id_ not in feed.stored)
        for id_, one in kept.items()
        if len(one.accepted)
    }
    if whole:
        bar_store.rebase(db, {id_: first for id_, (first, _) in spans.items()}, basis)
    actions = {id_: one.actions for id_, one in kept.items()}
    bar_store.add_actions(db, actions, provider=name)
    # Adjusted prices come without the splits they contain: that one is not stated withdraws
    # nothing.
    if basis is PriceBasis.AS_TRADED:
        bar_store.retract_actions(db, actions, spans, provider=name)


def _span(admitted: Admitted, whole: bool) -> tuple[date, date]:
    """Return the first and the last session of whose actions the provider's answer tells."""
    sessions = admitted.accepted.sessions
    # A split that prices show next to its session may be stated before the first bar there is.
    first = 0 if whole else min(quality.NEIGHBOURS + 1, len(sessions) - 1)
    return as_date(sessions[first]), as_date(sessions[-1])


def _finish(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    instruments: Sequence[Instrument],
    problems: Problems,
) -> None:
    """Judge what only all answers together tell: special sessions, tickers traded no more."""
    silent = [id_ for id_, problem in problems.items() if problem.reason is Reason.NO_BAR]
    if len(instruments) >= issues.FEWEST and 2 * len(silent) > len(instruments):
        silent = []  # most have no bar: an outage
    with app.transaction() as db:
        runs.lock(db, run)
        issues.accept_common_days(db, calendar.code)
        last = bar_store.last_sessions(db, silent, run.session) if silent else {}
        tickers = {i.id: i.ticker for i in instruments}
        findings = {}
        for id_, session in last.items():
            missing = calendar.between(session, run.session)[1:]
            if len(missing) >= STRIKES:
                findings[id_] = [_delisted(tickers[id_], as_date(missing[0]))]
        bar_store.add_findings(db, findings, run_id=run.id)


def _delisted(ticker: str, first_missing: date) -> Finding:
    text = (
        f"no provider has had a bar for {STRIKES} sessions: if it has a new name,"
        f" `stockbatch tickers rename {ticker} NEW` goes on with its history; if it is traded no"
        f" more, `stockbatch tickers remove {ticker}` keeps it"
    )
    return Finding(
        check=Check.SUSPECTED_DELISTED,
        severity=Severity.WARNING,
        message=text,
        session=first_missing,
        observed=STRIKES,
        threshold=STRIKES,
    )


def _refusal(admitted: Admitted, session: date) -> str | None:
    """Return what is wrong with the bar of the run's session, None where nothing is."""
    for finding in admitted.findings:
        if finding.session == session and finding.severity != Severity.WARNING:
            return finding.message
    return None


def _lack(feed: _Feed, instrument: Instrument, admitted: Admitted) -> Outcome | None:
    """Return why there is no bar of the run's session to use, None where there is one."""
    session = feed.run.session
    if (why := _refusal(admitted, session)) is not None:
        return _problem(instrument, Reason.BAR_REFUSED, why)
    if (admitted.accepted.sessions == session).any():
        return None
    text = f"{feed.source.name} has no bar of this session"
    if len(admitted.accepted):
        text += f", its last is of {admitted.accepted.sessions[-1]}"
    return _problem(instrument, Reason.NO_BAR, text)


def _failure(instrument: Instrument, error: ProviderError | ConfigurationError) -> Outcome:
    if isinstance(error, NoData | UnknownTicker):
        return _problem(instrument, Reason.NO_BAR, str(error))
    limited = isinstance(error, RateLimited)
    return _problem(instrument, Reason.RATE_LIMITED if limited else Reason.FETCH_FAILED, str(error))


def _problem(instrument: Instrument, reason: Reason, message: str) -> Outcome:
    return Outcome(instrument_id=instrument.id, action=Action.NONE, reason=reason, message=message)


def _joined(before: Outcome | None, now: Outcome) -> Outcome:
    """Return the first provider's problem with what the next one said."""
    if before is None:
        return now
    # The reason that somebody can do something about stays: a limit can be waited for or paid for.
    vague = before.reason is Reason.NO_BAR or (
        before.reason is Reason.FETCH_FAILED and now.reason is Reason.RATE_LIMITED
    )
    reason = now.reason if vague else before.reason
    return replace(before, reason=reason, message=f"{before.message}; {now.message}")
