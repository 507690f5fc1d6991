"""Bars, corporate actions and what the checks found in them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.records import (
    Bars,
    BarState,
    CorporateAction,
    Finding,
    Instrument,
    Panel,
    PriceBasis,
    Sessions,
)
from stockbatch.store.bulk import matrix, stage
from stockbatch.tables import BarRow, CorporateActionRow, DataIssueRow

PRICES = ("open", "high", "low", "close")

_COLUMNS = (
    ("instrument_id", "int4"),
    ("session", "date"),
    ("open", "float8"),
    ("high", "float8"),
    ("low", "float8"),
    ("close", "float8"),
    ("volume", "float8"),
    ("state", "text"),
)

_DIFFERS = "(b.open, b.high, b.low, b.close) IS DISTINCT FROM (s.open, s.high, s.low, s.close)"

_KEEP_REVISIONS = text(f"""
INSERT INTO stockbatch.bar_revisions
    (instrument_id, session, revision, open, high, low, close, volume,
     price_basis, state, provider, fetched_at)
SELECT b.instrument_id, b.session, b.revision, b.open, b.high, b.low, b.close, b.volume,
       b.price_basis, b.state, b.provider, b.fetched_at
FROM stockbatch.bars AS b JOIN staged_bars AS s USING (instrument_id, session)
WHERE {_DIFFERS}
""")

_UPSERT = text(f"""
INSERT INTO stockbatch.bars AS b
    (instrument_id, session, open, high, low, close, volume, state, provider, price_basis)
SELECT s.*, :provider, :price_basis FROM staged_bars AS s
ON CONFLICT (instrument_id, session) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
    volume = excluded.volume, state = excluded.state, provider = excluded.provider,
    price_basis = excluded.price_basis, fetched_at = clock_timestamp(),
    revision = b.revision + CASE WHEN {_DIFFERS.replace("s.", "excluded.")} THEN 1 ELSE 0 END
WHERE {_DIFFERS.replace("s.", "excluded.")}
    OR (b.volume, b.state) IS DISTINCT FROM (excluded.volume, excluded.state)
""")


def add(
    db: Session,
    bars: Mapping[int, Bars],
    *,
    provider: str,
    price_basis: PriceBasis,
    state: BarState = BarState.FINAL,
) -> int:
    """Store checked bars by instrument id; a bar that changed keeps what it was as a revision.

    Return the number of bars new or changed.
    """
    stage(db, "staged_bars", _COLUMNS, _rows(bars, state))
    db.execute(_KEEP_REVISIONS)
    result: Any = db.execute(_UPSERT, {"provider": provider, "price_basis": price_basis})
    return int(result.rowcount)


def _rows(bars: Mapping[int, Bars], state: BarState) -> Iterator[tuple[Any, ...]]:
    for instrument_id, of_one in bars.items():
        volume = [None if v != v else v for v in of_one.volume.tolist()]
        columns = (getattr(of_one, price).tolist() for price in PRICES)
        for row in zip(of_one.sessions.tolist(), *columns, volume, strict=True):
            yield instrument_id, *row, state.value


def last_sessions(db: Session, instrument_ids: Sequence[int], through: date) -> dict[int, date]:
    """Return the last session with a final bar, not after `through`, by instrument id."""
    found = db.execute(
        text(
            "SELECT i.id, last.session FROM unnest(cast(:ids AS int[])) AS i (id)"
            " CROSS JOIN LATERAL (SELECT session FROM stockbatch.bars"
            "   WHERE instrument_id = i.id AND session <= :through AND state = 'final'"
            "   ORDER BY session DESC LIMIT 1) AS last"
        ),
        {"ids": list(instrument_ids), "through": through},
    )
    return {row.id: row.session for row in found}


def with_bar(db: Session, instrument_ids: Sequence[int], session: date) -> set[int]:
    """Return the ids of the instruments that have a usable bar of `session`."""
    return set(
        db.scalars(
            select(BarRow.instrument_id).where(
                BarRow.instrument_id.in_(instrument_ids),
                BarRow.session == session,
                BarRow.state != BarState.QUARANTINED,
            )
        )
    )


def load_panel(db: Session, instruments: Sequence[Instrument], sessions: Sessions) -> Panel:
    """Load the usable bars and the actions of `instruments` on `sessions` and nothing later."""
    shape = (len(instruments), len(sessions))
    prices = np.full((len(PRICES), *shape), np.nan)
    actions = {"split": np.ones(shape), "dividend": np.zeros(shape)}
    row_of = {instrument.id: row for row, instrument in enumerate(instruments)}
    span = {
        "ids": list(row_of),
        "first": sessions[0].item(),
        "last": sessions[-1].item(),
    }
    table = matrix(
        db,
        "SELECT instrument_id, session - date '1970-01-01' AS day, open, high, low, close"
        " FROM stockbatch.bars WHERE instrument_id = ANY(%(ids)s)"
        " AND session BETWEEN %(first)s AND %(last)s AND state <> 'quarantined'",
        span,
    )
    row = _positions(np.array(list(row_of)), table[:, 0])
    column, known = _columns(sessions, table[:, 1])
    prices[:, row[known], column[known]] = table[known, 2:].T
    for action in db.execute(
        text(
            "SELECT instrument_id, session, kind, value FROM stockbatch.corporate_actions"
            " WHERE instrument_id = ANY(cast(:ids AS int[]))"
            " AND session BETWEEN :first AND :last AND retracted_at IS NULL"
        ),
        span,
    ):
        column, known = _columns(sessions, np.array([np.datetime64(action.session).astype(int)]))
        if known[0]:
            actions[action.kind][row_of[action.instrument_id], column[0]] = action.value
    return Panel(
        tickers=tuple(instrument.ticker for instrument in instruments),
        sessions=sessions,
        **dict(zip(PRICES, prices, strict=True)),
        **actions,
    )


def _positions(ids: Any, wanted: Any) -> Any:
    """Return where each of `wanted` stands in `ids`, which hold all of them."""
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]


def _columns(sessions: Sessions, days: Any) -> tuple[Any, Any]:
    """Return the column of each day (since 1970) in `sessions`, and whether it is one of them."""
    grid = sessions.astype("datetime64[D]").astype(np.int64)
    column = np.minimum(np.searchsorted(grid, days), len(grid) - 1)
    return column, grid[column] == days


def add_actions(
    db: Session, actions: Mapping[int, Sequence[CorporateAction]], *, provider: str
) -> None:
    """Store corporate actions by instrument id; a known one keeps its first sighting."""
    rows = [
        {
            "instrument_id": instrument_id,
            "session": action.session,
            "kind": action.kind,
            "value": action.value,
            "provider": provider,
        }
        for instrument_id, of_one in actions.items()
        for action in of_one
    ]
    if rows:
        statement = insert(CorporateActionRow)
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["instrument_id", "session", "kind"],
                set_={"value": statement.excluded.value, "retracted_at": None},
            ),
            rows,
        )


def add_findings(
    db: Session, findings: Mapping[int, Sequence[Finding]], *, run_id: int | None
) -> None:
    """Store what checks found by instrument id; what is known already stays as it is."""
    rows = [
        {
            "instrument_id": instrument_id,
            "session": finding.session,
            "check_name": finding.check,
            "severity": finding.severity,
            "message": finding.message,
            "observed": finding.observed,
            "threshold": finding.threshold,
            "run_id": run_id,
        }
        for instrument_id, of_one in findings.items()
        for finding in of_one
    ]
    if rows:
        db.execute(insert(DataIssueRow).on_conflict_do_nothing(), rows)
