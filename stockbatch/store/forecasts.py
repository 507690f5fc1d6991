"""The ledger of forecasts: rows are added, never changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from scipy.special import stdtrit
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.database.tables import QUANTILE_COLUMNS, RAW_QUANTILE_COLUMNS
from stockbatch.engine.network import NETWORKS
from stockbatch.market.sessions import columns
from stockbatch.records import (
    POINT_BASELINE,
    QUANTILES,
    Floats,
    Forecast,
    Instrument,
    Kind,
    Run,
    Sessions,
)
from stockbatch.store.bulk import by_one_process, days, matrix, rows_of, stage
from stockbatch.store.preference import KIND_FIRST

_COLUMNS = (
    ("instrument_id", "int4"),
    ("origin_session", "date"),
    ("target_session", "date"),
    ("horizon", "int4"),
    ("method", "text"),
    ("kind", "text"),
    ("fingerprint", "text"),
    ("origin_close", "float8"),
    ("close", "float8"),
    ("log_return", "float8"),
    *((column, "float8") for column in QUANTILE_COLUMNS),
    ("probability_of_rise", "float8"),
    *((column, "float8") for column in RAW_QUANTILE_COLUMNS),
    ("volatility", "float8"),
    ("shrinkage", "float8"),
    ("dissimilarity", "float8"),
    ("trusted", "bool"),
    ("model_id", "int8"),
    ("run_id", "int8"),
    ("issued_at", "timestamptz"),
    ("probability_of_fall", "float8"),
    ("probability_of_move_2", "float8"),
    ("probability_of_move_5", "float8"),
    ("usual_move", "float8"),
    ("reasons", "jsonb"),
)

_NAMES = ", ".join(column for column, _ in _COLUMNS)

# The key of the table has the kind in it, and a forecast made again late would be another row: what
# was said in time is not said once more, whereas a backtest says it on its own account.
_INSERT = text(f"""
INSERT INTO stockbatch.forecasts ({_NAMES})
SELECT {_NAMES} FROM staged_forecasts AS s
WHERE NOT EXISTS (
    SELECT FROM stockbatch.forecasts AS f
    WHERE (f.instrument_id, f.target_session, f.horizon, f.method, f.fingerprint)
        = (s.instrument_id, s.target_session, s.horizon, s.method, s.fingerprint)
        AND (f.kind = :backtest) = (s.kind = :backtest)
)
ON CONFLICT DO NOTHING
""").bindparams(backtest=Kind.BACKTEST)


def add(
    db: Session,
    forecasts: Sequence[Forecast],
    run: Run,
    *,
    issued_at: datetime,
    backtest: bool = False,
) -> int:
    """Record forecasts and return how many were new; the database tells live from late.

    It knows the deadline from the target session. Equal inputs write no second row, however late
    they come again. The commit raises DeadlinePassed where what was live when recorded is not any
    more: recorded again, it is late.
    """
    kind = Kind.BACKTEST if backtest else Kind.LIVE
    stage(db, "staged_forecasts", _COLUMNS, (_row(f, run, kind, issued_at) for f in forecasts))
    result: Any = db.execute(_INSERT)
    return int(result.rowcount)


_UNCALIBRATED = ", ".join(
    f"coalesce({raw}, {stated}) AS uncalibrated_{stated}"
    for raw, stated in zip(RAW_QUANTILE_COLUMNS, QUANTILE_COLUMNS, strict=True)
)
# Calibration learns from what was stated first-hand, so that it never corrects its own corrections.
_PAST = f"""
SELECT DISTINCT ON (instrument_id, target_session)
    instrument_id, target_session - date '1970-01-01' AS day, {_UNCALIBRATED}
FROM stockbatch.forecasts
WHERE instrument_id = ANY(%(ids)s) AND target_session BETWEEN %(first)s AND %(last)s
    AND method = %(method)s AND horizon = 1
ORDER BY instrument_id, target_session,
    {KIND_FIRST}, recorded_at DESC, id DESC
"""


def past_quantiles(
    db: Session, instruments: Sequence[Instrument], sessions: Sessions, method: str
) -> Floats:
    """Return what a method forecast for `sessions`, (tickers, sessions, 11), NaN where nothing.

    Quantiles are those before calibration where there was any; outermost ones that were not stated
    are made up for. Of several forecasts of one session, live goes before late and late before
    backtest.
    """
    by_one_process(db)
    ids = [instrument.id for instrument in instruments]
    span = {"first": sessions[0].item(), "last": sessions[-1].item()}
    rows = matrix(db, _PAST, {"ids": ids, "method": method, **span})
    column, known = columns(sessions, days(rows[:, 1]))
    answer = np.full((len(ids), len(sessions), len(QUANTILE_COLUMNS)), np.nan)
    answer[rows_of(ids, rows[known, 0]), column[known]] = rows[known, 2:]
    extend(answer)
    return answer


# From the second to the first of the levels, in distances from the third to the second, as of
# Student's t with 5 degrees of freedom, whose tails are about those of returns.
_OUTERMOST = float(np.divide(*np.diff(stdtrit(5, QUANTILES[:3]))))


def extend(quantiles: Floats) -> None:
    """Fill in the first and the last of `quantiles` (…, 11) where only they are unknown.

    Forecasts of before 0.3 state no such levels, and have much to teach all the same.
    """
    for first, second, third in ((0, 1, 2), (-1, -2, -3)):
        inner = quantiles[..., second]
        beyond = inner + _OUTERMOST * (inner - quantiles[..., third])
        np.copyto(quantiles[..., first], beyond, where=np.isnan(quantiles[..., first]))


_NEWEST = text(f"""
SELECT * FROM stockbatch.forecasts
WHERE instrument_id = :id AND method = :method AND horizon = 1
ORDER BY target_session DESC, {KIND_FIRST}, recorded_at DESC, id DESC
LIMIT 1
""")


def newest(db: Session, instrument: Instrument, method: str) -> Any:
    """Return the row of the last session that a method forecast, None where there is none."""
    return db.execute(_NEWEST, {"id": instrument.id, "method": method}).first()


# The baseline is one that every ticker with a bar has; a ticker that no network could say anything
# of is done, too.
_BACKTESTED = text("""
SELECT instrument_id FROM stockbatch.forecasts
WHERE instrument_id = ANY(cast(:ids AS int[])) AND kind = :backtest
    AND method = ANY(:methods) AND origin_session BETWEEN :first AND :last
GROUP BY instrument_id
HAVING bool_or(method = :network) OR bool_and(method = :baseline)
""")


def backtested(
    db: Session, instruments: Sequence[Instrument], network: str, origins: Sessions
) -> set[int]:
    """Return the ids of the instruments whose backtest with a network from these is recorded."""
    found = db.scalars(
        _BACKTESTED,
        {
            "ids": [instrument.id for instrument in instruments],
            "backtest": Kind.BACKTEST,
            "network": network,
            "baseline": POINT_BASELINE,
            "methods": [POINT_BASELINE, *NETWORKS],
            "first": origins[0].item(),
            "last": origins[-1].item(),
        },
    )
    return set(found)


def _row(forecast: Forecast, run: Run, kind: Kind, issued_at: datetime) -> tuple[Any, ...]:
    return (
        forecast.instrument_id,
        forecast.origin_session,
        forecast.target_session,
        forecast.horizon,
        forecast.method,
        kind.value,
        forecast.fingerprint,
        forecast.origin_close,
        forecast.close,
        forecast.log_return,
        *(forecast.quantiles or (None,) * len(QUANTILE_COLUMNS)),
        forecast.probability_of_rise,
        *(forecast.raw_quantiles or (None,) * len(RAW_QUANTILE_COLUMNS)),
        forecast.volatility,
        forecast.shrinkage,
        forecast.dissimilarity,
        None if forecast.dissimilarity is None else forecast.dissimilarity <= 1,
        forecast.model_id,
        run.id,
        issued_at,
        forecast.probability_of_fall,
        forecast.probability_of_move_2,
        forecast.probability_of_move_5,
        forecast.usual_move,
        forecast.reasons,
    )
