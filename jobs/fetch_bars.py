"""Fetch the bars a session still lacks, check them, store what passes."""

from collections.abc import Iterator, Sequence

from jobs.app import App
from stockbatch import quality
from stockbatch.exceptions import NoData, ProviderError
from stockbatch.providers import BarProvider
from stockbatch.quality import Checked
from stockbatch.records import (
    Action,
    BarRequest,
    BarState,
    FetchedBars,
    Instrument,
    Outcome,
    Reason,
    Run,
    Severity,
)
from stockbatch.sessions import TradingCalendar
from stockbatch.store import bars as bar_store
from stockbatch.store import runs

OVERLAP = 10
"""Stored sessions asked for again, so that late corrections are seen."""
COMMIT_TICKERS = 64


def fetch_bars(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    instruments: Sequence[Instrument],
    *,
    provider: str | None = None,
) -> dict[int, Outcome]:
    """Bring the stored bars of `instruments` up to the run's session.

    `provider` stands in for the instruments' own. Return, by instrument id, why there is no bar of
    that session.
    """
    with app.transaction() as db:
        stored = bar_store.last_sessions(db, [i.id for i in instruments], run.session)
    lacking = [i for i in instruments if stored.get(i.id) != run.session]
    problems: dict[int, Outcome] = {}
    by_provider: dict[str, list[Instrument]] = {}
    for instrument in lacking:
        by_provider.setdefault(provider or instrument.provider, []).append(instrument)
    with app.progress() as progress:
        task = progress.add_task("bars", total=len(lacking))
        for specification, fed in by_provider.items():
            try:
                source = app.provider(specification)
            except ProviderError as error:
                problems |= {i.id: _problem(i, Reason.FETCH_FAILED, str(error)) for i in fed}
                continue
            requests = [
                BarRequest(
                    symbol=i.symbol,
                    first=calendar.previous(stored[i.id], OVERLAP) if i.id in stored else None,
                    last=run.session,
                )
                for i in fed
            ]
            answers = source.fetch(requests)
            for batch in _batches(answers, {i.symbol: i for i in fed}):
                problems |= _store(app, run, calendar, source, batch)
                progress.advance(task, len(batch))
                app.checkpoint()
    return problems


Answer = tuple[Instrument, FetchedBars | ProviderError]


def _batches(
    answers: Iterator[FetchedBars | ProviderError], instruments: dict[str, Instrument]
) -> Iterator[list[Answer]]:
    batch: list[Answer] = []
    for answer in answers:
        symbol = answer.values["ticker"] if isinstance(answer, ProviderError) else answer.symbol
        batch.append((instruments[symbol], answer))
        if len(batch) == COMMIT_TICKERS:
            yield batch
            batch = []
    if batch:
        yield batch


def _store(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    source: BarProvider,
    batch: Sequence[Answer],
) -> dict[int, Outcome]:
    """Check and store one batch in one transaction; return the problems by instrument id."""
    problems = {}
    checked: dict[int, Checked] = {}
    for instrument, answer in batch:
        if isinstance(answer, NoData):
            problems[instrument.id] = _problem(instrument, Reason.NO_BAR, str(answer))
        elif isinstance(answer, ProviderError):
            problems[instrument.id] = _problem(instrument, Reason.FETCH_FAILED, str(answer))
        else:
            checked[instrument.id] = quality.check(answer, calendar.sessions, run.session)
            refusal = _refusal(checked[instrument.id], run)
            if refusal:
                problems[instrument.id] = _problem(instrument, Reason.BAR_REFUSED, refusal)
    if not checked:
        return problems
    with app.transaction() as db:
        runs.lock(db, run)
        for state, bars in (
            (BarState.FINAL, {i: c.accepted for i, c in checked.items()}),
            (BarState.QUARANTINED, {i: c.quarantined for i, c in checked.items()}),
        ):
            bar_store.add(
                db, bars, provider=source.name, price_basis=source.price_basis, state=state
            )
        actions = {i: c.actions for i, c in checked.items()}
        bar_store.add_actions(db, actions, provider=source.name)
        bar_store.add_findings(db, {i: c.findings for i, c in checked.items()}, run_id=run.id)
    return problems


def _refusal(checked: Checked, run: Run) -> str | None:
    """Return what is wrong with the bar of the run's session, None where nothing is."""
    for finding in checked.findings:
        if finding.session == run.session and finding.severity != Severity.WARNING:
            return finding.message
    return None


def _problem(instrument: Instrument, reason: Reason, message: str) -> Outcome:
    return Outcome(instrument_id=instrument.id, action=Action.NONE, reason=reason, message=message)
