"""Which Parquet files a path names, and what the names of their folders say: ticker=AAPL."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pyarrow import fs

from stockbatch.exceptions import UnreadableFile
from stockbatch.places import Place, is_url
from stockbatch.text import printable

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
    OSError, UnreadableFile; ValueError where there is none.
    """
    (found,) = place.filesystem.get_file_info([place.path])
    if found.type == fs.FileType.File:
        return [_file(found)]
    above, pattern = place.path, list[str]()
    if found.type == fs.FileType.NotFound:
        parts = place.path.split("/")
        wild = next((at for at, part in enumerate(parts) if set("*?[") & set(part)), None)
        if wild is None:
            raise ValueError("there is no such file or folder")
        above, pattern = "/".join(parts[:wild]) or "/", parts[wild:]
    infos = _below(place, above, pattern)
    files = [
        info for info in infos if info.type == fs.FileType.File and _fits(info, above, pattern)
    ]
    if not files and pattern:
        raise ValueError("it fits no Parquet file")
    if not files:
        raise ValueError(f"it has no Parquet files: their names end in {SUFFIX}")
    return sorted(map(_file, files), key=lambda file: file.path)


def _below(place: Place, above: str, pattern: list[str]) -> list[Any]:
    """Return what is below a folder; of one of this machine, what a pattern may name alone."""
    if is_url(place.name):
        found: list[Any] = place.filesystem.get_file_info(fs.FileSelector(above, recursive=True))
        return found
    paths = list(_walked(above, [], pattern, frozenset()))
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            why = "its name is not UTF-8: rename it"
            raise UnreadableFile(path=printable(path), reason=why) from None
    return list(place.filesystem.get_file_info(paths))


def _walked(
    folder: str, parts: list[str], pattern: list[str], above: frozenset[str]
) -> Iterator[str]:
    """Yield the paths of files below a folder; a link to a folder that it is in is not followed."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            entries = [Path(one) for one in found if _leads([*parts, one.name], pattern)]
    except OSError as error:
        raise UnreadableFile(path=printable(folder), reason=error.strerror) from None
    for entry in entries:
        if entry.is_dir():
            yield from _walked(str(entry), [*parts, entry.name], pattern, above | {real})
        elif _ends([*parts, entry.name], pattern):
            yield str(entry)


def _fits(info: Any, above: str, pattern: list[str]) -> bool:
    """Tell whether a pattern names a file, or a folder that it is in."""
    parts = info.path.removeprefix(above).lstrip("/").split("/")
    return _leads(parts, pattern) and _ends(parts, pattern)


def _leads(parts: list[str], pattern: list[str]) -> bool:
    """Tell whether names begin as a pattern does; hidden ones only where it says so."""
    wanted = [*pattern, *["*"] * (len(parts) - len(pattern))]
    return all(
        fnmatchcase(part, wild) and (part[:1] not in _HIDDEN or part[:1] == wild[:1])
        for part, wild in zip(parts, wanted, strict=False)
    )


def _ends(parts: list[str], pattern: list[str]) -> bool:
    """Tell whether a file is where a pattern ends, or is called as one below it has to be."""
    named = bool(pattern) and len(parts) == len(pattern)
    return named or (len(parts) > len(pattern) and parts[-1].lower().endswith(SUFFIX))


def _file(info: Any) -> LakeFile:
    keys = dict(_keys(info.path.split("/")[:-1]))
    written = {name.lower(): name for name in keys}
    if {"year", "month", "day"} <= written.keys():
        year, month, day = (keys.pop(written[name]) or "" for name in ("year", "month", "day"))
        keys.setdefault("date", f"{year}-{month:0>2}-{day:0>2}")
    kept = {name: value for name, value in keys.items() if name.lower() not in _WITHIN_DATES}
    return LakeFile(path=info.path, stamp=(info.mtime_ns, info.size), keys=kept)


def _keys(folders: list[str]) -> Iterator[tuple[str, str | None]]:
    for folder in folders:
        if found := re.fullmatch(r"([^=]+)=(.*)", folder):
            value = unquote(found[2])
            yield unquote(found[1]), None if value in (NO_VALUE, "") else value
