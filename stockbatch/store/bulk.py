"""Bulk reads and writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, ColumnElement, any_, literal, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from stockbatch.database import errors
from stockbatch.records import Floats, Sessions

_FIXED = {"int2": ">i2", "int4": ">i4", "int8": ">i8", "date": ">i4", "float8": ">f8"}
"""Types whose binary form has one width, as NumPy writes it; date counts days from 2000-01-01."""
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_SLICE = 50_000
"""Rows put together at a time."""
_PACKED: dict[str, tuple[str, int]] = {}
"""How the rows of a query are packed, and how many columns they have, which stays the same: the
server is asked once."""


def stage(
    db: Session, name: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]
) -> None:
    """Fill the temporary table `name`, emptied first, with `rows` by binary COPY.

    `columns` are pairs of a name and a PostgreSQL type; `name` and `columns` come from code, never
    from data.
    """
    _make(db, name, columns)
    names = ", ".join(column for column, _ in columns)
    with (
        cursor_of(db) as cursor,
        cursor.copy(f"COPY {name} ({names}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types([kind for _, kind in columns])
        for row in rows:
            copy.write_row(row)
    db.execute(text(f"ANALYZE {name}"))


def stage_arrays(
    db: Session,
    name: str,
    columns: Sequence[tuple[str, str]],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Do what `stage` does with one array per column, which needs no Python object per number.

    Types are those of a fixed width; dates come as datetime64[D]. NaN stays NaN: there is no NULL.
    """
    _make(db, name, columns)
    names = ", ".join(column for column, _ in columns)
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for column, kind in columns:
        fields += [(f"{column} size", ">i4"), (column, _FIXED[kind])]
    count = len(arrays[columns[0][0]])
    with (
        cursor_of(db) as cursor,
        cursor.copy(f"COPY {name} ({names}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.write(_HEADER)
        for start in range(0, count, _SLICE):
            rows = np.empty(min(_SLICE, count - start), dtype=fields)
            rows["fields"] = len(columns)
            for column, kind in columns:
                values = arrays[column][start : start + _SLICE]
                if kind == "date":  # PostgreSQL counts days from another one than NumPy
                    values = (values - np.datetime64("2000-01-01", "D")).astype(np.int64)
                rows[f"{column} size"] = rows[column].dtype.itemsize
                rows[column] = values
            copy.write(rows.tobytes())
        copy.write(_TRAILER)
    db.execute(text(f"ANALYZE {name}"))


def _make(db: Session, name: str, columns: Sequence[tuple[str, str]]) -> None:
    """Make the temporary table `name`, or empty it."""
    definition = ", ".join(f"{column} {kind}" for column, kind in columns)
    db.execute(text(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({definition}) ON COMMIT DROP"))
    db.execute(text(f"TRUNCATE {name}"))


def matrix(db: Session, query: str, parameters: dict[str, Any]) -> Floats:
    """Return the rows of `query`, all of whose columns are numbers, as an array (rows, columns).

    NULL becomes NaN. The server packs all rows into one value, which needs no Python object per row
    or number; a value holds 1 GB, 134 million numbers.
    """
    with cursor_of(db, binary=True) as cursor:
        if query not in _PACKED:
            # Asked for no row, because only the server knows how the columns are called.
            cursor.execute(f"SELECT * FROM ({query}) AS q LIMIT 0", parameters)
            names = [column.name for column in cursor.description or ()]
            row = " || ".join(f"float8send(coalesce({name}::float8, 'NaN'))" for name in names)
            _PACKED[query] = f"string_agg({row}, ''::bytea)", len(names)
        packed, width = _PACKED[query]
        cursor.execute(f"SELECT {packed} FROM ({query}) AS q", parameters)
        (rows,) = cursor.fetchone() or (None,)
    return np.frombuffer(rows or b"", ">f8").reshape(-1, width).astype(float)


def by_one_process(db: Session) -> None:
    """Let the server answer what this transaction asks without processes beside its own.

    Of a chunk of tickers starting them costs as much as all they would do, and where chunks are
    loaded side by side there is no core left for them.
    """
    db.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))


def among(column: InstrumentedAttribute[Any], ids: Iterable[int]) -> ColumnElement[bool]:
    """Return the condition that a column is one of `ids`: one parameter, however many they are."""
    return column == any_(literal(list(ids), ARRAY(BigInteger)))


def rows_of(ids: Sequence[int], wanted: NDArray[Any]) -> NDArray[np.intp]:
    """Return where each of the instrument ids `wanted` stands in `ids`, which hold all of them."""
    known = np.array(ids, dtype=np.int64)
    # Ids come in the order of tickers, and a binary search wants them ascending.
    order = np.argsort(known)
    return order[np.searchsorted(known, wanted, sorter=order)]


def days(column: Floats) -> Sessions:
    """Return a column of `matrix` that counts days since 1970-01-01 as sessions."""
    return column.astype(np.int64).astype("datetime64[D]")


def driver_connection(db: Session) -> psycopg.Connection[Any]:
    """Return psycopg's own connection, for COPY."""
    connection = db.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


@contextmanager
def cursor_of(db: Session, **options: Any) -> Iterator[psycopg.Cursor[Any]]:
    """Yield a cursor of the driver's, whose errors are raised as those of any other statement."""
    try:
        with driver_connection(db).cursor(**options) as cursor:
            yield cursor
    except psycopg.Error as error:
        raise errors.of_bulk(error, db.connection()) from None
