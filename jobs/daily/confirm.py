"""Ask another provider whether a jump of the run's session is one, as the next bar would tell."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.daily.answers import answers, by_provider
from jobs.daily.fetch import OVERLAP
from stockbatch.engine.features import JUMP_REACH
from stockbatch.exceptions import ConfigurationError, ProviderError
from stockbatch.market import quality
from stockbatch.market.adjustments import moves, restate, total_log_returns
from stockbatch.market.jumps import SMALLEST_JUMP, jump_findings, unexplained
from stockbatch.market.overlap import APART
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.providers.base import identity
from stockbatch.records import (
    ActionKind,
    BarRequest,
    Check,
    FetchedBars,
    Finding,
    Instrument,
    Run,
)
from stockbatch.store import bars, runs

log = logging.getLogger(__name__)


def confirm_jumps(
    app: App, run: Run, calendar: TradingCalendar, instruments: Sequence[Instrument]
) -> int:
    """Record which pending jumps of the run's session a fallback confirms; return how many.

    The first fallback that answers decides, unless the bar itself came from it. What looks like a
    split is not asked about: another provider that does not know of it either says the same.
    """
    with app.transaction() as db:
        pending = _pending(db, run, calendar, [i for i in instruments if i.fallbacks])
        origins = bars.providers(db, list(pending), run.session)
    asking = {i.id: i for i in instruments if i.id in pending}
    confirmed: dict[int, list[Finding]] = {}
    turn = 1
    while groups := by_provider(asking.values(), None, turn):
        for specification, fed in groups:
            for instrument, answer in _answers(app, run, calendar, specification, fed, origins):
                del asking[instrument.id]
                finding = pending[instrument.id]
                if _agrees(answer, finding, calendar, run.session):
                    message = f"{finding.message} ({specification})"
                    confirmed[instrument.id] = [replace(finding, message=message)]
        turn += 1
    if confirmed:
        with app.transaction() as db:
            runs.lock(db, run)
            bars.add_findings(db, confirmed, run_id=run.id)
    return len(confirmed)


def _pending(
    db: Session, run: Run, calendar: TradingCalendar, instruments: Sequence[Instrument]
) -> dict[int, Finding]:
    """Return what is to be found if the session's jump is confirmed, by instrument id."""
    # Of the few with a large return alone a year of bars is read.
    newest = bars.load_panel(db, instruments, calendar.window(run.session, 2))
    large = np.abs(total_log_returns(newest)[:, -1]) > SMALLEST_JUMP
    chosen = [instruments[row] for row in np.flatnonzero(large).tolist()]
    if not chosen:
        return {}
    panel = bars.load_panel(db, chosen, calendar.window(run.session, JUMP_REACH + 1))
    # What is found if every jump of the session is supposed to be confirmed.
    supposed = panel.confirmed.copy()
    supposed[:, -1] = True
    moved = moves(panel)
    found = jump_findings(moved, panel.sessions, supposed)
    return {
        chosen[row].id: finding
        for row in np.flatnonzero(~panel.confirmed[:, -1]).tolist()
        if unexplained(moved, row, -1)
        for finding in found[row]
        if (finding.session, finding.check) == (run.session, Check.JUMP_CONFIRMED)
    }


def _answers(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    specification: str,
    fed: Mapping[str, Instrument],
    origins: Mapping[int, str],
) -> Iterator[tuple[Instrument, FetchedBars]]:
    """Yield what a provider says of the last sessions of the instruments `fed` to it, by symbol.

    That it fails changes nothing: the next bar will tell. It is not asked about a bar of its own.
    """
    try:
        source = app.provider(specification)
    except (ProviderError, ConfigurationError) as error:
        log.warning("%s %s: no jump is confirmed: %s", run.calendar, run.session, error)
        return
    first = as_date(calendar.window(run.session, OVERLAP + 1)[0])
    requests = [
        BarRequest(symbol=symbol, first=first, last=run.session)
        for symbol, instrument in fed.items()
        if origins[instrument.id] != identity(source.specification)
    ]
    for answer in answers(source, requests) if requests else ():
        app.waiting()
        if isinstance(answer, ProviderError):
            log.warning("%s %s: a jump is not confirmed: %s", run.calendar, run.session, answer)
        else:
            yield fed[answer.symbol], answer.understood(source.price_basis)


def _agrees(answer: FetchedBars, jump: Finding, calendar: TradingCalendar, session: date) -> bool:
    """Tell whether the session's total return is in the answer, and as large as the jump."""
    checked = quality.check(answer, calendar.sessions, session)
    both = np.isin(checked.accepted.sessions, calendar.window(session, 2))
    closes = checked.accepted.close[both]
    if jump.observed is None or len(closes) < 2:
        return False
    actions = {
        action.kind: action.value
        for action in checked.actions
        if action.session == session and not action.in_prices
    }
    split = np.array(actions.get(ActionKind.SPLIT, 1.0))
    dividend = np.array(actions.get(ActionKind.DIVIDEND, 0.0))
    # On the basis of the day before, as the jump was measured: with this provider's own actions.
    before, now = closes[0], restate(closes[1], split, dividend)
    return bool(abs(now / before / np.exp(jump.observed) - 1) <= APART)
