"""Hold the forecasts of an exchange of which too many bars are missing."""

import logging
from collections.abc import Mapping, Sequence

from jobs.app import App
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.records import Action, Instrument, Outcome, Reason, Run
from stockbatch.store import bars, runs
from stockbatch.store.bi.completeness import FEWEST, LATELY, SHARE

log = logging.getLogger(__name__)


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
    ids = [instrument.id for instrument in watched]
    with app.transaction() as db:
        present = bars.with_bar(db, ids, run.session)
        last = bars.last_sessions(db, ids, run.session)

    missing = set(ids) - present
    since = as_date(calendar.window(run.session, LATELY + 1)[0])
    # A provider that failed may well have had a bar: only one that said it has none is believed.
    failed = {id_ for id_ in missing if id_ in problems and problems[id_].reason != Reason.NO_BAR}
    gone = {id_ for id_ in missing - failed if id_ not in last or last[id_] < since}
    due = len(present) + len(missing - gone)
    if due < FEWEST or len(present) >= SHARE * due:
        return False
    text = f"{len(present)} of {due} bars are there, {SHARE:.0%} are needed"
    log.warning("%s %s held: %s; the next run tries again", run.calendar, run.session, text)
    outcomes = [problems.get(i.id) or _held(i, text) for i in instruments]

    with app.transaction() as db:
        runs.lock(db, run)
        runs.add_outcomes(db, run, instruments, outcomes)
    return True


def _held(instrument: Instrument, message: str) -> Outcome:
    return Outcome(
        instrument_id=instrument.id, action=Action.NONE, reason=Reason.HELD, message=message
    )
