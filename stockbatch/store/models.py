"""Trained models, their promotions and their training curves."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Text, TextClause, bindparam, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch import features, inference
from stockbatch.exceptions import NoModel
from stockbatch.records import Instrument, Reason, Run, TrainedModel
from stockbatch.tables import ModelRow, PromotionRow, TrainingCurveRow

_CHAMPIONS = text("""
SELECT DISTINCT ON (p.instrument_id) p.instrument_id, i.ticker, m.*
FROM stockbatch.promotions AS p
JOIN stockbatch.models AS m ON m.id = p.model_id
JOIN stockbatch.instruments AS i ON i.id = p.instrument_id
WHERE p.instrument_id = ANY(cast(:ids AS int[])) AND p.from_session <= :origin
    AND m.weights IS NOT NULL
ORDER BY p.instrument_id, p.from_session DESC, p.id DESC
""")

_IN_USE = """
SELECT DISTINCT ON (i.ticker) i.ticker, m.*
FROM stockbatch.promotions AS p
JOIN stockbatch.models AS m ON m.id = p.model_id
JOIN stockbatch.instruments AS i ON i.id = p.instrument_id
WHERE i.ticker = :ticker OR (:ticker IS NULL AND i.active)
ORDER BY i.ticker, p.from_session DESC, p.id DESC
"""


def add(db: Session, models: Mapping[int, TrainedModel], run: Run) -> dict[int, int]:
    """Store and promote new models by instrument id; return their ids likewise.

    The same data, settings and seed make the same model: it is stored once.
    """
    ids = {}
    for instrument_id, model in models.items():
        weights = inference.to_bytes(model.weights)
        known = select(ModelRow.id).where(
            ModelRow.instrument_id == instrument_id,
            ModelRow.last_session == model.last_session,
            ModelRow.configuration == model.configuration,
            ModelRow.fingerprint == model.fingerprint,
        )
        values = _values(instrument_id, model, weights, run)
        added = db.scalar(
            insert(ModelRow).values(values).on_conflict_do_nothing().returning(ModelRow.id)
        )
        ids[instrument_id] = added or db.scalars(known).one()
        if added:
            _add_curve(db, added, model)
        db.execute(
            insert(PromotionRow)
            .values(
                instrument_id=instrument_id,
                model_id=ids[instrument_id],
                from_session=run.session,
                reason=model.reason,
            )
            .on_conflict_do_nothing()
        )
    return ids


def _values(instrument_id: int, model: TrainedModel, weights: bytes, run: Run) -> dict[str, Any]:
    best = slice(model.best_epoch - 1, model.best_epoch)
    return {
        "instrument_id": instrument_id,
        "first_session": model.first_session,
        "last_session": model.last_session,
        "fingerprint": model.fingerprint,
        "configuration": model.configuration,
        "parameters": dict(model.parameters),
        "libraries": dict(model.libraries),
        "seed": model.seed,
        "weights": weights,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "reason": model.reason,
        "best_epoch": model.best_epoch,
        "training_loss": next(iter(model.training_loss[best]), None),
        "validation_loss": next(iter(model.validation_loss[best]), None),
        "run_id": run.id,
    }


def _add_curve(db: Session, model_id: int, model: TrainedModel) -> None:
    db.execute(
        insert(TrainingCurveRow).values(
            model_id=model_id,
            training_loss=list(model.training_loss),
            validation_loss=list(model.validation_loss),
        )
    )


def champions(
    db: Session, instruments: Sequence[Instrument], origin: date
) -> dict[int, TrainedModel]:
    """Return the model in use at `origin` by instrument id, where there is one."""
    ids = [instrument.id for instrument in instruments]
    return {
        row.instrument_id: _record(row)
        for row in db.execute(_CHAMPIONS, {"ids": ids, "origin": origin})
    }


def _record(row: Any) -> TrainedModel:
    return TrainedModel(
        id=row.id,
        ticker=row.ticker,
        first_session=row.first_session,
        last_session=row.last_session,
        fingerprint=row.fingerprint,
        configuration=row.configuration,
        parameters=row.parameters,
        libraries=row.libraries,
        seed=row.seed,
        weights=inference.from_bytes(row.weights),
        best_epoch=row.best_epoch,
        training_loss=(),
        validation_loss=(),
        reason=Reason(row.reason),
    )


def summaries(db: Session) -> Sequence[Any]:
    """Return the model in use now of every ticker, by ticker."""
    return db.execute(_in_use(), {"ticker": None}).all()


def champion(db: Session, ticker: str) -> TrainedModel:
    """Return the model in use now of one ticker. Raises NoModel."""
    row = db.execute(_in_use(), {"ticker": ticker}).first()
    if row is None or row.weights is None:
        raise NoModel(ticker=ticker, when="")
    return _record(row)


def details(db: Session, ticker: str) -> dict[str, Any]:
    """Return everything known of the model in use now, weights aside. Raises NoModel."""
    row = db.execute(_in_use(), {"ticker": ticker}).mappings().first()
    if row is None:
        raise NoModel(ticker=ticker, when="")
    facts = dict(row)
    weights = facts.pop("weights")
    facts["weights"] = "pruned" if weights is None else f"{len(weights)} bytes"
    facts["inputs"] = ", ".join(features.NAMES)
    return facts


def _in_use() -> TextClause:
    return text(_IN_USE).bindparams(bindparam("ticker", type_=Text))
