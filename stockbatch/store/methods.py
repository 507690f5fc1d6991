"""The methods that forecasts were ever made by; one no longer installed keeps its rows."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import MethodRow


def add_missing(db: Session, described: Sequence[tuple[str, str, str]]) -> None:
    """Store name, title and sentence of methods that are not known yet."""
    columns = ("name", "title", "sentence")
    rows = [dict(zip(columns, one, strict=True)) for one in described]
    db.execute(insert(MethodRow).values(rows).on_conflict_do_nothing())


def names(db: Session) -> list[str]:
    """Return the names of all methods, installed or not."""
    return list(db.scalars(select(MethodRow.name).order_by(MethodRow.name)))
