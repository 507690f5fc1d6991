"""Which files of a folder an export has made: it removes and replaces no others.

    .stockbatch.lock     held by the export that writes, where files can be locked
    .stockbatch.files    a line for each file of ours, by its path within the folder

A line is written before its file is, so that whatever a killed export leaves is known to the next.
"""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from jobs.care.folders import Fill, Folder
from stockbatch.exceptions import ExportFailed

NAME = ".stockbatch.files"


class Manifest:
    """The files of ours in a folder, while nobody else writes there."""

    def __init__(self, folder: Folder, was_ours: Callable[[str], bool]) -> None:
        self.folder = folder
        lines = folder.lines(NAME)
        self._ours = {line for line in lines or () if _is_inside(line)}
        if lines is None:  # there was no list before, only what each file carries
            named = ((PurePosixPath(name), name) for name in folder.tables())
            self._ours = {
                name for path, name in named if path.stem == path.parts[0] and was_ours(name)
            }
            # Noted nowhere: a list that is begun would be taken for the whole.
            folder.write(NAME, _lines(self._ours), lambda _: None)

    def own(self, name: str) -> None:
        """Note that a file is to be ours. Raises ExportFailed where it is somebody else's."""
        if name in self._ours:
            return
        if self.folder.has(name):
            reason = "somebody else's file has that name: move it away"
            raise ExportFailed(path=self.folder.shown(name), reason=reason)
        self._ours.add(name)
        self.folder.add_line(NAME, name)

    def write(self, name: str, fill: Fill) -> None:
        """Replace a file of ours at one stroke by what `fill` writes."""
        self.own(name)
        ours = set(self._ours)
        self.folder.write(name, fill, self.own)
        self._ours = ours  # what it was called meanwhile is gone

    def has(self, name: str) -> bool:
        """Tell whether a file is ours."""
        return name in self._ours

    def surplus(self, relation: str, kept: set[str]) -> list[str]:
        """Return the files of ours that are there, of a relation, and not among `kept`."""
        ours = (name for name in self._ours - kept if name.startswith(f"{relation}/"))
        return sorted(filter(self.folder.has, ours))

    def remove(self, name: str) -> None:
        """Remove a file of ours."""
        self.folder.remove(name)
        self._ours.discard(name)

    def settle(self) -> None:
        """Write the list anew, without what is gone."""
        self._ours = set(filter(self.folder.has, self._ours))
        if self.folder.lines(NAME) != sorted(self._ours):
            there = set(self._ours)
            self.folder.write(NAME, _lines(there), self.own)  # should we be killed now
            self._ours = there


def _lines(names: set[str]) -> Fill:
    def fill(partial: Path) -> None:
        partial.write_bytes(b"".join(os.fsencode(f"{name}\n") for name in sorted(names)))

    return fill


def _is_inside(name: str) -> bool:
    """Tell whether a path leads to a file within the folder, whoever wrote the list."""
    path = Path(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts
