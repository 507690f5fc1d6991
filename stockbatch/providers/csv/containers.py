"""What bars come packed in: zip archives, Excel workbooks, Parquet; each as a stream of CSV text.

An archive is like a folder, so that a file in it has a path: /data/bars.zip/AAPL.csv.
"""

import csv
import io
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO, Any

from stockbatch.exceptions import BadFile, MissingExtra, UnreadableFile
from stockbatch.providers.csv import limits

ZIP, PARQUET = b"PK\x03\x04", b"PAR1"
FOREIGN = {
    b"\xd0\xcf\x11\xe0": "an Excel file of the kind before 2007: save it as .xlsx or CSV",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a rar archive: unpack it",
    b"\xfd7zX": "packed with xz: unpack it",
    b"BZh9": "packed with bzip2: unpack it",
    b"\x28\xb5\x2f\xfd": "packed with Zstandard: unpack it",
    b"ARRO": "a Feather file: save it as Parquet or CSV",
    b"%PDF": "a PDF document: save its table as CSV",
}
"""How files begin that are not read, and what they are."""
BARS_SHOWN = 100
"""So many rows of a sheet show whether it has bars."""
_THREE_DECIMALS = r"^(-?[1-9]\d{0,2}\.\d{3})$"
"""A number that with another mark of decimals is a thousand times as much."""

Stamp = tuple[int, int]
"""When a file was last changed, and its size."""


def file_behind(path: Path) -> Path:
    """Return the file that must be opened for a path: of one within an archive, the archive."""
    return next((file for file in (path, *path.parents) if file.is_file()), path)


def stamp(path: Path) -> Stamp:
    """Tell a file from what it was before; raises UnreadableFile."""
    try:
        status = limits.status(path)
    except (NotADirectoryError, FileNotFoundError) as error:
        file = file_behind(path)
        if file == path:
            raise UnreadableFile(path=path, reason=error.strerror) from None
        return stamp(file)
    except (OSError, ValueError) as error:
        raise UnreadableFile(path=path, reason=getattr(error, "strerror", error)) from None
    return status.st_mtime_ns, status.st_size


def members(path: Path) -> list[Path] | None:
    """Return the paths of the files in a zip archive; None for what is none. Raises BadFile."""
    try:
        with limits.open_ordinary(path) as raw:
            if raw.read(4) != ZIP:
                return None
    except (NotADirectoryError, FileNotFoundError):
        return None  # perhaps itself in an archive
    except OSError as error:
        raise UnreadableFile(path=path, reason=error.strerror) from None
    names = list(_archive(path, stamp(path)))
    if "[Content_Types].xml" in names:
        return None  # a workbook
    return [path / name for name in names if not name.endswith("/")]


@contextmanager
def unpacked(path: Path) -> Iterator[Any]:
    """Open a file, in an archive or not, as bytes one can peek into; tables come as CSV."""
    with _raw(path) as raw:
        start = raw.peek(4)[:4]
        if start in (ZIP, PARQUET):
            yield io.BufferedReader(io.BytesIO(_as_csv(path, stamp(path))))
        elif start in FOREIGN:
            raise BadFile(path=path, line=1, column=1, reason=f"this is {FOREIGN[start]}")
        else:
            yield raw


def forget() -> None:
    """Let go of the archive and the table used last."""
    _archive.cache_clear()
    _as_csv.cache_clear()


@contextmanager
def _raw(path: Path) -> Iterator[Any]:
    try:
        with limits.open_ordinary(path) as file:
            yield file
            return
    except (NotADirectoryError, FileNotFoundError):
        archive = file_behind(path)
        if archive == path:
            raise
    entries = _archive(archive, stamp(archive))
    entry = entries.get(path.relative_to(archive).as_posix())
    if entry is None:
        raise UnreadableFile(path=path, reason=f"{archive} has no such file")
    try:
        with entry[0].open(entry[1]) as packed:
            yield packed
    except (RuntimeError, NotImplementedError) as error:  # a password, an odd compression
        reason = f"it cannot be unpacked: {error}"
        raise BadFile(path=path, line=1, column=1, reason=reason) from None


@lru_cache(maxsize=1)
def _archive(path: Path, _stamp: Stamp) -> dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    """Open an archive and return what is in it, by name; raises BadFile."""
    # Its list of files is read once, not for each of them; whoever is next closes it.
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        reason = f"the archive is broken: {error}"
        raise BadFile(path=path, line=1, column=1, reason=reason) from None
    if len(archive.infolist()) > limits.MOST_MEMBERS:
        limits.refuse_whole(path, f"there are more than {limits.MOST_MEMBERS:,} files in it")
    return {_name(entry): (archive, entry) for entry in archive.infolist()}


def _name(entry: zipfile.ZipInfo) -> str:
    """Return a name within an archive, which need not say how it is encoded."""
    name = entry.filename
    if not entry.flag_bits & 0x800 and not name.isascii():
        name = name.encode("cp437").decode("utf-8", "surrogateescape")
    # Like any path it leads nowhere else: nothing is written, and ".." is part of a name only.
    return PurePosixPath(name).as_posix().lstrip("/") + "/" * entry.is_dir()


@lru_cache(maxsize=1)
def _as_csv(path: Path, _stamp: Stamp) -> bytes:
    """Return a workbook or a Parquet file as CSV: it is asked for several times, and made once."""
    with _raw(path) as raw:
        packed = io.BytesIO(limits.read_whole(path, raw))
    if packed.getbuffer()[:4] == PARQUET:
        _require(path, "pyarrow", "Parquet")
        read: Callable[[IO[bytes]], bytes] = partial(_parquet, path)
    else:
        with zipfile.ZipFile(packed) as archive:
            workbook = any(name.startswith("xl/") for name in archive.namelist())
            unpacked_size = sum(entry.file_size for entry in archive.infolist())
        if not workbook:
            reason = "this is no file of bars, but an archive of files: unpack it"
            raise BadFile(path=path, line=1, column=1, reason=reason)
        if unpacked_size > limits.LARGEST_SHEETS:
            most = limits.LARGEST_SHEETS // 2**20
            limits.refuse_whole(path, f"it unpacks to more than {most} MiB: save it as CSV")
        _require(path, "openpyxl", "Excel workbooks")
        read = partial(_workbook, path)
    try:
        return read(packed)
    except BadFile:
        raise
    except Exception as error:  # noqa: BLE001 (what these libraries raise for a broken file is not told)
        text = str(error).partition("\n")[0]
        raise BadFile(path=path, line=1, column=1, reason=f"it is broken: {text}") from None


def _require(path: Path, module: str, what: str) -> None:
    if find_spec(module) is None:
        # One file's fault: a run goes on with the other files.
        lacking = MissingExtra(what=f"reading {what}", extra="files")
        raise UnreadableFile(path=path, reason=lacking)


def _workbook(path: Path, packed: IO[bytes]) -> bytes:
    """Return the one sheet that has bars, or the first that has anything; raises BadFile."""
    import warnings

    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # styles and extensions it does not know
        book = openpyxl.load_workbook(packed, read_only=True, data_only=True)
        sheets, cells = {}, 0
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # some programs write wrong ones
            rows = []
            for row in sheet.iter_rows(values_only=True):
                cells += 1 + len(row)
                if cells > limits.MOST_CELLS_OF_A_BOOK:
                    limits.refuse_whole(path, f"there are more than {cells:,} cells in it")
                if any(map(_written, row)):
                    rows.append(row)
            if rows:
                sheets[sheet.title] = rows
    book.close()
    with_bars = [title for title, rows in sheets.items() if _has_bars(rows)]
    if len(with_bars) > 1:
        reason = f"the sheets {', '.join(with_bars)} all have bars: save each as a file of its own"
        raise BadFile(path=path, line=1, column=1, reason=reason)
    chosen = with_bars or list(sheets)
    return _csv(sheets[chosen[0]] if chosen else [])


def _has_bars(rows: Sequence[Sequence[object]]) -> bool:
    """Tell whether most rows have four numbers or more, as open, high, low and close are."""
    numbers = [sum(type(cell) in (int, float) for cell in row) for row in rows[:BARS_SHOWN]]
    return 2 * sum(count >= 4 for count in numbers) >= len(numbers)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_written(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _written(cell: object) -> str:
    """Return a cell so that it reads in one way: dates year first, no 9.125 that may be 9125."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, datetime):
        midnight = (cell.hour, cell.minute, cell.second, cell.microsecond) == (0, 0, 0, 0)
        return str(cell.date() if midnight else cell)
    if isinstance(cell, float):
        return re.sub(_THREE_DECIMALS, r"\g<1>0", repr(cell))
    return str(cell).strip()


def _parquet(path: Path, packed: IO[bytes]) -> bytes:
    """Return a table as CSV, the index of a data frame among its columns; raises BadFile."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(packed)
    about, rows = file.metadata, file.metadata.num_rows
    size = sum(about.row_group(at).total_byte_size for at in range(about.num_row_groups))
    if rows * about.num_columns > limits.MOST_CELLS_OF_A_TABLE or size > limits.LARGEST:
        limits.refuse_whole(path, f"there are {rows:,} rows in it: split it")
    # As it is packed, a text that all rows repeat is there once.
    is_text = (pa.types.is_string, pa.types.is_large_string)
    texts = [one.name for one in file.schema_arrow if any(kind(one.type) for kind in is_text)]
    table = pyarrow.parquet.read_table(packed, read_dictionary=texts)
    for name in texts:
        if (longest := _longest(table[name])) * rows > limits.LARGEST:
            limits.refuse_whole(path, f"column {name} has a text of {longest:,} characters")
    names, columns = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        unnamed = field.name.startswith("__index_level_") and pa.types.is_timestamp(field.type)
        names.append("date" if unnamed else field.name)
        columns.append(texts_of(column))
    written = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(columns, names=names), written)
    return written.getvalue()


def _longest(column: Any) -> int:
    """Return the length of the longest text of a column, each of which is there once."""
    import pyarrow.compute as pc

    lengths = [pc.max(pc.binary_length(chunk.dictionary)).as_py() for chunk in column.chunks]
    return max((length or 0 for length in lengths), default=0)


def texts_of(column: Any) -> Any:
    """Return the texts that stand for a typed column of Parquet in CSV."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        # Midnight of its own zone is a day. Instants of UTC may be another zone's midnights.
        zone = column.type.tz
        local = pc.local_timestamp(column) if zone else column
        days = pc.all(pc.equal(pc.floor_temporal(local, unit="day"), local)).as_py()
        if days is not False and zone not in ("UTC", "+00:00", "Etc/UTC"):
            return local.cast(pa.date32()).cast(pa.string())
        unit = pc.cast(column, pa.timestamp("s", zone), safe=False)
        texts = pc.strftime(unit, format="%Y-%m-%d %H:%M:%S" + "%z" * bool(zone))
        return pc.replace_substring_regex(texts, r"([+-]\d\d)(\d\d)$", r"\1:\2") if zone else texts
    texts = column.cast(pa.string())
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        texts = pc.if_else(pc.is_in(texts, pa.array(["nan", "NaN"])), "", texts)
        texts = pc.replace_substring_regex(texts, _THREE_DECIMALS, r"\10")
    return texts


BROKEN = (EOFError, zlib.error, zipfile.BadZipFile)
"""What reading a damaged file in an archive raises."""
