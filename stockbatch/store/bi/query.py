"""How the views are asked: one query, and its answer as rows or as a frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import psycopg
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from stockbatch import database
from stockbatch.exceptions import SchemaOutOfDate

Row = dict[str, Any]

_SESSIONS = ("session", "origin_session", "bar_session")
_MISSING = (
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query found, in its order."""

    columns: tuple[str, ...]
    values: Sequence[Any]
    """One per row, in the order of the columns."""

    def rows(self) -> list[Row]:
        """Return the rows by the names of their columns; unknown is None."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.values]

    def frame(self) -> pd.DataFrame:
        """Return a frame, sessions as datetime64; unknown numbers are NaN."""
        frame = pd.DataFrame.from_records(self.values, columns=self.columns, coerce_float=True)
        return frame.astype({name: "datetime64[s]" for name in _SESSIONS if name in frame})


def ask(db: Session, query: str, **parameters: Any) -> Answer:
    """Return what a query finds. Raises SchemaOutOfDate where a view or its column is missing."""
    connection = db.connection()
    try:
        found = connection.execute(text(query), parameters)
    except ProgrammingError as error:
        if not isinstance(error.orig, _MISSING):
            raise
        url, expected = database.redacted(connection.engine.url), database.head()
        raise SchemaOutOfDate(url=url, found="an older one", expected=expected) from error
    return Answer(columns=tuple(found.keys()), values=found.all())
