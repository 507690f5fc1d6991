"""Score the forecasts whose target session is over."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch import metrics
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.engine.features import JUMP_REACH
from stockbatch.market import sessions
from stockbatch.market.adjustments import moves, restate
from stockbatch.market.jumps import SMALLEST_JUMP, jumps
from stockbatch.market.overlap import restated
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.records import Floats, Instrument, Panel, Run, ScoreStatus
from stockbatch.store import bars, runs, scores

Bools = NDArray[np.bool_]


def score_forecasts(
    app: App, run: Run, calendar: TradingCalendar, instruments: Sequence[Instrument]
) -> int:
    """Score what can be scored with bars up to the run's session; return the number of scores.

    A return that may be an error of the data waits for the next bar to confirm it, unless a second
    provider has.
    """
    with app.transaction() as db:
        notes = scores.noted(db, instruments, run.session)
        forecasts = scores.pending(db, instruments, run.session)
        lost = scores.without_session(db, instruments, run.session)
        actual_close = _actual_closes(forecasts)
        actual_log_return = np.log(actual_close / forecasts["origin_close"])
        large = np.abs(actual_log_return) > SMALLEST_JUMP
        panel = _around(db, run, calendar, instruments, forecasts, large)
        cancelled = _cancelled(db, run, calendar, [target for _, target in lost])

    masked, pending = _doubtful(panel, instruments, forecasts, large)
    never_held = [forecast for forecast, target in lost if target in cancelled]
    columns = _columns(forecasts, actual_close, actual_log_return, masked, pending)

    with app.transaction() as db:
        runs.lock(db, run)
        added = scores.add(db, columns, run) + scores.add(db, _no_session(never_held), run)
        scores.settle(db, notes)
    return added


def _cancelled(
    db: Session, run: Run, calendar: TradingCalendar, targets: Sequence[date]
) -> set[date]:
    """Return those of `targets` that were never held: by the calendar, or by what was traded since.

    One that has no bar of one ticker is no sign of it: it may come tomorrow, and is scored then, as
    it is if bars come of a session that seemed to be cancelled.
    """
    closed = {target for target in targets if not calendar.is_session(target)}
    rest = set(targets) - closed
    return closed | (scores.never_held(db, calendar.code, rest, run.session) if rest else set())


def _actual_closes(forecasts: Mapping[str, Floats]) -> Floats:
    """Return the closes that came, on the basis of the close forecast from as it was then.

    What went ex in the target session is undone, and so is what has restated both since.
    """
    close = restate(forecasts["actual_close"], forecasts["split"], forecasts["dividend"])
    before, now = forecasts["origin_close"], forecasts["origin_now"]
    return close * restated(before, now, forecasts["restates"] == 1)


def _around(
    db: Session,
    run: Run,
    calendar: TradingCalendar,
    instruments: Sequence[Instrument],
    forecasts: Mapping[str, Floats],
    large: Bools,
) -> Panel | None:
    """Load what tells whether `large` returns are jumps; None where there are none."""
    if not large.any():
        return None
    ids = set(forecasts["instrument_id"][large].astype(int).tolist())
    chosen = [instrument for instrument in instruments if instrument.id in ids]
    oldest = as_date(forecasts["target_day"][large].min().astype("datetime64[D]"))
    # Fewer where the calendar begins: that a run is of its first sessions is no reason to fail.
    before = calendar.before(oldest, JUMP_REACH)
    window = np.concatenate([before, calendar.between(oldest, run.session)])
    return bars.load_panel(db, chosen, window)


def _doubtful(
    panel: Panel | None,
    instruments: Sequence[Instrument],
    forecasts: Mapping[str, Floats],
    large: Bools,
) -> tuple[Bools, Bools]:
    """Tell of which forecasts the return is not to be trusted, and of which not to be yet."""
    # Only large returns can be jumps, and only of these a panel was loaded.
    masked, pending = np.zeros((2, len(large)), bool)
    if panel is None:
        return masked, pending
    found = jumps(moves(panel), panel.confirmed)
    ticker_of = {instrument.id: instrument.ticker for instrument in instruments}
    ids = forecasts["instrument_id"][large].astype(int).tolist()
    rows = [panel.tickers.index(ticker_of[id_]) for id_ in ids]
    days = forecasts["target_day"][large].astype("datetime64[D]")
    columns, _ = sessions.columns(panel.sessions, days)
    masked[large] = found.masked[rows, columns]
    pending[large] = found.pending[rows, columns]
    return masked, pending


def _no_session(forecast_ids: list[int]) -> dict[str, Sequence[Any]]:
    count = len(forecast_ids)
    return {
        "forecast_id": forecast_ids,
        "revision": [0] * count,
        "status": [ScoreStatus.NO_SESSION] * count,
    }


def _columns(
    forecasts: Mapping[str, Floats],
    actual_close: Floats,
    actual_log_return: Floats,
    masked: Bools,
    pending: Bools,
) -> dict[str, Any]:
    """Return the columns of the scores; a masked one states no numbers, a pending one is left out.

    Where a forecast states no quantiles (NaN), the losses of the quantiles are unknown.
    """
    quantiles = np.stack([forecasts[column] for column in QUANTILE_COLUMNS], axis=-1)
    losses = metrics.score(
        close=forecasts["close"],
        actual_close=actual_close,
        log_return=forecasts["log_return"],
        actual_log_return=actual_log_return,
        quantiles=quantiles,
        probability_of_rise=forecasts["probability_of_rise"],
    )
    numbers = {"actual_close": actual_close, "actual_log_return": actual_log_return, **losses}
    kept = ~pending
    columns: dict[str, Any] = {
        name: np.where(masked, np.nan, values)[kept] for name, values in numbers.items()
    }
    columns |= {name: forecasts[name][kept] for name in ("forecast_id", "revision")}
    columns["status"] = [
        ScoreStatus.MASKED if hidden else ScoreStatus.SCORED for hidden in masked[kept].tolist()
    ]
    return columns
