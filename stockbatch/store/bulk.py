"""Bulk reads and writes by PostgreSQL's binary COPY."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import Floats

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"


def stage(
    db: Session, name: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]
) -> None:
    """Fill the temporary table `name`, emptied first, with `rows`.

    `columns` are pairs of a name and a PostgreSQL type; `name` and `columns` come from code, never
    from data.
    """
    definition = ", ".join(f"{column} {kind}" for column, kind in columns)
    db.execute(text(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({definition}) ON COMMIT DROP"))
    db.execute(text(f"TRUNCATE {name}"))
    names = ", ".join(column for column, _ in columns)
    with (
        _connection(db).cursor() as cursor,
        cursor.copy(f"COPY {name} ({names}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types([kind for _, kind in columns])
        for row in rows:
            copy.write_row(row)
    db.execute(text(f"ANALYZE {name}"))


def matrix(db: Session, query: str, parameters: dict[str, Any]) -> Floats:
    """Return the rows of `query`, all of whose columns are float8, as an array (rows, columns).

    NULL becomes NaN. Reads half a million rows in a fraction of the time that building Python
    objects takes: rows of a binary COPY without NULLs all have the same length.
    """
    with _connection(db).cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({query}) AS q LIMIT 0", parameters)
        names = [column.name for column in cursor.description or ()]
        filled = ", ".join(f"coalesce({name}::float8, 'NaN')" for name in names)
        with cursor.copy(
            f"COPY (SELECT {filled} FROM ({query}) AS q) TO STDOUT (FORMAT BINARY)",
            parameters,
        ) as copy:
            data = b"".join(copy)
    assert data.startswith(_SIGNATURE)
    header = len(_SIGNATURE) + 8
    field = np.dtype([("length", ">i4"), ("value", ">f8")])
    row = np.dtype([("fields", ">i2"), ("columns", field, (len(names),))])
    rows = np.frombuffer(data, row, offset=header, count=(len(data) - header - 2) // row.itemsize)
    return rows["columns"]["value"].astype(np.float64)


def _connection(db: Session) -> psycopg.Connection[Any]:
    connection = db.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection
