"""The ledger of forecasts: rows are added, never changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import Forecast, Kind, Run
from stockbatch.store.bulk import stage
from stockbatch.tables import QUANTILE_COLUMNS

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
    ("model_id", "int8"),
    ("run_id", "int8"),
    ("issued_at", "timestamptz"),
    ("deadline_at", "timestamptz"),
)

_NAMES = ", ".join(column for column, _ in _COLUMNS)

_INSERT = text(f"""
INSERT INTO stockbatch.forecasts ({_NAMES})
SELECT {_NAMES} FROM staged_forecasts AS s
WHERE NOT EXISTS (
    SELECT FROM stockbatch.forecasts AS f
    WHERE (f.instrument_id, f.target_session, f.horizon, f.method, f.fingerprint)
        = (s.instrument_id, s.target_session, s.horizon, s.method, s.fingerprint)
        AND (f.kind = 'backtest') = (s.kind = 'backtest')
)
ON CONFLICT DO NOTHING
""")


def add(
    db: Session,
    forecasts: Sequence[Forecast],
    run: Run,
    *,
    issued_at: datetime,
    backtest: bool = False,
) -> int:
    """Record forecasts and return how many were new; the database tells live from late.

    Equal inputs write no second row, however late they come again.
    """
    kind = Kind.BACKTEST if backtest else Kind.LIVE
    stage(db, "staged_forecasts", _COLUMNS, (_row(f, run, kind, issued_at) for f in forecasts))
    result: Any = db.execute(_INSERT)
    return int(result.rowcount)


def _row(forecast: Forecast, run: Run, kind: Kind, issued_at: datetime) -> tuple[Any, ...]:
    return (
        forecast.instrument_id,
        forecast.origin_session,
        forecast.target_session,
        forecast.horizon,
        forecast.method.value,
        kind.value,
        forecast.fingerprint,
        forecast.origin_close,
        forecast.close,
        forecast.log_return,
        *(forecast.quantiles or (None,) * len(QUANTILE_COLUMNS)),
        forecast.probability_of_rise,
        forecast.model_id,
        run.id,
        issued_at,
        forecast.deadline_at,
    )
