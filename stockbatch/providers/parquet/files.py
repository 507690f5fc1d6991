"""Which Parquet files a path names, and what the names of their folders say: ticker=AAPL."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

from stockbatch.places import Place

SUFFIX = ".parquet"
"""Of the files of a folder; a pattern may name any."""
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_HIDDEN = (".", "_")
_WITHIN_DATES = {"year", "quarter", "month", "week"}
"""Keys that say nothing beside a date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeFile:
    """A file, as it was at one time."""

    path: str
    """Within its file system."""
    stamp: tuple[int, int]
    """When it was last changed, and its size."""
    keys: Mapping[str, str | None]
    """What the folders above it say."""


def files_of(place: Place) -> list[LakeFile]:
    """Return the files that a place names, in the order of their names.

    What engines keep beside their files (_SUCCESS, _temporary, hidden ones) is left out. Raises
    OSError; ValueError where there is none.
    """
    from pyarrow import fs

    (found,) = place.filesystem.get_file_info([place.path])
    if found.type == fs.FileType.File:
        return [_file(found)]
    parts = place.path.split("/")
    wild = next((at for at, part in enumerate(parts) if set("*?[") & set(part)), len(parts))
    pattern = parts if found.type == fs.FileType.NotFound else parts[:wild]
    if found.type == fs.FileType.NotFound and wild == len(parts):
        raise ValueError("there is no such file or folder")
    above = "/".join(pattern[:wild]) if found.type == fs.FileType.NotFound else place.path
    everything = place.filesystem.get_file_info(fs.FileSelector(above, recursive=True))
    files = [info for info in everything if info.type == fs.FileType.File]
    if found.type == fs.FileType.NotFound:
        files = [info for info in files if _fits(info.path.split("/"), parts)]
        lacking = "it fits no Parquet file"
    else:
        files = [info for info in files if _is_table(info.path.removeprefix(above).split("/"))]
        lacking = f"it has no Parquet files: their names end in {SUFFIX}"
    if not files:
        raise ValueError(lacking)
    return sorted(map(_file, files), key=lambda file: file.path)


def _fits(parts: list[str], pattern: list[str]) -> bool:
    """Tell whether a pattern names a file, or a folder that it is in."""
    rest = parts[len(pattern) :]
    pairs = list(zip(parts, pattern, strict=False))
    if len(pairs) < len(pattern) or not all(fnmatchcase(*pair) for pair in pairs):
        return False
    if any(part[:1] in _HIDDEN and part[:1] != wild[:1] for part, wild in pairs):
        return False
    return not rest or _is_table(rest)


def _is_table(parts: list[str]) -> bool:
    hidden = any(part.startswith(_HIDDEN) for part in parts)
    return not hidden and parts[-1].lower().endswith(SUFFIX)


def _file(info: Any) -> LakeFile:
    keys = dict(_keys(info.path.split("/")[:-1]))
    if {"year", "month", "day"} <= keys.keys():
        year, month, day = (keys.pop(name) or "" for name in ("year", "month", "day"))
        keys.setdefault("date", f"{year}-{month:0>2}-{day:0>2}")
    kept = {name: value for name, value in keys.items() if name.lower() not in _WITHIN_DATES}
    return LakeFile(path=info.path, stamp=(info.mtime_ns, info.size), keys=kept)


def _keys(folders: list[str]) -> Iterator[tuple[str, str | None]]:
    for folder in folders:
        if found := re.fullmatch(r"([^=]+)=(.*)", folder):
            value = unquote(found[2])
            yield unquote(found[1]), None if value in (NO_VALUE, "") else value
