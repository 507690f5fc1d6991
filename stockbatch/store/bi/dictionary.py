"""What the views say of themselves: the data dictionary."""

from typing import NamedTuple

from sqlalchemy.orm import Session

from stockbatch.store.bi.query import ask

# Every column in its order. Views have their comments in obj_description, their columns each one in
# col_description; attnum below 1 are PostgreSQL's own columns.
_COLUMNS = """
SELECT c.relname, obj_description(c.oid, 'pg_class'), a.attname,
    format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'bi'::regnamespace AND c.relkind = 'v'
ORDER BY c.relname, a.attnum
"""


class Column(NamedTuple):
    """A column of a view: what the data dictionary says of it."""

    view: str
    grain: str
    name: str
    type: str
    meaning: str


def columns(db: Session) -> list[Column]:
    """Return every column of schema `bi` with the comments of view and column, in their order."""
    return [Column(*row) for row in ask(db, _COLUMNS).values]
