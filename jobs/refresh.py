"""Ask the sources of events again, and keep what they state.

Each ticker is asked about in its turn, once after every firing of the crontab `event_refresh`; at
once where it is new; and again before its turn where a source refused for now or was out of reach.
What a source does not answer costs nothing but freshness.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from jobs.app import App, RequestLedger
from jobs.events import project
from jobs.isolation import is_of_a_ticker, told
from stockbatch.config import Settings
from stockbatch.events import registry
from stockbatch.events.base import (
    Answer,
    EventRequest,
    FetchedEvents,
    SourceKind,
    SourceSetup,
)
from stockbatch.exceptions import (
    BadAnswer,
    BrokenProvider,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnknownSource,
)
from stockbatch.market import sessions
from stockbatch.records import Instrument
from stockbatch.store import event_refreshes, events, instruments
from stockbatch.store.event_refreshes import Asked, Freshness, Last
from stockbatch.text import counted

log = logging.getLogger(__name__)

HISTORY_AGAIN = timedelta(days=80)
"""Past dates are asked for again after so long, about once for every report."""
COMMIT_ANSWERS, COMMIT_SECONDS = 100, 5.0
"""A batch is committed once it holds so many answers, or took so long to come."""

Fed = Mapping[str, list[Instrument]]
"""Tickers by what a source calls them."""


@dataclass(slots=True, kw_only=True)
class Refreshed:
    """What one source brought."""

    source: str
    asked: int = 0
    answered: int = 0
    new: int = 0
    changed: int = 0
    withdrawn: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    """What was wrong, by ticker."""
    complete: bool = True
    """Whether nothing is left to be asked again before its turn."""

    def __str__(self) -> str:
        asked = counted(self.asked, "ticker")
        said = (
            f"{self.source}: {self.answered} of {asked} answered for; events:"
            f" {self.new} new, {self.changed} changed, {self.withdrawn} withdrawn"
        )
        return said + in_short(self.problems)


def in_short(problems: Mapping[str, str]) -> str:
    """Return what is said behind a summary: the first of the problems by ticker, how many more."""
    if not problems:
        return ""
    ticker, why = next(iter(problems.items()))
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"; {ticker}{more}: {why}"


def is_due(app: App, db: Session, since: datetime) -> bool:
    """Tell whether any ticker's turn has come after the firing `since`."""
    watchlist = instruments.active(db)
    return any(
        _wanting(covered, event_refreshes.last(db, name), since, app.clock())
        for name, _, covered in _sources(app.settings, watchlist)
    )


def require_sources(settings: Settings) -> None:
    """Raise UnknownSource or BrokenProvider for a source that settings name and nobody can ask."""
    for name in settings.event_sources:
        registry.kind(name)


def state(settings: Settings, name: str, watchlist: Sequence[Instrument]) -> str:
    """Return what a source says of itself, where it is asked about any ticker of a watchlist.

    Asks nobody. Raises UnknownSource, BrokenProvider, and what the source lacks.
    """
    covered = registry.covered(name, watchlist)
    if not covered:
        return "none of the tickers is one that it is asked about"
    return (
        f"{counted(len(covered), 'ticker')}, {registry.state(name, SourceSetup(settings=settings))}"
    )


def freshness(db: Session, settings: Settings, now: datetime) -> str:
    """Return in a line how much is known of reports to come, and how fresh each source is."""
    known, tickers = event_refreshes.known(db, now.date())
    said = [f"the next report is known of {known} of {counted(tickers, 'ticker')}"]
    found = {one.source: one for one in event_refreshes.freshness(db, settings.event_sources)}
    said += [_told(name, found.get(name)) for name in settings.event_sources]
    if not settings.event_sources:
        said.append("nobody is asked: event_sources is empty")
    return "; ".join(said)


def _told(name: str, found: Freshness | None) -> str:
    """Return in a part of a line how fresh a source is; None: it has not been asked."""
    if found is None:
        return f"{name} has not been asked"
    if found.answered_at is None:
        return f"{name} has never answered ({found.problem})"
    told = f"{name} last answered {found.answered_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if found.problems:
        told += f", but not for {counted(found.problems, 'ticker')} ({found.problem})"
    return told


def refresh_events(
    app: App,
    since: datetime | None = None,
    *,
    tickers: Sequence[str] | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> list[Refreshed]:
    """Ask every source about those whose turn has come after the firing `since`; None: about all.

    What nobody states is projected from what they state of the past. Ends after a batch where there
    is `enough` of it, and somebody else's turn has come. Raises UnknownInstrument.
    """
    with app.transaction() as db:
        watchlist = instruments.active(db)
        chosen = watchlist if tickers is None else instruments.find(db, tickers)
    ids = {instrument.id for instrument in chosen}
    done = []
    for name, kind, covered in _sources(app.settings, watchlist):
        with app.transaction() as db:
            last = event_refreshes.last(db, name)
        wanted = [(s, i) for s, i in covered if i.id in ids]
        wanted = _wanting(wanted, last, since, app.clock())
        if wanted:
            done.append(_refresh(app, name, kind, wanted, last, watchlist, enough))
            log.info("%s", done[-1])
    if done:
        project(app)
    return done


def _sources(
    settings: Settings, watchlist: Sequence[Instrument]
) -> Iterator[tuple[str, SourceKind, list[tuple[str, Instrument]]]]:
    """Yield the sources that are set, and which tickers they are asked about, as they call them.

    One that cannot be used is left out: whoever checks the settings is told.
    """
    for name in settings.event_sources:
        try:
            kind, covered = registry.kind(name), registry.covered(name, watchlist)
        except (UnknownSource, BrokenProvider):
            continue
        yield name, kind, covered


def _wanting(
    covered: Iterable[tuple[str, Instrument]],
    last: Mapping[int, Last],
    since: datetime | None,
    now: datetime,
) -> list[tuple[str, Instrument]]:
    """Return those whose turn it is, the longest without history first."""

    def wants(instrument: Instrument) -> bool:
        before = last.get(instrument.id)
        if before is None or before.waits or since is None:
            return True
        return before.asked_at < since or before.asked_at > now  # the clock was set back

    def history(one: tuple[str, Instrument]) -> tuple[bool, float]:
        before = last.get(one[1].id)
        at = before and before.history_at
        return at is not None, at.timestamp() if at else 0.0

    return sorted((one for one in covered if wants(one[1])), key=history)


def _refresh(
    app: App,
    name: str,
    kind: SourceKind,
    wanted: Sequence[tuple[str, Instrument]],
    last: Mapping[int, Last],
    watchlist: Sequence[Instrument],
    enough: Callable[[], bool],
) -> Refreshed:
    """Load, ask and save batch by batch."""
    fed: dict[str, list[Instrument]] = defaultdict(list)
    for symbol, instrument in wanted:
        fed[symbol].append(instrument)
    old = app.clock() - HISTORY_AGAIN
    requests = {
        symbol: EventRequest(
            symbol=symbol,
            calendar=of_it[0].calendar,
            history=any(_history_before(last, i, old) for i in of_it),
        )
        for symbol, of_it in fed.items()
    }
    summary = Refreshed(source=name, asked=len(wanted))
    left = set(requests)
    for batch in _batches(_answers(app, name, kind, requests, watchlist)):
        left -= {_symbol(answer) for answer in batch}
        _save(app, name, batch, fed, requests, summary)
        app.checkpoint()
        if left and enough():
            summary.complete = False
            break
    return summary


def _history_before(last: Mapping[int, Last], instrument: Instrument, old: datetime) -> bool:
    before = last.get(instrument.id)
    return before is None or before.history_at is None or before.history_at < old


def _answers(
    app: App,
    name: str,
    kind: SourceKind,
    requests: Mapping[str, EventRequest],
    watchlist: Sequence[Instrument],
) -> Iterator[Answer]:
    """Yield one answer for each request, whatever the source does."""
    left = dict(requests)
    try:
        setup = source_setup(app, kind.provider, watchlist)
        source = app.event_sources.get(name) or registry.create(name, setup)
        with closing(source):
            for answer in source.events(list(requests.values())):
                if left.pop(_symbol(answer), None) is not None:
                    yield answer
        reason = "it gave none"
    except Exception as error:
        if not is_of_a_ticker(error):
            raise
        # Settings it cannot read, or a mistake in somebody's package.
        reason = told(error)
        log.warning("%s: %s", name, reason)
    for symbol in left:
        yield BadAnswer(provider=name, ticker=symbol, reason=reason)


def source_setup(app: App, provider: str, watchlist: Sequence[Instrument]) -> SourceSetup:
    """Return what a source is made from that leaves the bars of `provider` their requests."""
    specifications = [
        (instrument.calendar, {instrument.provider, *(f.provider for f in instrument.fallbacks)})
        for instrument in watchlist
        if not instrument.demo
    ]
    calendars = [code for code, of_it in specifications if provider in of_it]

    def reserved(day: date) -> int:
        # One request brings a ticker's bars up to date; on days without a session none is needed.
        return sum(sessions.load(code, day).is_session(day) for code in calendars)

    return SourceSetup(
        settings=app.settings,
        quota=RequestLedger(app.engine),
        reserved=reserved,
        waiting=lambda: app.waiting(),
    )


def _symbol(answer: Answer) -> str:
    return answer.symbol if isinstance(answer, FetchedEvents) else str(answer.values["ticker"])


def _batches(answers: Iterator[Answer]) -> Iterator[list[Answer]]:
    """Yield answers in batches to commit."""
    batch: list[Answer] = []
    begun = time.monotonic()
    with closing(answers):  # type: ignore[type-var]  # they are a generator
        for answer in answers:
            batch.append(answer)
            if len(batch) >= COMMIT_ANSWERS or time.monotonic() - begun >= COMMIT_SECONDS:
                yield batch
                batch, begun = [], time.monotonic()
        if batch:
            yield batch


def _save(
    app: App,
    name: str,
    batch: Sequence[Answer],
    fed: Fed,
    requests: Mapping[str, EventRequest],
    summary: Refreshed,
) -> None:
    """Keep what one batch states, and what came of asking, in one transaction."""
    now = app.clock()
    asked = []
    with app.transaction() as db:
        for answer in batch:
            symbol = _symbol(answer)
            for instrument in fed[symbol]:
                became = answer
                if isinstance(answer, FetchedEvents):
                    became = _record(db, name, instrument, answer, now, summary)
                asked.append(_asked(instrument, became, history=requests[symbol].history))
                if (problem := asked[-1].problem) is not None:
                    summary.problems[instrument.ticker] = problem
        event_refreshes.record(db, name, asked, now)
    summary.answered += sum(one.answered for one in asked)
    summary.complete &= not any(one.waits for one in asked)


def _record(
    db: Session,
    name: str,
    instrument: Instrument,
    answer: FetchedEvents,
    now: datetime,
    summary: Refreshed,
) -> Answer:
    """Keep what a source states of one ticker; return its answer, or why it cannot be kept."""
    try:
        with db.begin_nested():
            found = _recorded(db, name, instrument, answer, now)
    except Exception as error:
        if not is_of_a_ticker(error):
            raise
        # What no table takes is a mistake in somebody's package, and no other ticker's.
        return BadAnswer(provider=name, ticker=answer.symbol, reason=told(error))
    summary.new += found.new
    summary.changed += found.changed
    summary.withdrawn += found.withdrawn
    return answer


def _recorded(
    db: Session, name: str, instrument: Instrument, answer: FetchedEvents, now: datetime
) -> events.Recorded:
    stated = [replace(event, symbol=instrument.ticker) for event in answer.events]
    # A source that names a date ahead names all before it; one that names none may only lack them.
    through = max((event.date for event in stated if event.date > now.date()), default=None)
    return events.record(db, [instrument], stated, name, now, through=through, watched=True)


def _asked(instrument: Instrument, answer: Answer, *, history: bool) -> Asked:
    """Return what came of asking about one ticker."""
    answered = isinstance(answer, FetchedEvents)
    problem = answer.problem if isinstance(answer, FetchedEvents) else answer
    return Asked(
        instrument_id=instrument.id,
        answered=answered,
        history=answered and history and problem is None,
        waits=problem is not None and _passes(problem),
        problem=None if problem is None else str(problem),
    )


def _passes(problem: ProviderError) -> bool:
    """Tell what another day or another hour may mend from what only the next turn may."""
    unreachable = isinstance(problem, ProviderUnavailable) and not isinstance(problem, BadAnswer)
    return unreachable or isinstance(problem, RateLimited)
