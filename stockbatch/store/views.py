"""Reads of the `bi` views, for the command line."""

from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.exceptions import UnknownInstrument

Row = dict[str, Any]

METRICS_SHOWN = (
    "mae",
    "mae_return",
    "directional_accuracy",
    "pinball",
    "coverage_80",
    "coverage_95",
)


class Column(NamedTuple):
    """A column of a view: what the data dictionary says of it."""

    view: str
    grain: str
    name: str
    type: str
    meaning: str


def columns(db: Session) -> list[Column]:
    """Return every column of schema `bi` with the comments of view and column, in their order."""
    found = db.execute(
        text(
            "SELECT c.relname, obj_description(c.oid, 'pg_class'), a.attname,"
            " format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)"
            " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
            " WHERE c.relnamespace = 'bi'::regnamespace AND c.relkind = 'v'"
            " ORDER BY c.relname, a.attnum"
        )
    )
    return [Column(*row) for row in found]


def next_session_forecasts(db: Session, ticker: str | None = None) -> list[Row]:
    """Return the latest forecasts: of one ticker by every method, else of all by the best method.

    Raises UnknownInstrument for a ticker that is not on the watchlist.
    """
    if ticker is not None:
        known = "SELECT EXISTS (SELECT FROM stockbatch.instruments WHERE ticker = :t AND active)"
        if not db.scalar(text(known), {"t": ticker}):
            raise UnknownInstrument(ticker=ticker)
        query = "SELECT * FROM bi.next_session_forecast WHERE ticker = :t ORDER BY method"
        return _rows(db, query, t=ticker)
    return _rows(
        db,
        "SELECT DISTINCT ON (ticker) * FROM bi.next_session_forecast"
        " ORDER BY ticker, method <> 'lstm', method <> 'rolling_quantile'",
    )


def run_history(db: Session, count: int) -> list[Row]:
    """Return the runs started last, newest first."""
    query = "SELECT * FROM bi.run_history ORDER BY started_at DESC LIMIT :count"
    return _rows(db, query, count=count)


def alerts(db: Session, *, everything: bool) -> list[Row]:
    """Return the alerts that are on, or the last hundred, newest first."""
    condition = "" if everything else "WHERE is_open"
    query = f"SELECT * FROM bi.alerts {condition} ORDER BY raised_at DESC, alert_id DESC LIMIT 100"
    return _rows(db, query)


def accuracy_of_all(db: Session, window: int) -> list[Row]:
    """Return the newest metrics over all tickers of each calendar, method and kind."""
    return _rows(
        db,
        "SELECT * FROM (SELECT *, max(session) OVER (PARTITION BY calendar, kind) AS newest"
        " FROM bi.accuracy WHERE scope = 'calendar') AS a"
        " WHERE session = newest AND metric = ANY(:shown) AND window_sessions = :window"
        " ORDER BY calendar, kind, metric, method",
        window=window,
        shown=list(METRICS_SHOWN),
    )


def accuracy_of(db: Session, tickers: list[str], window: int) -> list[Row]:
    """Return the metrics of some tickers over one window."""
    return _rows(
        db,
        "SELECT * FROM bi.accuracy WHERE ticker = ANY(:tickers) AND window_sessions = :window"
        " AND metric = ANY(:shown) ORDER BY ticker, kind, metric, method",
        tickers=tickers,
        window=window,
        shown=list(METRICS_SHOWN),
    )


def totals(db: Session) -> Row:
    """Return how much there is of everything."""
    found = db.execute(
        text(
            "SELECT (SELECT count(*) FROM stockbatch.instruments WHERE active) AS tickers,"
            " (SELECT count(*) FROM stockbatch.bars) AS bars,"
            " (SELECT max(session) FROM stockbatch.bars) AS last_bar,"
            " (SELECT count(*) FROM stockbatch.models) AS models,"
            " (SELECT count(*) FROM stockbatch.forecasts) AS forecasts,"
            " (SELECT count(*) FROM stockbatch.scores) AS scores,"
            " (SELECT count(*) FROM stockbatch.data_issues) AS data_issues"
        )
    ).one()
    return {name.replace("_", " "): value for name, value in found._asdict().items()}


def _rows(db: Session, query: str, **parameters: Any) -> list[Row]:
    return [dict(row) for row in db.execute(text(query), parameters).mappings()]
