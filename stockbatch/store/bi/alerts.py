"""What is or was wrong."""

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import Answer, ask


def latest(db: Session, *, everything: bool) -> Answer:
    """Return the alerts that are on, or with `everything` the last hundred, newest first."""
    query = (
        "SELECT * FROM bi.alerts WHERE is_open OR :everything"
        " ORDER BY raised_at DESC, alert_id DESC LIMIT 100"
    )
    return ask(db, query, everything=everything)
