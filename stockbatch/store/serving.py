"""What the REST service reads: every query works as role stockbatch_api."""

from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.exceptions import NoModel, UnknownInstrument
from stockbatch.records import Check, Instrument

Row = dict[str, Any]

_MODELS = """
SELECT DISTINCT ON (i.ticker) i.ticker, p.from_session AS in_use_from, p.reason AS in_use_because,
    m.id AS model_id, m.kind, m.parent_id AS base_model_id, m.first_session, m.last_session,
    m.trained_at, m.reason AS trained_because, m.verdict, m.tickers, m.best_epoch, m.training_loss,
    m.validation_loss, m.comparison_loss, m.base_loss AS base_comparison_loss, m.gain, m.gain_error,
    m.seed, m.parameters, m.libraries, m.fingerprint, m.configuration, m.weights_sha256
FROM stockbatch.instruments AS i
JOIN stockbatch.promotions AS p ON p.instrument_id = i.id
JOIN stockbatch.models_in_use AS m ON m.id = p.model_id
WHERE {condition}
ORDER BY i.ticker, p.from_session DESC, p.id DESC LIMIT :limit
"""


def data_version(db: Session) -> str:
    """Return a word that is another one whenever anything was committed in the meantime.

    Reading never changes it; writing to another database of the server may.
    """
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


def confirmed_jumps(db: Session, ticker: str) -> list[date]:
    """Return the sessions of a ticker whose jump a second provider confirmed."""
    query = "SELECT session FROM bi.data_issues WHERE ticker = :ticker AND check_name = :check"
    return list(db.scalars(text(query), {"ticker": ticker, "check": Check.JUMP_CONFIRMED}))


def next_session_forecasts(db: Session, method: str, after: str, limit: int) -> list[Row]:
    """Return the latest forecasts by one method, in the order of tickers, those after `after`."""
    query = (
        "SELECT * FROM bi.next_session_forecast WHERE method = :method AND ticker > :after"
        " ORDER BY ticker LIMIT :limit"
    )
    return _rows(db, query, method=method, after=after, limit=limit)


def next_session_forecast(db: Session, ticker: str) -> list[Row]:
    """Return the latest forecasts of one ticker, one per method. Raises UnknownInstrument."""
    query = "SELECT * FROM bi.next_session_forecast WHERE ticker = :ticker ORDER BY method"
    rows = _rows(db, query, ticker=ticker)
    if not rows:
        instrument(db, ticker)
    return rows


def history(
    db: Session, ticker: str, method: str, first: date, before: date, limit: int
) -> list[Row]:
    """Return forecasts of the sessions from `first` on and before `before`, the newest first.

    A ticker that was removed from the watchlist keeps its history. Raises UnknownInstrument.
    """
    _require_known(db, ticker)
    query = (
        "SELECT * FROM bi.forecast_history WHERE ticker = :ticker AND method = :method"
        " AND session >= :first AND session < :before ORDER BY session DESC LIMIT :limit"
    )
    span = {"first": first, "before": before, "limit": limit}
    return _rows(db, query, ticker=ticker, method=method, **span)


def accuracy(db: Session, ticker: str, window: int) -> list[Row]:
    """Return the metrics of one ticker over one window. Raises UnknownInstrument."""
    _require_known(db, ticker)
    query = (
        "SELECT * FROM bi.accuracy WHERE ticker = :ticker AND window_sessions = :window"
        " ORDER BY kind, metric, method"
    )
    return _rows(db, query, ticker=ticker, window=window)


def accuracy_of_calendars(db: Session, window: int) -> list[Row]:
    """Return the newest metrics over all tickers of each calendar, over one window."""
    query = (
        "SELECT * FROM (SELECT *, max(session) OVER (PARTITION BY calendar, kind) AS newest"
        " FROM bi.accuracy WHERE scope = 'calendar') AS a"
        " WHERE session = newest AND window_sessions = :window"
        " ORDER BY calendar, kind, metric, method"
    )
    return _rows(db, query, window=window)


def models(db: Session, after: str, limit: int) -> list[Row]:
    """Return what is known of the models in use, in the order of tickers, those after `after`."""
    query = _MODELS.format(condition="i.active AND i.ticker > :after")
    return _rows(db, query, after=after, limit=limit)


def model(db: Session, ticker: str) -> Row:
    """Return what is known of the model in use of one ticker. Raises UnknownInstrument, NoModel."""
    instrument(db, ticker)
    found = _rows(db, _MODELS.format(condition="i.ticker = :ticker"), ticker=ticker, limit=1)
    if not found:
        raise NoModel(ticker=ticker, when="")
    return found[0]


def _require_known(db: Session, ticker: str) -> None:
    query = "SELECT EXISTS (SELECT FROM stockbatch.instruments WHERE ticker = :ticker)"
    if not db.scalar(text(query), {"ticker": ticker}):
        raise UnknownInstrument(ticker=ticker)


def _rows(db: Session, query: str, **parameters: Any) -> list[Row]:
    return [dict(row) for row in db.execute(text(query), parameters).mappings()]
