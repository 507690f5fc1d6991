"""What may go: weights of models long out of use, old news, backtests; the ledger stays."""

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import Kind

# `before` is the same row as the one updated, joined for the size of what is lost: RETURNING tells
# only what is left. Places count models trained, and models used, each newest first.
_DROP_WEIGHTS = text("""
WITH trained AS (
    SELECT id, rank() OVER (
        PARTITION BY instrument_id, method, kind, demo ORDER BY last_session DESC, id DESC
    ) AS place
    FROM stockbatch.models WHERE calendar = :calendar AND weights IS NOT NULL
), used AS (
    SELECT p.model_id, rank() OVER (
        PARTITION BY p.instrument_id, m.method ORDER BY max(p.from_session) DESC, max(p.id) DESC
    ) AS place
    FROM stockbatch.promotions AS p JOIN stockbatch.instruments AS i ON i.id = p.instrument_id
    JOIN stockbatch.models AS m ON m.id = p.model_id
    WHERE i.calendar = :calendar GROUP BY p.instrument_id, m.method, p.model_id
), dropped AS (
    UPDATE stockbatch.models AS m SET weights = NULL
    FROM stockbatch.models AS before
    WHERE before.id = m.id AND m.weights IS NOT NULL AND m.calendar = :calendar
        AND m.id NOT IN (SELECT id FROM trained WHERE place <= :kept)
        AND m.id NOT IN (SELECT model_id FROM used WHERE place <= :kept)
    RETURNING length(before.weights) AS size
)
SELECT count(*) AS models, coalesce(sum(size), 0)::bigint AS size FROM dropped
""")

_DOOMED = """
SELECT f.id FROM stockbatch.forecasts AS f
WHERE f.kind = :backtest AND (cast(:before AS date) IS NULL OR f.target_session < :before)
"""
_DROP_SCORES = f"DELETE FROM stockbatch.scores WHERE forecast_id IN ({_DOOMED})"
_DROP_FORECASTS = f"DELETE FROM stockbatch.forecasts WHERE id IN ({_DOOMED})"
_DROP_RISK_SCORES, _DROP_RISK = (
    f"DELETE FROM stockbatch.{table}"
    " WHERE kind = :backtest AND (cast(:before AS date) IS NULL OR target_session < :before)"
    for table in ("risk_scores", "risk_forecasts")
)
_DROP_METRICS = (
    f"DELETE FROM stockbatch.{table}"
    " WHERE kind = :backtest AND (cast(:before AS date) IS NULL OR through_session < :before)"
    for table in ("metrics", "ticker_metrics", "risk_metrics")
)
_DROPS = (_DROP_SCORES, _DROP_FORECASTS, _DROP_RISK_SCORES, _DROP_RISK, *_DROP_METRICS)
# The next run takes all of them anew from the forecasts that are left.
_FORGET_STATED = text("DELETE FROM stockbatch.stated")

_OWNED = text("""
SELECT quote_ident(c.relname) FROM pg_class AS c
WHERE c.relnamespace = 'stockbatch'::regnamespace AND c.relkind = 'r'
    AND pg_has_role(c.relowner, 'USAGE')
ORDER BY pg_total_relation_size(c.oid)
""")


class Dropped(NamedTuple):
    """How many rows of a kind have gone, or lost what is large in them."""

    forecasts: int
    scores: int
    risk: int
    """Forecasts of risk."""
    metrics: int


def calendars(db: Session) -> list[str]:
    """Return the calendars that models were ever trained for."""
    query = "SELECT DISTINCT calendar FROM stockbatch.models ORDER BY calendar"
    return list(db.scalars(text(query)))


def drop_weights(db: Session, calendar: str, keep: int) -> tuple[int, int]:
    """Empty the weights of retired models; return how many models and bytes that were.

    Kept are, per ticker and network, the model in use with the `keep` in use before it, and as
    many of those trained last, in use or not: of the bases of a calendar likewise. The rows stay.
    """
    row = db.execute(_DROP_WEIGHTS, {"calendar": calendar, "kept": keep + 1}).one()
    return row.models, row.size


def drop_news(db: Session, before: datetime) -> int:
    """Delete news published before an instant; return how many."""
    query = "WITH gone AS (DELETE FROM stockbatch.news WHERE published_at < :before RETURNING 1)"
    return db.scalar(text(f"{query} SELECT count(*) FROM gone"), {"before": before}) or 0


def drop_backtests(db: Session, before: date | None) -> Dropped:
    """Delete forecasts of kind backtest for sessions before a date, by default all.

    Those of risk, too. Their scores go with them, and the metrics of backtests through sessions
    before that date. Only the owner may.
    """
    scores, forecasts, _, risk, *metrics = (
        db.scalar(
            text(f"WITH gone AS ({query} RETURNING 1) SELECT count(*) FROM gone"),
            {"before": before, "backtest": Kind.BACKTEST},
        )
        for query in _DROPS
    )
    if forecasts:
        db.execute(_FORGET_STATED)
    return Dropped(forecasts=forecasts, scores=scores, risk=risk, metrics=sum(metrics))


def tables_to_vacuum(db: Session) -> list[str]:
    """Return the tables that this login may vacuum, quoted, smallest first."""
    return list(db.scalars(_OWNED))
