"""Files that are there whole or not at all, made under names that nobody else has.

Whoever makes one has it locked, so that what a killed process has left can be told from what one
that lives is making: the next to make such a file in the folder removes it.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_PARTIAL = ".stockbatch-{}.partial"


@contextmanager
def appearing(file: Path, *, replacing: bool, mode: int = 0o666) -> Iterator[Path]:
    """Yield a new, empty file beside `file`, which takes its name if all goes well.

    A file that is there is replaced only if `replacing`, else FileExistsError is raised; what is
    no ordinary file never is. Whatever fails leaves nothing behind. Raises OSError.
    """
    if replacing:
        file = Path(os.path.realpath(file))  # of a link, what it leads to
    elif os.path.lexists(file):
        raise FileExistsError(errno.EEXIST, "there is such a file already")
    _require_ordinary(file)
    remove_left(file.parent, _PARTIAL.format("[0-9a-f]{24}") + re.escape(file.suffix))
    partial, opened = _made(file, mode)
    try:
        yield partial
        settle(partial)
        _place(partial, file, replacing=replacing)
        settle(file.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        os.close(opened)


def _made(file: Path, mode: int) -> tuple[Path, int]:
    """Make an empty file beside `file`, and lock it; return its path and what holds the lock."""
    while True:
        partial = file.with_name(_PARTIAL.format(secrets.token_hex(12)) + file.suffix)
        opened = os.open(partial, _NEW, mode)
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(opened, fcntl.LOCK_EX)
        if os.fstat(opened).st_nlink:
            return partial, opened
        os.close(opened)  # before it was locked, another took it for one that was left


def remove_left(folder: Path, pattern: str, remove: Callable[[Path], object] = Path.unlink) -> None:
    """Remove what is ours in `folder`, by its whole name and owner, and locked by nobody alive."""
    with suppress(OSError):
        for path in folder.iterdir():
            if re.fullmatch(pattern, path.name):
                with suppress(OSError), locked(path):
                    remove(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file or folder of our own. Raises OSError: also where another has locked it."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(opened)
        is_ours = found.st_uid == os.geteuid()
        if not is_ours or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise PermissionError(errno.EPERM, "it is somebody else's")
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


def _place(partial: Path, file: Path, *, replacing: bool) -> None:
    if replacing:
        _require_ordinary(file)
        partial.replace(file)
        return
    os.close(os.open(file, _NEW, 0o600))  # from here on the name is ours, and was nobody's
    try:
        partial.replace(file)
    except BaseException:
        file.unlink()
        raise


def name_beside(file: Path) -> Path:
    """Return a name in the same folder that nobody can have chosen before."""
    return file.with_name(f".{secrets.token_hex(12)}.partial")


def _require_ordinary(file: Path) -> None:
    if file.exists() and not file.is_file():
        raise OSError(None, "that is no file")


def settle(path: Path) -> None:
    """Let what was written to a file, or renamed in a folder, survive a loss of power."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
