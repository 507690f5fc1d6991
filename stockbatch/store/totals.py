"""How much there is of everything."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

_TOTALS = text("""
SELECT
    (SELECT count(*) FROM stockbatch.instruments WHERE active) AS tickers,
    (SELECT count(*) FROM stockbatch.bars) AS bars,
    (SELECT max(session) FROM stockbatch.bars) AS "last bar",
    (SELECT count(*) FROM stockbatch.models) AS models,
    (SELECT count(*) FROM stockbatch.forecasts) AS forecasts,
    (SELECT count(*) FROM stockbatch.scores) AS scores,
    (SELECT count(*) FROM stockbatch.data_issues) AS "data issues"
""")


def totals(db: Session) -> dict[str, Any]:
    """Return how many there are of what, by its name."""
    return dict(db.execute(_TOTALS).mappings().one())
