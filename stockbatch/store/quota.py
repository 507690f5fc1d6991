"""How many requests were made to a provider that allows only so many in a day."""

from datetime import date

from sqlalchemy import text
from sqlalchemy.orm import Session

# One statement counts and decides, so that two processes cannot both take the last request. No row
# comes back where the limit is reached.
_SPEND = text("""
INSERT INTO stockbatch.provider_requests AS p (provider, day, requests)
VALUES (:provider, :day, 1)
ON CONFLICT (provider, day) DO UPDATE
    SET requests = p.requests + 1, updated_at = clock_timestamp()
    WHERE p.requests < :limit
RETURNING requests
""")


def spend(db: Session, provider: str, day: date, limit: int) -> bool:
    """Count one more request; False, and none counted, where `limit` were made that day.

    `provider` is its name, whatever a specification adds: the limit is that of the account. Commit
    before the request is made: until then, others wait for the row.
    """
    counted = db.scalar(_SPEND, {"provider": provider, "day": day, "limit": limit})
    return counted is not None
