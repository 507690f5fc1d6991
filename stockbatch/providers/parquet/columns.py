"""The columns of Parquet, each of a type, as the texts and numbers that bars are made of."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stockbatch.providers.csv.blocks import CHECKS, READERS, Block
from stockbatch.providers.csv.cells import Marks, as_number
from stockbatch.providers.csv.containers import texts_of
from stockbatch.providers.csv.faults import Fault, Faults
from stockbatch.providers.csv.header import TEXTS, Header, Reading, header_of
from stockbatch.providers.csv.lines import refuse
from stockbatch.providers.csv.parser import OPEN_NUMBER
from stockbatch.records import Check, Floats

_MARKS = {"point": ".", "comma": ","}


def header(place: str, first: pa.Table, reading: Reading) -> Header:
    """Tell which columns hold what, by their names and some rows; raises BadFile."""
    columns = [texts(column) for column in first.columns]
    below = [(at, list(cells)) for at, cells in enumerate(zip(*columns, strict=True), 2)]
    names = ["date" if _is_index(field) else field.name for field in first.schema]
    found = header_of(place, names, below, reading)
    for key in (key for key in TEXTS if key in found.columns):
        kind = first.schema.field(found.columns[key]).type
        if not _has_texts(kind):
            why = f"the column holds {kind}: a date or a text is needed"
            refuse(place, 1, found.named(key), why)
    return found


def _has_texts(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType))


def _is_index(field: pa.Field) -> bool:
    """Tell whether a column is the dates that were a data frame's index without a name."""
    is_day = pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)
    return bool(is_day) and field.name.startswith("__index_level_")


def used(header: Header) -> list[int]:
    """Return the places of the columns that bars are made of, or that may name the ticker."""
    texts = {header.columns[name] for name in TEXTS if name in header.columns}
    return sorted(texts | header.numbers.keys() | set(header.unknown))


def block(place: str, rows: pa.Table, header: Header, reading: Reading, faults: Faults) -> Block:
    """Return rows whose columns are those of `used`, in their order.

    A number that is written as a text is read as it is in a CSV file; what is none goes to
    `faults`. Raises BadFile where a column has a type that no such column has.
    """
    frame: dict[int, Any] = {}
    for at, column in zip(used(header), rows.columns, strict=True):
        if at not in header.numbers:
            frame[at] = _categories(column)
        elif _is_text(column.type):
            name = header.cells[at]
            frame[at] = _read(place, column, header.numbers[at], name, reading, faults)
        elif pa.types.is_null(column.type):
            frame[at] = np.full(len(column), np.nan)
        else:
            frame[at] = _numbers(place, column, header.cells[at])
    return Block(pd.DataFrame(frame), np.arange(1, rows.num_rows + 1, dtype=np.int32))


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        is_kind(value)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _numbers(place: str, column: pa.ChunkedArray, name: str) -> Floats:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        refuse(place, 1, name, f"the column holds {kind}: numbers are needed")
    if pa.types.is_decimal(kind):
        column = column.cast(pa.string())  # read, it is the nearest number; cast, one beside it
    floats: Floats = np.array(pc.cast(column, pa.float64(), safe=False).to_numpy())
    return floats


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    """Return the different texts of a column, and which of them each row has: -1 for none."""
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # of no rows, or of several chunks still
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], column.type)
    if not _has_texts(values.type):
        values = pa.nulls(len(values))
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    codes = pc.fill_null(values.indices.cast(pa.int32()), -1)
    return texts(values.dictionary), np.array(codes.to_numpy(zero_copy_only=False))


def _categories(column: pa.ChunkedArray) -> pd.Categorical:
    different, codes = _encoded(column)
    known: dict[str, int] = {}
    places = [known.setdefault(text, len(known)) for text in different]
    if different:
        codes = np.where(codes < 0, -1, np.array(places, np.int32)[codes])
    return pd.Categorical.from_codes(codes, pd.Index(list(known), dtype=object))


def texts(column: pa.ChunkedArray | pa.Array) -> list[str]:
    """Return the cells of a column as texts; what has none, as a list has, is empty."""
    try:
        found = texts_of(column).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        found = [""] * len(column)
    return ["" if text is None else text for text in found]


def _read(
    place: str,
    column: pa.ChunkedArray,
    kind: str,
    name: str,
    reading: Reading,
    faults: Faults,
) -> Floats:
    """Read numbers that are written as texts; raises BadFile where a mark may be either."""
    different, codes = _encoded(column)
    mark = _MARKS.get(reading.decimal or "") or _mark(place, different, name)
    values = np.full(len(different) + 1, np.nan)  # the last is that of rows without any
    for at, text in enumerate(different):
        try:
            values[at] = READERS.get(kind, as_number)(text, mark)
        except ValueError as error:
            check = CHECKS.get(kind, Check.UNREADABLE_LINE)
            for row in np.flatnonzero(codes == at).tolist():
                faults.cell(Fault(row + 1, name, str(error), check))
    return values[codes]


def _mark(place: str, texts: Sequence[str], name: str) -> str:
    marks = Marks()
    marks.see(texts)
    mark = marks.mark(long_settles=True)
    if mark is None:
        refuse(place, 1, name, f"{_first_open(texts)!r} {OPEN_NUMBER}")
    return mark


def _first_open(texts: Iterable[str]) -> str:
    for text in texts:
        one = Marks()
        one.see([text])
        if one.grouped:
            return text.strip()
    raise AssertionError("no number is open")
