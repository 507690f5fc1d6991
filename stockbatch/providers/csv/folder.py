"""Which files of bars a path names: itself, those in a folder or an archive, or of a pattern."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from stockbatch.exceptions import UnreadableFile
from stockbatch.providers.csv import containers

SUFFIXES = (".csv", ".csv.gz", ".zip", ".xlsx", ".parquet")
"""Of the files of a folder or an archive; a pattern may name any."""


def files_of(path: Path) -> list[Path]:
    """Return the files that a path names, in the order of their names; raises UnreadableFile."""
    if path.is_dir():
        files = _tables(_content(path), path)
        lacking = "it has no CSV files"
    elif set("*?[") & set(str(path)) and not path.exists():
        pattern = str(path.relative_to(path.anchor))
        hidden = path.name.startswith(".")
        files = [
            file
            for file in Path(path.anchor).glob(pattern)
            if file.is_file() and (hidden or not file.name.startswith("."))
        ]
        files.sort(key=order)
        lacking = "it fits no file"
    else:
        return [path]
    if not files:
        raise UnreadableFile(path=path, reason=lacking)
    return files


def tables_in(file: Path) -> list[Path]:
    """Return the files of an archive, else the file itself; raises UnreadableFile and BadFile."""
    inside = containers.members(file)
    if inside is None:
        return [file]
    tables = _tables(inside, file)
    if not tables:
        raise UnreadableFile(path=file, reason="it has no CSV files")
    return tables


def _tables(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Return those paths that are tables by their names, in order; hidden ones are left out."""
    seen = [path for path in paths if not _is_hidden(path.relative_to(folder))]
    for suffixes in (SUFFIXES, (".txt",)):
        if tables := [path for path in seen if path.name.lower().endswith(suffixes)]:
            return sorted(tables, key=order)
    return []


def _is_hidden(path: Path) -> bool:
    """Tell what systems put beside files: ._AAPL.csv, __MACOSX, ~$book.xlsx."""
    return any(part.startswith((".", "~$", "__MACOSX")) for part in path.parts)


def order(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Order by name, numbers in it by their values: 9.csv is before 10.csv."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", str(path))
    return tuple((0, int(p), p) if p[0] in "0123456789" else (1, 0, p) for p in pieces)


def _content(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if not entry.is_dir()]
    except OSError as error:
        raise UnreadableFile(path=folder, reason=error.strerror) from None
