"""Exchanges that the daemon leaves alone, by the code of their calendar."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import PauseRow

ALL = "ALL"
"""Stands for every exchange."""


def begin(db: Session, calendar: str) -> None:
    """Pause an exchange, or ALL; twice is once."""
    db.execute(insert(PauseRow).values(calendar=calendar).on_conflict_do_nothing())


def end(db: Session, calendar: str) -> None:
    """Resume an exchange; ALL ends every pause."""
    statement = delete(PauseRow)
    if calendar != ALL:
        statement = statement.where(PauseRow.calendar == calendar)
    db.execute(statement)


def since(db: Session) -> dict[str, datetime]:
    """Return since when what is paused, in the order of the codes."""
    query = select(PauseRow.calendar, PauseRow.paused_at).order_by(PauseRow.calendar)
    return {row.calendar: row.paused_at for row in db.execute(query)}
