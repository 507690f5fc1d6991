"""The sources that bars come from, each known by a number."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import SourceRow


def number(db: Session, specification: str) -> int:
    """Return the number of a source, giving a new one its own."""
    known = select(SourceRow.id).where(SourceRow.specification == specification)
    found = db.scalar(known)
    if found is None:
        # Another process may have come first, and its row counts.
        row = insert(SourceRow).values(specification=specification)
        db.execute(row.on_conflict_do_nothing())
        found = db.scalars(known).one()
    return found
