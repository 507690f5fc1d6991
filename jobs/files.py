"""Files that are there whole or not at all, made under names that nobody else has."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


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
    partial = name_beside(file, file.suffix)
    os.close(os.open(partial, _NEW, mode))
    try:
        yield partial
        settle(partial)
        _place(partial, file, replacing=replacing)
        settle(file.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


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


def name_beside(file: Path, suffix: str = "") -> Path:
    """Return a name in the same folder that nobody can have chosen before."""
    return file.with_name(f".{secrets.token_hex(12)}.partial{suffix}")


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
