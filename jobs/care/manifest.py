"""Which files of a folder an export has made: it removes and replaces no others.

    .stockbatch.lock     held by the export that writes
    .stockbatch.files    a line for each file of ours, by its path within the folder

A line is written before its file is, so that whatever a killed export leaves is known to the next.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobs import files
from stockbatch.exceptions import ExportFailed, ExportInProgress

NAME = ".stockbatch.files"


class Manifest:
    """The files of ours in a folder, while nobody else writes there."""

    def __init__(self, folder: Path, was_ours: Callable[[Path], bool]) -> None:
        self.folder = folder
        self._file = folder / NAME
        lines = self._lines()
        self._ours = {line for line in lines or () if _is_inside(line)}
        if lines is None:  # there was no list before, only what each file carries
            found = (path for path in folder.rglob("*.parquet") if not path.is_symlink())
            named = {str(path.relative_to(folder)): path for path in found}
            self._ours = {
                name
                for name, path in named.items()
                if path.stem == Path(name).parts[0] and was_ours(path)
            }
            self._replace(files.name_beside(self._file), sorted(self._ours))

    def own(self, file: Path) -> None:
        """Note that a file is to be ours. Raises ExportFailed where it is somebody else's."""
        name = str(file.relative_to(self.folder))
        if name in self._ours:
            return
        if os.path.lexists(file):
            reason = "somebody else's file has that name: move it away"
            raise ExportFailed(path=file, reason=reason)
        self._ours.add(name)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(self._file, flags, 0o644), "ab") as lines:
            lines.write(os.fsencode(f"{name}\n"))

    def write(self, file: Path, fill: Callable[[Path], None]) -> None:
        """Replace a file of ours at one stroke by what `fill` writes."""
        self.own(file)
        partial = files.name_beside(file)
        self.own(partial)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            fill(partial)
            files.settle(partial)
            partial.replace(file)
            files.settle(file.parent)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        self._ours.discard(str(partial.relative_to(self.folder)))

    def has(self, file: Path) -> bool:
        """Tell whether a file is ours."""
        return str(file.relative_to(self.folder)) in self._ours

    def surplus(self, folder: Path, kept: set[Path]) -> list[Path]:
        """Return the files of ours that are there, below `folder`, and not among `kept`."""
        ours = {path for name in self._ours if folder in (path := self.folder / name).parents}
        return sorted(path for path in ours - kept if os.path.lexists(path))

    def remove(self, file: Path) -> None:
        """Remove a file of ours, and the folders that are empty then."""
        file.unlink(missing_ok=True)
        self._ours.discard(str(file.relative_to(self.folder)))
        for parent in file.parents:
            if parent == self.folder or any(parent.iterdir()):
                break
            parent.rmdir()

    def settle(self) -> None:
        """Write the list anew, without what is gone."""
        there = sorted(name for name in self._ours if os.path.lexists(self.folder / name))
        self._ours = set(there)
        if self._lines() != there:
            partial = files.name_beside(self._file)
            self.own(partial)  # should we be killed now
            self._replace(partial, there)
            self._ours = set(there)

    def _replace(self, partial: Path, names: list[str]) -> None:
        with partial.open("xb") as lines:
            lines.write(b"".join(os.fsencode(f"{name}\n") for name in names))
        files.settle(partial)
        partial.replace(self._file)

    def _lines(self) -> list[str] | None:
        try:
            opened = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(opened, "rb") as lines:
            return [os.fsdecode(line) for line in lines.read().splitlines()]


def _is_inside(name: str) -> bool:
    """Tell whether a path leads to a file within the folder, whoever wrote the list."""
    path = Path(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time write into a folder; make it first."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        lock = os.open(folder / ".stockbatch.lock", flags, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportInProgress(folder=folder) from None
        yield
    finally:
        os.close(lock)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise ExportFailed for what the system refuses."""
    try:
        yield
    except OSError as error:
        raise ExportFailed(path=path, reason=error.strerror or error) from None
