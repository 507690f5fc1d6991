"""Score the forecasts whose target session is over."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch import metrics
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.engine.features import JUMP_REACH
from stockbatch.market.adjustments import (
    following_log_returns,
    overnight_gaps,
    restate,
    total_log_returns,
)
from stockbatch.market.jumps import SMALLEST_JUMP, jumps
from stockbatch.market.overlap import restated_by_split
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.records import Floats, Instrument, Run
from stockbatch.store import bars, runs, scores


def score_forecasts(
    app: App, run: Run, calendar: TradingCalendar, instruments: Sequence[Instrument]
) -> int:
    """Score what can be scored with bars up to the run's session; return the number of scores.

    A return that may be an error of the data waits for the next bar to confirm it, unless a second
    provider has.
    """
    with app.transaction() as db:
        runs.lock(db, run)
        forecasts = scores.pending(db, instruments, run.session)
        lost = scores.without_session(db, instruments, run.session)
        actual_close = restate(forecasts["actual_close"], forecasts["split"], forecasts["dividend"])
        actual_close *= restated_by_split(forecasts["origin_close"], forecasts["origin_now"])
        actual_log_return = np.log(actual_close / forecasts["origin_close"])
        status = _status(db, run, calendar, instruments, forecasts, actual_log_return)
        columns = _columns(forecasts, actual_close, actual_log_return, status)
        never_held = [forecast for forecast, target in lost if not calendar.is_session(target)]
        return scores.add(db, columns, run) + scores.add(db, _no_session(never_held), run)


def _status(
    db: Session,
    run: Run,
    calendar: TradingCalendar,
    instruments: Sequence[Instrument],
    forecasts: dict[str, Floats],
    actual_log_return: Floats,
) -> NDArray[np.str_]:
    """Tell returns to be trusted from those that are not, or not yet: scored, masked, pending."""
    status = np.full(len(actual_log_return), "scored", dtype="<U7")
    doubtful = np.flatnonzero(np.abs(actual_log_return) > SMALLEST_JUMP)
    if len(doubtful) == 0:
        return status
    ids = forecasts["instrument_id"][doubtful].astype(int)
    days = forecasts["target_day"][doubtful].astype("datetime64[D]")
    chosen = [instrument for instrument in instruments if instrument.id in set(ids)]
    first = calendar.previous(as_date(days.min()), JUMP_REACH)
    panel = bars.load_panel(db, chosen, calendar.between(first, run.session))
    moves = total_log_returns(panel), overnight_gaps(panel), following_log_returns(panel)
    found = jumps(*moves, panel.confirmed)
    row_of = {instrument.id: row for row, instrument in enumerate(chosen)}
    rows, columns = [row_of[id_] for id_ in ids], np.searchsorted(panel.sessions, days)
    status[doubtful[found.masked[rows, columns]]] = "masked"
    status[doubtful[found.pending[rows, columns]]] = "pending"
    return status


def _no_session(forecast_ids: list[int]) -> dict[str, Sequence[Any]]:
    count = len(forecast_ids)
    return {
        "forecast_id": forecast_ids,
        "revision": [0] * count,
        "status": ["no_session"] * count,
    }


def _columns(
    forecasts: dict[str, Floats],
    actual_close: Floats,
    actual_log_return: Floats,
    status: NDArray[np.str_],
) -> dict[str, Sequence[Any]]:
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
    kept = status != "pending"
    columns: dict[str, Sequence[Any]] = {
        name: np.where(status == "scored", values, np.nan)[kept].tolist()
        for name, values in numbers.items()
    }
    for name in ("forecast_id", "revision"):
        columns[name] = forecasts[name][kept].tolist()
    columns["status"] = status[kept].tolist()
    return columns
