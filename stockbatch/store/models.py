"""Trained models, their promotions and their training curves."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from sqlalchemy import Text, TextClause, bindparam, insert, select, text, update
from sqlalchemy.orm import Session

from stockbatch.database.tables import MODEL_KEY, ModelRow, TrainingCurveRow
from stockbatch.engine import features
from stockbatch.engine.network import is_known
from stockbatch.engine.weights import from_bytes, to_bytes
from stockbatch.exceptions import NoModel
from stockbatch.records import Instrument, ModelKind, Reason, Run, TrainedModel, Verdict

# Of two promotions from the same session, the later row counts.
_CHAMPIONS = text("""
SELECT DISTINCT ON (p.instrument_id) p.instrument_id AS used_by, i.ticker, m.*
FROM stockbatch.promotions AS p
JOIN stockbatch.models_in_use AS m ON m.id = p.model_id
JOIN stockbatch.instruments AS i ON i.id = p.instrument_id
WHERE p.instrument_id = ANY(cast(:ids AS int[])) AND p.from_session <= :origin
    AND m.method = :network
ORDER BY p.instrument_id, p.from_session DESC, p.id DESC
""")

# Whether it came into use or not: a ticker's age is counted from what was trained, and a pruned row
# has nothing left to forecast with.
_NEWEST = text("""
SELECT DISTINCT ON (m.instrument_id) m.*, i.ticker
FROM stockbatch.models AS m
JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
WHERE m.instrument_id = ANY(cast(:ids AS int[])) AND m.method = :method
    AND m.kind = :kind AND m.last_session <= :origin AND m.weights IS NOT NULL
ORDER BY m.instrument_id, m.last_session DESC, m.id DESC
""")

# `models_in_use` leaves out what was pruned. A base need not be promoted: the newest one serves.
_BASE = text("""
SELECT m.*, NULL AS ticker
FROM stockbatch.models_in_use AS m
WHERE m.method = :method AND m.kind = :base AND m.calendar = :calendar AND m.demo = :demo
    AND m.last_session <= :origin
ORDER BY m.last_session DESC, m.id DESC LIMIT 1
""").bindparams(base=ModelKind.BASE)

# Told without the weights, which are by far the largest column.
_FACTS = """m.id, m.kind, m.parent_id, m.last_session, m.reason, m.verdict, m.best_epoch,
    m.validation_loss, m.comparison_loss, m.base_loss, m.champion_loss, m.gain, m.gain_error,
    m.weights IS NULL AS pruned"""

_IN_USE = """
SELECT DISTINCT ON (i.ticker) i.ticker, p.from_session AS in_use_from, p.reason AS in_use_because,
    {columns}
FROM stockbatch.promotions AS p
JOIN stockbatch.models AS m ON m.id = p.model_id
JOIN stockbatch.instruments AS i ON i.id = p.instrument_id
WHERE m.method = :network AND (i.ticker = :ticker OR (:ticker IS NULL AND i.active))
ORDER BY i.ticker, p.from_session DESC, p.id DESC
"""

# A base that a ticker once used belongs to no ticker: promotions tell of it. Of several promotions
# of a model the last is shown.
_OF_TICKER = text(f"""
SELECT i.ticker, p.from_session AS in_use_from, p.reason AS in_use_because, {_FACTS}
FROM stockbatch.instruments AS i
JOIN stockbatch.models AS m ON m.method = :method AND (
    m.instrument_id = i.id OR m.id IN (
        SELECT model_id FROM stockbatch.promotions WHERE instrument_id = i.id
    )
)
LEFT JOIN LATERAL (
    SELECT from_session, reason FROM stockbatch.promotions
    WHERE instrument_id = i.id AND model_id = m.id ORDER BY from_session DESC, id DESC LIMIT 1
) AS p ON true
WHERE i.ticker = :ticker
ORDER BY m.last_session DESC, m.id DESC
""")

# A training is told without its weights, with the last time that it came into use for its ticker.
_TRAININGS = text("""
SELECT m.id, m.kind, m.calendar, m.demo, m.instrument_id, i.ticker, m.parent_id, m.first_session,
    m.last_session, m.fingerprint, m.parameters, m.libraries, m.seed, m.reason, m.verdict,
    m.tickers, m.best_epoch, m.initial_loss, m.comparison_loss, m.base_loss, m.champion_loss,
    m.gain, m.gain_error, m.trained_at, m.weights_sha256, m.weights IS NULL AS pruned,
    c.training_loss AS training_losses, c.validation_loss AS validation_losses
FROM stockbatch.models AS m
LEFT JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
LEFT JOIN stockbatch.training_curves AS c ON c.model_id = m.id
WHERE m.method = :network
ORDER BY m.id
""")

_TRAINED = text("""
SELECT m.*, i.ticker, (
    SELECT from_session FROM stockbatch.promotions
    WHERE instrument_id = m.instrument_id AND model_id = m.id
    ORDER BY from_session DESC, id DESC LIMIT 1
) AS in_use_from
FROM stockbatch.models AS m LEFT JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
WHERE m.id = :id AND m.weights IS NOT NULL
""")

_OWN_FIRST_BAR = text("""
SELECT min(b.session)
FROM stockbatch.bars AS b
JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
WHERE i.ticker = :ticker AND b.session >= :first AND b.state <> 'quarantined'
""")


def add_base(db: Session, model: TrainedModel, run: Run, *, demo: bool) -> TrainedModel:
    """Store a base model and return it with its id."""
    (number,) = _add(db, [model], [_values(model, None, run, demo=demo)])
    return replace(model, id=number)


def add(db: Session, models: Mapping[int, TrainedModel], run: Run, *, demo: bool) -> dict[int, int]:
    """Store new models by instrument id and return their ids likewise.

    The same data, settings, seed and base make the same model: it is stored once. One that was
    pruned gets its weights back, where they are the very same.
    """
    rows = [_values(model, key, run, demo=demo) for key, model in models.items()]
    return dict(zip(models, _add(db, list(models.values()), rows), strict=True))


def _add(
    db: Session, models: Sequence[TrainedModel], rows: Sequence[Mapping[str, Any]]
) -> list[int]:
    """Return the ids of models in their order; all are of tickers, or all of calendars."""
    ids = _kept(db, rows) if rows else {}
    new = [place for place in range(len(rows)) if place not in ids]
    if new:
        added = insert(ModelRow).returning(ModelRow.id, sort_by_parameter_order=True)
        ids |= zip(new, db.scalars(added, [rows[place] for place in new]), strict=True)
    curves = [
        {
            "model_id": ids[place],
            "training_loss": list(models[place].training_loss),
            "validation_loss": list(models[place].validation_loss),
        }
        for place in new
        if models[place].validation_loss
    ]
    if curves:
        db.execute(insert(TrainingCurveRow), curves)
    return [ids[place] for place in range(len(rows))]


def _kept(db: Session, rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Return by place the ids of models that are stored already, all with their weights."""
    owners = [row["instrument_id"] for row in rows if row["instrument_id"] is not None]
    columns = [getattr(ModelRow, name) for name in MODEL_KEY]
    is_whole = ModelRow.weights.is_not(None)
    stored = db.execute(
        select(ModelRow.id, is_whole, ModelRow.weights_sha256, *columns).where(
            ModelRow.instrument_id.in_(owners) if owners else ModelRow.instrument_id.is_(None),
            ModelRow.method.in_({row["method"] for row in rows}),
            ModelRow.fingerprint.in_({row["fingerprint"] for row in rows}),
        )
    )
    whole: dict[tuple[Any, ...], int] = {}
    pruned: dict[tuple[Any, ...], int] = {}
    for number, has_weights, sha256, *same in stored:
        if has_weights:
            whole[tuple(same)] = number
        else:
            pruned[*same, sha256] = number
    kept: dict[int, int] = {}
    for place, row in enumerate(rows):
        key = tuple(row[name] for name in MODEL_KEY)
        exact = (*key, row["weights_sha256"])
        if key in whole:
            kept[place] = whole[key]
        elif exact in pruned:
            # Only the very weights that were pruned come back; others make another model.
            kept[place] = pruned[exact]
            refilled = update(ModelRow).where(ModelRow.id == kept[place])
            db.execute(refilled.values(weights=row["weights"]))
    return kept


def _values(
    model: TrainedModel, instrument_id: int | None, run: Run, *, demo: bool
) -> dict[str, Any]:
    weights = to_bytes(model.weights)
    validation_loss = _at_best(model, model.validation_loss)
    comparison = model.comparison
    return {
        "method": model.method,
        "kind": model.kind,
        "calendar": run.calendar,
        "demo": demo,
        "instrument_id": instrument_id,
        "parent_id": model.parent_id,
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
        "tickers": model.tickers,
        "best_epoch": model.best_epoch,
        "training_loss": _at_best(model, model.training_loss),
        "validation_loss": model.initial_loss if validation_loss is None else validation_loss,
        "initial_loss": model.initial_loss,
        "comparison_loss": comparison and comparison.loss,
        "base_loss": comparison and comparison.base_loss,
        "champion_loss": comparison and comparison.champion_loss,
        "gain": comparison and comparison.gain,
        "gain_error": comparison and comparison.gain_error,
        "verdict": model.verdict,
        "run_id": run.id,
    }


def _at_best(model: TrainedModel, losses: Sequence[float]) -> float | None:
    """Return the loss of the epoch whose weights were kept; None where no epoch was."""
    return losses[model.best_epoch - 1] if model.best_epoch and losses else None


def newest_of_calendar(
    db: Session, method: str, calendar: str, origin: date, *, demo: bool
) -> TrainedModel | None:
    """Return what a method last fitted to all tickers of a calendar, not after `origin`.

    Of a network it is the base model in use.
    """
    about = {"method": method, "calendar": calendar, "origin": origin, "demo": demo}
    row = db.execute(_BASE, about).first()
    return None if row is None else _record(row)


def champions(
    db: Session, instruments: Sequence[Instrument], network: str, origin: date
) -> dict[int, TrainedModel]:
    """Return a network's model in use at `origin`, perhaps a base, by instrument id, if any."""
    about = {"ids": [i.id for i in instruments], "network": network, "origin": origin}
    found = db.execute(_CHAMPIONS, about)
    return {row.used_by: _record(row) for row in found}


def newest(
    db: Session, instruments: Sequence[Instrument], method: str, kind: ModelKind, origin: date
) -> dict[int, TrainedModel]:
    """Return a method's model of a kind trained last, not after `origin`, by instrument id."""
    ids = [instrument.id for instrument in instruments]
    about = {"ids": ids, "method": method, "kind": kind, "origin": origin}
    found = db.execute(_NEWEST, about)
    return {row.instrument_id: _record(row) for row in found}


def of_ticker(db: Session, ticker: str, network: str) -> Sequence[Any]:
    """Return what is known of every network trained for a ticker, and of bases it has used."""
    return db.execute(_OF_TICKER, {"ticker": ticker, "method": network}).all()


def summaries(db: Session, network: str) -> Sequence[Any]:
    """Return what is known of the model in use now of every ticker, by ticker."""
    return db.execute(_in_use(_FACTS), {"ticker": None, "network": network}).all()


def champion(db: Session, ticker: str, network: str) -> TrainedModel:
    """Return the model in use now of one ticker. Raises NoModel."""
    row = db.execute(_in_use("m.*"), {"ticker": ticker, "network": network}).first()
    if row is None or row.weights is None:
        raise NoModel(ticker=ticker, when="")
    model = _record(row)
    if not is_known(model.weights):
        raise NoModel(ticker=ticker, when=" of this version of the program")
    return model


def trainings(db: Session, network: str) -> Sequence[Any]:
    """Return what is known of every training of a network, by id, weights aside."""
    return db.execute(_TRAININGS, {"network": network}).all()


def trained(db: Session, model_id: int) -> tuple[TrainedModel, dict[str, Any]] | None:
    """Return a model and its stored row; None where it was pruned, or is of another version."""
    row = db.execute(_TRAINED, {"id": model_id}).first()
    if row is None:
        return None
    model = _record(row)
    return (model, dict(row._mapping)) if is_known(model.weights) else None


def learned_from(db: Session, model_id: int) -> tuple[date, date, int]:
    """Return the first and the last session a model learned from, and of how many tickers."""
    columns = (ModelRow.first_session, ModelRow.last_session, ModelRow.tickers)
    first, last, tickers = db.execute(select(*columns).where(ModelRow.id == model_id)).one()
    return first, last, tickers


def details(db: Session, ticker: str, network: str) -> dict[str, Any]:
    """Return everything known of the model in use now, weights aside. Raises NoModel.

    `first_session` is of the ticker's own first bar: a base learned from older ones of others,
    which `first_session_of_base` tells.
    """
    about = {"ticker": ticker, "network": network}
    row = db.execute(_in_use("m.*"), about).mappings().first()
    if row is None:
        raise NoModel(ticker=ticker, when="")
    facts = dict(row)
    since = {"ticker": ticker, "first": facts["first_session"]}
    if facts["kind"] == ModelKind.BASE:
        facts["first_session_of_base"] = facts["first_session"]
    facts["first_session"] = db.scalar(_OWN_FIRST_BAR, since) or facts["first_session"]
    weights = facts.pop("weights")
    facts["weights"] = "pruned" if weights is None else f"{len(weights)} bytes"
    facts["inputs"] = ", ".join(features.NAMES)
    return facts


def _in_use(columns: str) -> TextClause:
    query = _IN_USE.format(columns=columns)
    return text(query).bindparams(bindparam("ticker", type_=Text))


def _record(row: Any) -> TrainedModel:
    return TrainedModel(
        id=row.id,
        method=row.method,
        kind=ModelKind(row.kind),
        ticker=row.ticker,
        first_session=row.first_session,
        last_session=row.last_session,
        fingerprint=row.fingerprint,
        configuration=row.configuration,
        parameters=row.parameters,
        libraries=row.libraries,
        seed=row.seed,
        weights=from_bytes(row.weights),
        best_epoch=row.best_epoch,
        tickers=row.tickers,
        reason=Reason(row.reason),
        verdict=Verdict(row.verdict),
        parent_id=row.parent_id,
    )
