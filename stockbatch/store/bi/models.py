"""How models were trained."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask

# One row per epoch of the newest model of a ticker's own, and of the base which that started from.
_LOSSES = """
WITH own AS (
    SELECT model_id, base_model_id
    FROM bi.training_history
    WHERE ticker = :ticker
    ORDER BY session DESC, model_id DESC
    LIMIT 1
)
SELECT
    model_id, model_kind, session, reason, verdict, tickers, epoch, training_loss,
    validation_loss, is_best_epoch, initial_validation_loss, gain_pct, gain_error_pct
FROM bi.training_history
WHERE model_id IN (SELECT model_id FROM own UNION ALL SELECT base_model_id FROM own)
ORDER BY model_kind DESC, epoch -- 'ticker' before 'base'
LIMIT 1000
"""


def losses(db: Session, ticker: str) -> Answer:
    """Return the losses per epoch of a ticker's newest model and of the base it started from."""
    return ask(db, _LOSSES, ticker=ticker)
