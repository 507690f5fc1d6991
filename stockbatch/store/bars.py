"""Bars, corporate actions and what the checks found in them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import NOW, BarRow, CorporateActionRow, DataIssueRow, SourceRow
from stockbatch.market.sessions import as_date, columns
from stockbatch.records import (
    ADJUSTED_FOR,
    ActionKind,
    Bars,
    BarState,
    Check,
    CorporateAction,
    Decision,
    Finding,
    Floats,
    Instrument,
    Panel,
    PriceBasis,
    Sessions,
    Severity,
    StoredBars,
)
from stockbatch.store import sources
from stockbatch.store.bulk import among, by_one_process, days, matrix, rows_of, stage_arrays
from stockbatch.store.text import storable

PRICES = ("open", "high", "low", "close")
TRADED = (*PRICES, "volume")

_COLUMNS = (
    ("instrument_id", "int4"),
    ("session", "date"),
    *((price, "float8") for price in PRICES),
    ("volume", "float8"),
    ("state", "int2"),
)
_STATES = list(BarState)
"""What `state` numbers in a staged bar, from 1: arrays hold no words."""
_STATE = "(cast(:states AS text[]))[s.state]"

_STORED = (
    "b.instrument_id = ANY(cast(:ids AS int[])) AND b.session BETWEEN :first AND :last"
    " AND (b.instrument_id, b.session) = (s.instrument_id, s.session)"
)
"""Joins the staged bars; naming the tickers keeps the server from reading the whole table."""

# Only a price makes a revision: volumes are corrected for days, and no forecast reads them.
_DIFFERS = "(b.open, b.high, b.low, b.close) IS DISTINCT FROM (s.open, s.high, s.low, s.close)"

# A decision was about these very prices: once they change, it says nothing, and the checks decide.
_FOLLOW_DECISIONS = text("""
UPDATE staged_bars AS s
SET state = array_position(
    cast(:states AS text[]), CASE d.decision WHEN :rejected THEN :quarantined ELSE :final END
)
FROM (
    SELECT DISTINCT ON (instrument_id, session) * FROM stockbatch.decisions
    WHERE open IS NOT NULL ORDER BY instrument_id, session, id DESC
) AS d
WHERE (d.instrument_id, d.session) = (s.instrument_id, s.session)
    AND (d.open, d.high, d.low, d.close) = (s.open, s.high, s.low, s.close)
""").bindparams(rejected=Decision.REJECTED, quarantined=BarState.QUARANTINED, final=BarState.FINAL)

_KEEP_REVISIONS = text(f"""
INSERT INTO stockbatch.bar_revisions
    (instrument_id, session, revision, open, high, low, close, volume,
     price_basis, state, source_id, fetched_at)
SELECT b.instrument_id, b.session, b.revision, b.open, b.high, b.low, b.close, b.volume,
       b.price_basis, b.state, b.source_id, b.fetched_at
FROM stockbatch.bars AS b JOIN staged_bars AS s ON {_STORED}
WHERE {_DIFFERS}
""")

# A bar that is the same is not touched: a night writes one bar per ticker, not the ten asked for.
# Staged arrays know no NULL, so that an unknown volume comes as NaN.
_REPLACE = text(f"""
UPDATE stockbatch.bars AS b SET
    open = s.open, high = s.high, low = s.low, close = s.close,
    volume = nullif(s.volume, 'NaN'), state = {_STATE}, source_id = :source,
    price_basis = :price_basis, fetched_at = clock_timestamp(),
    revision = b.revision + CASE WHEN {_DIFFERS} THEN 1 ELSE 0 END
FROM staged_bars AS s
WHERE {_STORED}
    AND ({_DIFFERS} OR (b.volume, b.state, b.price_basis)
        IS DISTINCT FROM (nullif(s.volume, 'NaN'), {_STATE}, :price_basis))
""")

# No ON CONFLICT: who writes bars holds the lock on their calendar, and it would cost a third more.
_INSERT = text(f"""
INSERT INTO stockbatch.bars
    (instrument_id, session, open, high, low, close, volume, state, source_id, price_basis)
SELECT s.instrument_id, s.session, s.open, s.high, s.low, s.close, nullif(s.volume, 'NaN'),
    {_STATE}, :source, :price_basis
FROM staged_bars AS s
WHERE NOT EXISTS (
    SELECT FROM stockbatch.bars AS b WHERE {_STORED}
)
""")


def add(
    db: Session,
    bars: Mapping[int, Bars],
    *,
    provider: str,
    price_basis: PriceBasis,
    state: BarState = BarState.FINAL,
    provisional: date | None = None,
) -> int:
    """Store checked bars by instrument id; a bar that changed keeps what it was as a revision.

    Those of the session `provisional` are so whatever `state` says; and a bar that somebody decided
    on keeps to that as long as its prices are the same. Return the number of bars new or changed.
    """
    filled = {id_: of_one for id_, of_one in bars.items() if len(of_one)}
    if not filled:
        return 0
    stage_arrays(db, "staged_bars", _COLUMNS, _arrays(filled, state, provisional))
    stored = {
        "ids": list(filled),
        "first": min(of_one.sessions.min() for of_one in filled.values()).item(),
        "last": max(of_one.sessions.max() for of_one in filled.values()).item(),
    }
    source = sources.number(db, provider)
    given = {**stored, "source": source, "price_basis": price_basis, "states": _STATES}
    db.execute(_FOLLOW_DECISIONS, {"states": _STATES})
    db.execute(_KEEP_REVISIONS, stored)
    results: list[Any] = [db.execute(statement, given) for statement in (_REPLACE, _INSERT)]
    return sum(int(result.rowcount) for result in results)


def _arrays(bars: Mapping[int, Bars], state: BarState, provisional: date | None) -> dict[str, Any]:
    parts = list(bars.values())
    names = ("session", *PRICES, "volume")
    arrays = {
        name: np.concatenate(
            [getattr(of_one, f"{name}s" if name == "session" else name) for of_one in parts]
        )
        for name in names
    }
    arrays["instrument_id"] = np.repeat(list(bars), [len(of_one) for of_one in parts])
    arrays["state"] = np.full(len(arrays["session"]), _STATES.index(state) + 1)
    if provisional is not None:
        newest = arrays["session"] == np.datetime64(provisional, "D")
        arrays["state"][newest] = _STATES.index(BarState.PROVISIONAL) + 1
    return arrays


# Of each ticker the index is read backwards from `through` and left after `count` rows; one query
# over all would sort every bar there is.
_RECENT = f"""
SELECT i.id, b.session - date '1970-01-01' AS day, {", ".join(f"b.{price}" for price in PRICES)},
    b.final, b.own, b.basis, newest.session - date '1970-01-01' AS newest
FROM unnest(cast(%(ids)s AS int[])) AS i (id) CROSS JOIN LATERAL (
    SELECT session, {", ".join(PRICES)}, (state = %(final)s)::int AS final,
        (source_id = %(source)s)::int AS own,
        array_position(cast(%(bases)s AS text[]), price_basis) AS basis
    FROM stockbatch.bars
    WHERE instrument_id = i.id AND session <= %(through)s AND state <> %(quarantined)s
    ORDER BY session DESC LIMIT %(count)s
) AS b CROSS JOIN LATERAL (
    SELECT session FROM stockbatch.bars
    WHERE instrument_id = i.id AND state <> %(quarantined)s
    ORDER BY session DESC LIMIT 1
) AS newest
"""
_BASES = list(PriceBasis)
"""What `basis` numbers, from 1."""


def recent(
    db: Session, instrument_ids: Sequence[int], through: date, count: int, *, provider: str
) -> dict[int, StoredBars]:
    """Return the last `count` final bars up to `through` and provisional ones after the oldest.

    By instrument id, oldest first; of an instrument without a final bar nothing is told.
    """
    rows = matrix(
        db,
        _RECENT,
        {
            "ids": list(instrument_ids),
            "through": through,
            "count": count + 1,
            "source": sources.number(db, provider),
            "bases": _BASES,
            "final": BarState.FINAL,
            "quarantined": BarState.QUARANTINED,
        },
    )
    # By ticker, then by session: each ticker is one slice of the table.
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    ids, starts = np.unique(rows[:, 0], return_index=True)
    ends = [*starts, len(rows)][1:]
    restated = _restatements(db, instrument_ids)
    found = {}
    for id_, start, end in zip(ids.astype(int).tolist(), starts, ends, strict=True):
        stored = _stored(rows[start:end])
        # The newest may be provisional, and is told beside those that are counted.
        stored = stored.where(np.cumsum(stored.final[::-1])[::-1] <= count)
        if not stored.final.any():
            continue
        later = [a for a in restated.get(id_, ()) if a.session > as_date(stored.sessions[0])]
        found[id_] = replace(stored, restatements=tuple(later))
    return found


def _stored(rows: Floats) -> StoredBars:
    _, day, opened, high, low, close, final, own, basis, newest = rows.T
    return StoredBars(
        bars=Bars(
            sessions=days(day),
            open=opened,
            high=high,
            low=low,
            close=close,
            volume=np.full(len(rows), np.nan),
        ),
        final=final == 1,
        own=own == 1,
        basis=tuple(_BASES[number - 1] for number in basis.astype(int).tolist()),
        newest=as_date(days(newest)[-1]),
    )


def _restatements(db: Session, instrument_ids: Sequence[int]) -> dict[int, list[CorporateAction]]:
    """Return the restatements that hold, by instrument id."""
    found = db.execute(
        select(CorporateActionRow).where(
            among(CorporateActionRow.instrument_id, instrument_ids),
            CorporateActionRow.kind == ActionKind.RESTATEMENT,
            CorporateActionRow.retracted_at.is_(None),
        )
    )
    restated: dict[int, list[CorporateAction]] = {}
    for row in found.scalars():
        action = CorporateAction(session=row.session, kind=ActionKind.RESTATEMENT, value=row.value)
        restated.setdefault(row.instrument_id, []).append(action)
    return restated


def states(db: Session, instrument_ids: Sequence[int], session: date) -> dict[int, BarState]:
    """Return the state of the bars of `session` by instrument id, where there is a bar."""
    found = db.execute(
        select(BarRow.instrument_id, BarRow.state).where(
            among(BarRow.instrument_id, instrument_ids), BarRow.session == session
        )
    )
    return {row.instrument_id: BarState(row.state) for row in found}


def providers(db: Session, instrument_ids: Sequence[int], session: date) -> dict[int, str]:
    """Return who the bars of `session` came from by instrument id, where there is a bar."""
    found = db.execute(
        select(BarRow.instrument_id, SourceRow.specification)
        .join(SourceRow, SourceRow.id == BarRow.source_id)
        .where(among(BarRow.instrument_id, instrument_ids), BarRow.session == session)
    )
    return {row.instrument_id: row.specification for row in found}


# As with `recent`, the index gives the newest bar of each ticker without reading the others.
_LAST = text("""
SELECT i.id, last.session FROM unnest(cast(:ids AS int[])) AS i (id)
CROSS JOIN LATERAL (
    SELECT session FROM stockbatch.bars
    WHERE instrument_id = i.id AND session <= :through AND state = :final
    ORDER BY session DESC LIMIT 1
) AS last
""").bindparams(final=BarState.FINAL)


def last_sessions(db: Session, instrument_ids: Sequence[int], through: date) -> dict[int, date]:
    """Return the last session with a final bar, not after `through`, by instrument id."""
    found = db.execute(_LAST, {"ids": list(instrument_ids), "through": through})
    return {row.id: row.session for row in found}


def span(db: Session, instrument_ids: Sequence[int]) -> tuple[date, date] | None:
    """Return the first and the last session with a bar that is used; None where there is none."""
    query = select(func.min(BarRow.session), func.max(BarRow.session)).where(
        among(BarRow.instrument_id, instrument_ids), BarRow.state != BarState.QUARANTINED
    )
    first, last = db.execute(query).one()
    return None if first is None else (first, last)


def with_bar(db: Session, instrument_ids: Sequence[int], session: date) -> set[int]:
    """Return the ids of the instruments that have a usable bar of `session`."""
    found = states(db, instrument_ids, session)
    return {id_ for id_, state in found.items() if state is not BarState.QUARANTINED}


# Days come as whole numbers, because `matrix` carries numbers only.
_WITHIN = "instrument_id = ANY(%(ids)s) AND session BETWEEN %(first)s AND %(last)s"
_PLACE = "instrument_id, session - date '1970-01-01' AS day"
_USABLE = f"""
SELECT {_PLACE}, {", ".join(TRADED)} FROM stockbatch.bars
WHERE {_WITHIN} AND state <> %(quarantined)s
"""
_ACTIONS = f"""
SELECT {_PLACE}, value FROM stockbatch.corporate_actions
WHERE {_WITHIN} AND kind = %(kind)s AND NOT in_prices AND retracted_at IS NULL
"""
_FOUND = f"SELECT {_PLACE} FROM stockbatch.data_issues WHERE {_WITHIN} AND check_name = %(check)s"


def load_panel(db: Session, instruments: Sequence[Instrument], sessions: Sessions) -> Panel:
    """Load the usable bars and the actions of `instruments` on `sessions` and nothing later."""
    by_one_process(db)
    shape = (len(instruments), len(sessions))
    traded = np.full((len(TRADED), *shape), np.nan)
    values, (row, column) = _placed(
        db, _USABLE, instruments, sessions, quarantined=BarState.QUARANTINED
    )
    traded[:, row, column] = values.T
    # Where nothing went ex, a price times 1 plus 0 is itself: no return needs a case of its own.
    split, restatement, dividend = np.ones(shape), np.ones(shape), np.zeros(shape)
    for kind, actions in (
        (ActionKind.SPLIT, split),
        (ActionKind.RESTATEMENT, restatement),
        (ActionKind.DIVIDEND, dividend),
    ):
        values, place = _placed(db, _ACTIONS, instruments, sessions, kind=kind)
        actions[place] = values[:, 0]
    confirmed = np.zeros(shape, bool)
    _, place = _placed(db, _FOUND, instruments, sessions, check=Check.JUMP_CONFIRMED)
    confirmed[place] = True
    return Panel(
        tickers=tuple(instrument.ticker for instrument in instruments),
        sessions=sessions,
        split=split * restatement,
        dividend=dividend,
        confirmed=confirmed,
        **dict(zip(TRADED, traded, strict=True)),
    )


def _placed(
    db: Session,
    query: str,
    instruments: Sequence[Instrument],
    sessions: Sessions,
    **parameters: object,
) -> tuple[Floats, tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return what a query finds after id and day, and the rows and columns it has in a panel.

    Days that are not among `sessions` are left out: there may be bars of special ones.
    """
    ids = [instrument.id for instrument in instruments]
    span = {"ids": ids, "first": sessions[0].item(), "last": sessions[-1].item()}
    table = matrix(db, query, {**span, **parameters})
    column, known = columns(sessions, days(table[:, 1]))
    return table[known, 2:], (rows_of(ids, table[known, 0]), column[known])


def add_actions(
    db: Session, actions: Mapping[int, Sequence[CorporateAction]], *, provider: str
) -> None:
    """Store corporate actions by instrument id; a known one keeps its first sighting."""
    source = sources.number(db, provider)
    rows = [
        {
            "instrument_id": instrument_id,
            "session": action.session,
            "kind": action.kind,
            "value": action.value,
            "source_id": source,
            "in_prices": action.in_prices,
        }
        for instrument_id, of_one in actions.items()
        for action in of_one
    ]
    if rows:
        statement = insert(CorporateActionRow)
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["instrument_id", "session", "kind"],
                set_={
                    "value": statement.excluded.value,
                    "in_prices": statement.excluded.in_prices,
                    "retracted_at": None,
                },
            ),
            rows,
        )


def retract_actions(
    db: Session,
    stated: Mapping[int, Sequence[CorporateAction]],
    spans: Mapping[int, tuple[date, date]],
    *,
    provider: str,
) -> int:
    """Mark as withdrawn what `provider` reported before and no longer states; return how many.

    `stated` are its actions now and `spans` the sessions it has answered for, by instrument id.
    """
    # Only within what the provider has answered for: of other sessions its silence says nothing.
    keys = [(id_, a.session, a.kind) for id_, of_one in stated.items() for a in of_one]
    result: Any = db.execute(
        text(
            "UPDATE stockbatch.corporate_actions AS a SET retracted_at = clock_timestamp()"
            " FROM unnest(cast(:ids AS int[]), cast(:firsts AS date[]), cast(:lasts AS date[]))"
            "   AS span (id, first, last)"
            " WHERE a.instrument_id = span.id AND a.session BETWEEN span.first AND span.last"
            " AND a.source_id = :source AND a.retracted_at IS NULL"
            " AND a.kind <> :restatement"
            " AND NOT EXISTS (SELECT FROM"
            "   unnest(cast(:of AS int[]), cast(:days AS date[]), cast(:kinds AS text[]))"
            "   AS now (id, session, kind)"
            "   WHERE (now.id, now.session, now.kind) = (a.instrument_id, a.session, a.kind))"
        ),
        {
            "ids": list(spans),
            "firsts": [first for first, _ in spans.values()],
            "lasts": [last for _, last in spans.values()],
            "of": [id_ for id_, _, _ in keys],
            "days": [session for _, session, _ in keys],
            "kinds": [kind for _, _, kind in keys],
            "source": sources.number(db, provider),
            "restatement": ActionKind.RESTATEMENT,
        },
    )
    return int(result.rowcount)


# A restatement said how older prices differ from newer ones: now all come on one basis.
_REBASE = text("""
UPDATE stockbatch.corporate_actions AS a SET
    in_prices = a.kind = ANY(cast(:contained AS text[])),
    retracted_at = CASE a.kind WHEN :restatement THEN clock_timestamp() ELSE a.retracted_at END
FROM unnest(cast(:ids AS int[]), cast(:firsts AS date[])) AS span (id, first)
WHERE a.instrument_id = span.id AND a.session >= span.first
    AND (a.kind = ANY(cast(:contained AS text[])) <> a.in_prices
        OR a.kind = :restatement AND a.retracted_at IS NULL)
""").bindparams(restatement=ActionKind.RESTATEMENT)


def rebase(db: Session, firsts: Mapping[int, date], basis: PriceBasis) -> None:
    """Let all actions of instruments mean what they do beside a whole history on one `basis`.

    `firsts` are the first sessions of those histories, by instrument id.
    """
    db.execute(
        _REBASE,
        {
            "ids": list(firsts),
            "firsts": list(firsts.values()),
            "contained": sorted(ADJUSTED_FOR[basis]),
        },
    )


def add_findings(
    db: Session, findings: Mapping[int, Sequence[Finding]], *, run_id: int | None
) -> None:
    """Store what checks found by instrument id.

    What is known already stays as it is, unless it is something new to decide on.
    """
    rows = [
        {
            "instrument_id": instrument_id,
            "session": finding.session,
            "check_name": finding.check,
            "severity": finding.severity,
            "message": storable(finding.message),
            "observed": finding.observed,
            "threshold": finding.threshold,
            "run_id": run_id,
        }
        for instrument_id, of_one in findings.items()
        for finding in of_one
    ]
    if rows:
        statement = insert(DataIssueRow)
        new = statement.excluded
        # A finding seen again keeps its date, unless it sets the bar aside for a new reason.
        changing = ("severity", "message", "observed", "threshold", "run_id")
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["instrument_id", "session", "check_name"],
                set_={**{name: new[name] for name in changing}, "found_at": NOW},
                where=(new.severity == Severity.QUARANTINED)
                & (DataIssueRow.message.is_distinct_from(new.message)),
            ),
            rows,
        )
