"""Where an export writes: a folder of this machine, or of an object store; both alike.

A file is there whole or not at all. What else a folder has is nobody's business here: which files
are an export's own is known by `manifest`.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs import files
from stockbatch.exceptions import ExportFailed, ExportInProgress
from stockbatch.places import hidden, is_url, named, opened, reason

Fill = Callable[[Path], None]
"""Writes what a file is to hold to a path."""
Note = Callable[[str], None]
"""Is told each name before a file of that name is made."""


class Folder(Protocol):
    """A folder whose files are named by their paths within it."""

    def shown(self, name: str = "") -> str:
        """Return how the folder, or a file in it, is shown."""
        ...

    def alone(self, db: Session, /) -> AbstractContextManager[None]:
        """Let one export at a time write; raises ExportInProgress and ExportFailed."""
        ...

    def has(self, name: str) -> bool:
        """Tell whether there is anything of that name."""
        ...

    def tables(self) -> list[str]:
        """Return the names of all Parquet files."""
        ...

    def source(self, name: str) -> Any:
        """Return what pyarrow reads a file from; raises OSError."""
        ...

    def lines(self, name: str) -> list[str] | None:
        """Return the lines of a file; None where there is none. Raises OSError."""
        ...

    def add_line(self, name: str, line: str) -> None:
        """Add a line to a file, which is made where there is none; raises OSError."""
        ...

    def write(self, name: str, fill: Fill, note: Note, /) -> None:
        """Replace a file at one stroke; raises OSError, and leaves what was there."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; raises OSError."""
        ...


def folder_of(to: str | Path) -> Folder:
    """Return the folder of a path or URL; raises ExportFailed for what is none."""
    try:
        name = named(str(to))
        return Bucket(name) if is_url(name) else Local(Path(name))
    except ValueError as error:
        raise ExportFailed(path=hidden(str(to)), reason=error) from None


class Local:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def shown(self, name: str = "") -> str:
        """Return a path."""
        return str(self._path / name)

    @contextmanager
    def alone(self, _db: Session | None = None, /) -> Iterator[None]:
        """Lock the folder, making it first, whatever database an export is of."""
        with explained(self.shown()):
            self._path.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            lock = os.open(self._path / ".stockbatch.lock", flags, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ExportInProgress(folder=self._path) from None
            yield
        finally:
            os.close(lock)

    def has(self, name: str) -> bool:
        """Tell whether there is anything, be it a link that leads nowhere."""
        return os.path.lexists(self._path / name)

    def tables(self) -> list[str]:
        """Return what is no link."""
        found = (path for path in self._path.rglob("*.parquet") if not path.is_symlink())
        return [str(path.relative_to(self._path)) for path in found]

    def source(self, name: str) -> Path:
        """Return a path."""
        return self._path / name

    def lines(self, name: str) -> list[str] | None:
        """Read no link."""
        try:
            descriptor = os.open(self._path / name, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as stream:
            return [os.fsdecode(line) for line in stream.read().splitlines()]

    def add_line(self, name: str, line: str) -> None:
        """Follow no link."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path / name, flags, 0o644), "ab") as stream:
            stream.write(os.fsencode(f"{line}\n"))

    def write(self, name: str, fill: Fill, note: Note, /) -> None:
        """Write under a name that readers pass over, and rename when all is there."""
        file = self._path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = files.name_beside(file)
        note(str(partial.relative_to(self._path)))
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

    def remove(self, name: str) -> None:
        """Remove the folders that are empty then as well."""
        file = self._path / name
        file.unlink(missing_ok=True)
        for parent in file.parents:
            if parent == self._path or any(parent.iterdir()):
                break
            parent.rmdir()


class Bucket:
    """A folder of an object store, in which an object appears at the end of its upload."""

    def __init__(self, name: str) -> None:
        self._place = opened(name)
        self._url = name.partition("?")[0]

    def shown(self, name: str = "") -> str:
        """Return a URL."""
        return f"{self._url}/{name}" if name else self._url

    @contextmanager
    def alone(self, db: Session, /) -> Iterator[None]:
        """Hold a lock of the database until its transaction ends: the store has none to give."""
        query = text("SELECT pg_try_advisory_xact_lock(hashtext('export ' || :url))")
        if not db.scalar(query, {"url": self._url}):
            raise ExportInProgress(folder=self._url)
        with explained(self.shown()):
            self._there  # noqa: B018 (whether it can be reached is told first of all)
        yield

    @cached_property
    def _there(self) -> set[str]:
        """The names of all objects: asked once, as nobody else changes what is ours."""
        from pyarrow import fs

        selector = fs.FileSelector(self._place.path, recursive=True, allow_not_found=True)
        found = self._place.filesystem.get_file_info(selector)
        start = len(self._place.path) + 1
        return {one.path[start:] for one in found if one.type == fs.FileType.File}

    def has(self, name: str) -> bool:
        """Tell whether there is an object."""
        return name in self._there

    def tables(self) -> list[str]:
        """Return the names of objects."""
        return sorted(name for name in self._there if name.endswith(".parquet"))

    def source(self, name: str) -> Any:
        """Return an open file of pyarrow."""
        return self._place.filesystem.open_input_file(self._path(name))

    def lines(self, name: str) -> list[str] | None:
        """Read an object."""
        if name not in self._there:
            return None
        with self.source(name) as stream:
            return [os.fsdecode(line) for line in stream.read().splitlines()]

    def add_line(self, name: str, line: str) -> None:
        """Write the object anew: none can be added to."""
        whole = [*(self.lines(name) or ()), line]
        self._put(name, b"".join(os.fsencode(f"{one}\n") for one in whole))

    def write(self, name: str, fill: Fill, _note: Note, /) -> None:
        """Upload what was written to a file of this machine, once it is whole."""
        with TemporaryDirectory(prefix="stockbatch-") as own:
            partial = Path(own) / "partial"
            fill(partial)
            self._put(name, partial.read_bytes())

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._place.filesystem.delete_file(self._path(name))
        self._there.discard(name)

    def _put(self, name: str, content: bytes) -> None:
        # In one write: a stream that is closed, for whatever reason, completes what it has.
        stream = self._place.filesystem.open_output_stream(self._path(name))
        stream.write(content)
        stream.close()
        self._there.add(name)

    def _path(self, name: str) -> str:
        return f"{self._place.path}/{name}"


@contextmanager
def explained(shown: str) -> Iterator[None]:
    """Raise ExportFailed for what the system or the store refuses."""
    try:
        yield
    except OSError as error:
        raise ExportFailed(path=shown, reason=reason(error)) from None
