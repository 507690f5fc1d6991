"""When what the daemon has to do now and then was last done, by exchange."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import ChoreRow
from stockbatch.records import Chore


def last_done(db: Session) -> dict[tuple[Chore, str], datetime]:
    """Return when each chore was last done, by chore and calendar."""
    query = select(ChoreRow.chore, ChoreRow.calendar, ChoreRow.done_at)
    return {(Chore(row.chore), row.calendar): row.done_at for row in db.execute(query)}


def record(db: Session, chore: Chore, calendar: str, now: datetime) -> None:
    """Note that a chore of a calendar has just been done."""
    statement = insert(ChoreRow).values(chore=chore, calendar=calendar, done_at=now)
    done = {"done_at": statement.excluded.done_at}
    db.execute(statement.on_conflict_do_update(index_elements=["chore", "calendar"], set_=done))
