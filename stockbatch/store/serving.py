"""What the REST service reads beside schema `bi`: every query works as role stockbatch_api."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.exceptions import NoModel, UnknownInstrument
from stockbatch.records import Instrument

Row = dict[str, Any]

# One row per ticker: the model of a network's latest promotion. Of the model's columns the service
# has none but those of stockbatch.models_in_use, and of the instrument's none that name a provider.
_MODELS = """
SELECT DISTINCT ON (i.ticker) i.ticker, p.from_session AS in_use_from, p.reason AS in_use_because,
    m.id AS model_id, m.kind, m.parent_id AS base_model_id, m.first_session, m.last_session,
    m.trained_at, m.reason AS trained_because, m.verdict, m.tickers, m.best_epoch, m.training_loss,
    m.validation_loss, m.comparison_loss, m.base_loss AS base_comparison_loss, m.gain, m.gain_error,
    m.seed, m.parameters, m.libraries, m.fingerprint, m.configuration, m.weights_sha256
FROM stockbatch.instruments AS i
JOIN stockbatch.promotions AS p ON p.instrument_id = i.id
JOIN stockbatch.models_in_use AS m ON m.id = p.model_id
WHERE m.method = :network AND {condition}
ORDER BY i.ticker, p.from_session DESC, p.id DESC LIMIT :limit
"""


def data_version(db: Session) -> str:
    """Return a word that is another one whenever anything was committed in the meantime.

    Reading never changes it; writing to another database of the server may.
    """
    # A snapshot names the transactions that are over: it is another one as soon as one more has
    # ended.
    return str(db.scalar(text("SELECT pg_current_snapshot()::text")))


def instrument(db: Session, ticker: str) -> Instrument:
    """Return an active instrument; where its bars come from is not for the service to see.

    Raises UnknownInstrument.
    """
    row = db.execute(
        text(
            "SELECT id, ticker, name, calendar, currency, demo FROM stockbatch.instruments"
            " WHERE ticker = :ticker AND active"
        ),
        {"ticker": ticker},
    ).first()
    if row is None:
        raise UnknownInstrument(ticker=ticker)
    return Instrument(**row._asdict(), symbol="", provider="")


def models(db: Session, network: str, after: str, limit: int) -> list[Row]:
    """Return what is known of the models in use, in the order of tickers, those after `after`."""
    query = _MODELS.format(condition="i.active AND i.ticker > :after")
    return _rows(db, query, network=network, after=after, limit=limit)


def model(db: Session, ticker: str, network: str) -> Row:
    """Return what is known of the model in use of one ticker. Raises UnknownInstrument, NoModel."""
    instrument(db, ticker)
    query = _MODELS.format(condition="i.ticker = :ticker")
    found = _rows(db, query, network=network, ticker=ticker, limit=1)
    if not found:
        raise NoModel(ticker=ticker, when="")
    return found[0]


def _rows(db: Session, query: str, **parameters: Any) -> list[Row]:
    return [dict(row) for row in db.execute(text(query), parameters).mappings()]
