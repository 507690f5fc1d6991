"""Bulk reads and writes."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import Floats


def stage(
    db: Session, name: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]
) -> None:
    """Fill the temporary table `name`, emptied first, with `rows` by binary COPY.

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
    """Return the rows of `query`, all of whose columns are numbers, as an array (rows, columns).

    NULL becomes NaN. The server packs every column into one value, which needs no Python object
    per row or number; a value holds 1 GB, 134 million rows.
    """
    with _connection(db).cursor(binary=True) as cursor:
        cursor.execute(f"SELECT * FROM ({query}) AS q LIMIT 0", parameters)
        packed = ", ".join(
            f"string_agg(float8send(coalesce({column.name}::float8, 'NaN')), ''::bytea)"
            for column in cursor.description or ()
        )
        cursor.execute(f"SELECT {packed} FROM ({query}) AS q", parameters)
        columns = cursor.fetchone() or ()
    return np.stack(
        [np.frombuffer(column or b"", ">f8") for column in columns], axis=1, dtype=float
    )


def _connection(db: Session) -> psycopg.Connection[Any]:
    connection = db.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection
