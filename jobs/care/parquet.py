"""Parquet files from what PostgreSQL copies out as CSV, block by block."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

BLOCK = 50_000
"""Rows in memory at once, and in a row group."""

_MADE_FROM = b"stockbatch.made_from"
_TYPES = {
    "bool": pa.bool_(),
    "date": pa.date32(),
    "float8": pa.float64(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "jsonb": pa.string(),
    "text": pa.string(),
    "timestamptz": pa.timestamp("us", "UTC"),
}


def schema_of(columns: Mapping[str, str], made_from: str) -> pa.Schema:
    """Return the schema of a file of columns, PostgreSQL's types by name, that says its origin."""
    fields = [(name, _TYPES[kind]) for name, kind in columns.items()]
    return pa.schema(fields, {_MADE_FROM: made_from})


def fingerprint_of(file: Any) -> str | None:
    """Return the fingerprint that a file, or an open one, carries; None where it cannot be read."""
    try:
        metadata: dict[bytes, bytes] = parquet.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    made_from = metadata.get(_MADE_FROM)
    return None if made_from is None else made_from.decode()


def blocks(lines: Iterator[bytes], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the lines of CSV as tables of a schema; NULL is empty, an empty text quoted."""
    while block := b"".join(islice(lines, BLOCK)):
        yield csv.read_csv(
            pa.BufferReader(block),
            read_options=csv.ReadOptions(column_names=schema.names),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=schema,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
