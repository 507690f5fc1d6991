"""Metrics of tickers: those of now alone, in a column each."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch import metrics
from stockbatch.records import Floats, Instrument, Kind, Sessions
from stockbatch.store import methods as method_store
from stockbatch.store.bulk import days, matrix, rows_of, stage_arrays

N = "n"
"""Column of the number of scored forecasts; metrics whose losses some of them lack have others."""
COUNTS = (
    N,
    "n_direction",
    "n_pinball",
    *(f"n_{percent}" for percent in metrics.COVERAGES),
    "n_both_points",
    "n_both_quantiles",
)
"""Columns of numbers of forecasts: the last two of those that the baseline of points, and that of
quantiles, made as well."""
COMPARED = tuple(metric for metric in metrics.METRICS if metric in metrics.SKILL_METRICS)
NUMBERS = (
    *metrics.METRICS,
    *(f"{metric}_baseline" for metric in COMPARED),
    *(f"{metric}_skill" for metric in COMPARED),
)
"""Columns of values."""

Columns = Mapping[str, Floats]
"""COUNTS and NUMBERS by name, arrays (tickers,), NaN where unknown; no row where N is 0."""
Table = Mapping[tuple[str, Kind, int], Columns]
"""By method, kind and window."""


def nothing(tickers: int) -> dict[str, Floats]:
    """Return the columns of tickers that have no forecasts."""
    columns = {name: np.zeros(tickers) for name in COUNTS}
    return columns | {name: np.full(tickers, np.nan) for name in NUMBERS}


def count_of(metric: str) -> str:
    """Return the column that says how many forecasts are behind a metric."""
    name, _, percent = metric.rpartition("_")
    if name in ("coverage", "width", "winkler"):
        return f"n_{percent}"
    return {"directional_accuracy": "n_direction", "pinball": "n_pinball"}.get(metric, N)


class Known(NamedTuple):
    """The newest metrics of tickers."""

    through: Sessions
    """Up to which session they go, (tickers,), NaT of tickers that have none."""
    table: Table


_LOAD = f"""
SELECT instrument_id, through_session - date '1970-01-01' AS day,
    array_position(%(methods)s::text[], method) AS method,
    array_position(%(kinds)s::text[], kind) AS kind, window_sessions,
    {", ".join((*COUNTS, *NUMBERS))}
FROM stockbatch.ticker_metrics WHERE instrument_id = ANY(%(ids)s)
"""
_KEYS = 5


def load(db: Session, instruments: Sequence[Instrument]) -> Known:
    """Return the metrics of each ticker's newest session; what is only older is left out."""
    methods, kinds = method_store.names(db), list(Kind)
    ids = [instrument.id for instrument in instruments]
    rows = matrix(db, _LOAD, {"ids": ids, "methods": methods, "kinds": kinds})
    ticker, day = rows_of(ids, rows[:, 0]), days(rows[:, 1])
    through = np.full(len(ids), np.datetime64("NaT", "D"))
    np.fmax.at(through, ticker, day)
    rows, ticker = (values[day == through[ticker]] for values in (rows, ticker))
    table = {}
    for key in np.unique(rows[:, 2:_KEYS], axis=0):
        mine = (rows[:, 2:_KEYS] == key).all(axis=1)
        values = np.full((rows.shape[1] - _KEYS, len(ids)), np.nan)
        values[:, ticker[mine]] = rows[mine, _KEYS:].T
        method, kind, window = key.astype(int).tolist()
        columns = dict(zip((*COUNTS, *NUMBERS), values, strict=True))
        columns |= {name: np.nan_to_num(columns[name]) for name in COUNTS}
        table[methods[method - 1], kinds[kind - 1], window] = columns
    return Known(through, table)


_STAGED = (
    *((name, "int4") for name in ("instrument_id", "method", "kind", "window_sessions", *COUNTS)),
    *((name, "float8") for name in NUMBERS),
)
_CHANGING = ("through_session", *COUNTS, *NUMBERS)
# What is the same is left alone, or a second run of a night would write every row anew.
_SAVE = text(f"""
INSERT INTO stockbatch.ticker_metrics AS m
    (instrument_id, calendar, method, kind, window_sessions, {", ".join(_CHANGING)})
SELECT instrument_id, :calendar, (cast(:methods AS text[]))[method], (cast(:kinds AS text[]))[kind],
    window_sessions, :through, {", ".join(COUNTS)},
    {", ".join(f"nullif({name}, 'NaN')" for name in NUMBERS)}
FROM staged_ticker_metrics
ON CONFLICT (instrument_id, method, kind, window_sessions) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _CHANGING)}, updated_at = clock_timestamp()
WHERE m.through_session <= excluded.through_session
    AND ({", ".join(f"m.{name}" for name in _CHANGING)}) IS DISTINCT FROM
        ({", ".join(f"excluded.{name}" for name in _CHANGING)})
""")


def save(
    db: Session, calendar: str, through: date, instruments: Sequence[Instrument], table: Table
) -> None:
    """Store metrics of the windows ending at `through`: they replace older ones, never newer."""
    if not table or not instruments:
        return
    methods, kinds = sorted({method for method, _, _ in table}), list(Kind)
    ids = np.array([instrument.id for instrument in instruments])
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name, _ in _STAGED}
    for (method, kind, window), columns in table.items():
        there = columns[N] > 0
        given = {
            "instrument_id": ids,
            "method": np.full(len(ids), methods.index(method) + 1),
            "kind": np.full(len(ids), kinds.index(kind) + 1),
            "window_sessions": np.full(len(ids), window),
        }
        for name in parts:
            values = given[name] if name in given else columns[name]
            parts[name].append(values[there])
    # In one order, so that two of them never wait for each other; rows of a ticker lie together.
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    order = np.argsort(arrays["instrument_id"], kind="stable")
    arrays = {name: values[order] for name, values in arrays.items()}
    stage_arrays(db, "staged_ticker_metrics", _STAGED, arrays)
    named = {"calendar": calendar, "through": through, "methods": methods, "kinds": kinds}
    db.execute(_SAVE, named)
