"""Which model serves which origins: dated rows that are added, never changed."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.exceptions import NothingToRollBack, UnknownModel, UnsuitableModel
from stockbatch.records import Instrument, ManualReason, ModelKind, Reason
from stockbatch.store import models

# What serves a session already is not promoted once more: a run that is repeated adds no row. Each
# kind of network has a model in use of its own.
_PUT_INTO_USE = text("""
INSERT INTO stockbatch.promotions (instrument_id, model_id, from_session, reason)
SELECT n.instrument_id, n.model_id, :from_session, n.reason
FROM unnest(cast(:ids AS int[]), cast(:models AS bigint[]), cast(:reasons AS text[]))
    AS n (instrument_id, model_id, reason)
WHERE n.model_id IS DISTINCT FROM (
    SELECT p.model_id FROM stockbatch.promotions AS p
    JOIN stockbatch.models AS m ON m.id = p.model_id
    WHERE p.instrument_id = n.instrument_id AND p.from_session <= :from_session
        AND m.method = (SELECT method FROM stockbatch.models WHERE id = n.model_id)
    ORDER BY p.from_session DESC, p.id DESC LIMIT 1
)
""")

_HISTORY = text("""
SELECT p.model_id, p.from_session, p.reason, m.kind
FROM stockbatch.promotions AS p
JOIN stockbatch.models AS m ON m.id = p.model_id
WHERE p.instrument_id = :instrument_id AND m.method = :network
ORDER BY p.from_session, p.id
""")

_MODEL = text("""
SELECT m.id, m.method, m.kind, m.instrument_id, coalesce(i.ticker, m.calendar) AS owner,
    m.last_session, m.configuration, m.weights IS NULL AS pruned
FROM stockbatch.models AS m LEFT JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
WHERE m.id = :id
""")


class InUse(NamedTuple):
    """What the settings of now use: a kind of network, and models of one configuration."""

    network: str
    configuration: str


def put_into_use(
    db: Session,
    models: Mapping[int, int],
    from_session: date,
    reasons: Mapping[int, Reason | ManualReason],
) -> None:
    """Put models into use from a session on, where others are; all mappings by instrument id."""
    ids = list(models)
    chosen = {"models": list(models.values()), "reasons": [reasons[i] for i in ids]}
    db.execute(_PUT_INTO_USE, {"ids": ids, "from_session": from_session, **chosen})


def promote(
    db: Session, instrument: Instrument, model_id: int, from_session: date, now: InUse
) -> None:
    """Put a model that somebody chose into use. Raises UnknownModel, UnsuitableModel."""
    _require_suitable(db, instrument, model_id, from_session, now)
    reasons = {instrument.id: ManualReason.MANUAL}
    put_into_use(db, {instrument.id: model_id}, from_session, reasons)


def roll_back(
    db: Session, instrument: Instrument, from_session: date, now: InUse
) -> tuple[int, date]:
    """Put the model in use before into use again; return its id and the first session it serves.

    That is `from_session`, or that of the promotion undone where it is later. Doing it twice goes
    two models back; a base stands for the base in use. Raises NothingToRollBack, UnsuitableModel.
    """
    about = {"instrument_id": instrument.id, "network": now.network}
    used = _succession(db.execute(_HISTORY, about))
    if len(used) < 2:
        raise NothingToRollBack(ticker=instrument.ticker)
    before, undone = used[-2:]
    from_session = max(from_session, undone.from_session)
    model_id = before.model_id
    # The base of then may be of other settings, or superseded: a ticker without a model of its own
    # uses the base that all the others use.
    if before.kind == ModelKind.BASE:
        model_id = _base_in_use(db, instrument, now.network, from_session) or model_id
    _require_suitable(db, instrument, model_id, from_session, now)
    reasons = {instrument.id: ManualReason.ROLLBACK}
    put_into_use(db, {instrument.id: model_id}, from_session, reasons)
    return model_id, from_session


def _succession(rows: Iterable[Any]) -> list[Any]:
    """Return the promotions that led to the model in use; what was rolled back is left out."""
    used: list[Any] = []
    for row in rows:
        # Going back to a model undoes what came after it; so does the one in use, put into use once
        # more.
        same = [place for place, other in enumerate(used) if _key(other) == _key(row)]
        if same and (row.reason == ManualReason.ROLLBACK or same[-1] == len(used) - 1):
            del used[same[-1] :]
        used.append(row)
    return used


def _key(row: Any) -> object:
    """Return what tells one model in use from another: all bases are one."""
    return ModelKind.BASE if row.kind == ModelKind.BASE else row.model_id


def _base_in_use(db: Session, instrument: Instrument, network: str, origin: date) -> int | None:
    about = (network, instrument.calendar, origin)
    base = models.newest_of_calendar(db, *about, demo=instrument.demo)
    return None if base is None else base.id


def _require_suitable(
    db: Session, instrument: Instrument, model_id: int, from_session: date, now: InUse
) -> None:
    row = db.execute(_MODEL, {"id": model_id}).first()
    if row is None:
        raise UnknownModel(model_id=model_id, ticker=instrument.ticker)
    base = _base_in_use(db, instrument, now.network, from_session)
    reasons = {
        f"it belongs to {row.owner}": row.instrument_id not in (instrument.id, None),
        f"it is of {row.method}, and {now.network} is in use": row.method != now.network,
        f"the base in use is model {base}": row.kind == ModelKind.BASE and model_id != base,
        "its weights have been pruned": row.pruned,
        "it was trained with other settings": row.configuration != now.configuration,
        f"it learned from sessions up to {row.last_session}, and {from_session} is before that":
            row.last_session > from_session,
    }  # fmt: skip
    for reason, holds in reasons.items():
        if holds:
            raise UnsuitableModel(model_id=model_id, ticker=instrument.ticker, reason=reason)
