"""Hold the forecasts of an exchange of which too many bars are missing."""

import logging
from collections.abc import Mapping, Sequence

from jobs.app import App
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.records import Action, Instrument, Outcome, Reason, Run
from stockbatch.store import bars, runs

log = logging.getLogger(__name__)

COVERAGE = 0.95
"""Share of the bars due that a session needs."""
FEWEST = 20
"""Tickers from which on a share means anything: of fewer, one missing bar would be too many."""
LATELY = 5
"""A ticker without a bar for longer than so many sessions is not missed any more."""


def hold_forecasts(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    watched: Sequence[Instrument],
    instruments: Sequence[Instrument],
    problems: Mapping[int, Outcome],
) -> bool:
    """Tell whether the run must wait for bars, and record that as the outcome of `instruments`.

    `watched` are all that the bars of the session are due of, whatever part of them is left to do.
    What is held is tried again by the next run.
    """
    with app.transaction() as db:
        runs.lock(db, run)
        ids = [instrument.id for instrument in watched]
        present = bars.with_bar(db, ids, run.session)
        last = bars.last_sessions(db, ids, run.session)
        missing = {id_ for id_ in ids if id_ not in present}
        since = as_date(calendar.window(run.session, LATELY + 1)[0])
        for id_ in list(missing):
            silent = id_ not in problems or problems[id_].reason is Reason.NO_BAR
            if silent and (id_ not in last or last[id_] < since):
                missing.remove(id_)
        due = len(present) + len(missing)
        if due < FEWEST or len(present) >= COVERAGE * due:
            return False
        text = f"{len(present)} of {due} bars are there, {COVERAGE:.0%} are needed"
        log.warning("%s %s held: %s; the next run tries again", run.calendar, run.session, text)
        outcomes = [problems.get(i.id) or _held(i, text) for i in instruments]
        runs.add_outcomes(db, run, instruments, outcomes)
    return True


def _held(instrument: Instrument, message: str) -> Outcome:
    return Outcome(
        instrument_id=instrument.id, action=Action.NONE, reason=Reason.HELD, message=message
    )
