"""A terminal of a given width, as a command sees it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

COLUMNS, ROWS = 80, 24
TERM = "xterm-256color"
OTHERWISE = ("COLUMNS", "LINES", "NO_COLOR")
"""Variables that say what the terminal shall say itself."""


def typed(command: Sequence[object], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command on a terminal; return its exit status and what it shows, without colours."""
    master, slave = _opened(COLUMNS)
    inherited = {name: value for name, value in os.environ.items() if name not in OTHERWISE}
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**inherited, "TERM": TERM, **environment},
        start_new_session=True,
    ) as process:
        os.close(slave)
        shown = _all(master)
    return process.returncode, plain(shown)


def called(command: Callable[[], object], columns: int = COLUMNS) -> str:
    """Return what a function of this process shows on a terminal: no program need be started."""
    master, slave = _opened(columns)
    own = [os.dup(stream) for stream in range(3)]
    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", TERM)
        for name in OTHERWISE:
            patch.delenv(name, raising=False)
        shown = pool.submit(_all, master)
        try:
            for stream, (name, mode) in enumerate(
                (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
            ):
                os.dup2(slave, stream)
                patch.setattr(sys, name, open(stream, mode, closefd=False))  # noqa: SIM115
            command()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, kept in enumerate(own):
                os.dup2(kept, stream)
                os.close(kept)
            os.close(slave)
    return plain(shown.result())


def _opened(columns: int) -> tuple[int, int]:
    """Return both ends of a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    return master, slave


def _all(master: int) -> str:
    """Return what is shown until nobody has the terminal open any more."""
    shown = b""
    while chunk := _read(master):
        shown += chunk
    os.close(master)
    return shown.decode()


def plain(shown: str) -> str:
    """Return what a terminal shows at the end, without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown).replace("\r\n", "\n")


def width(line: str) -> int:
    """Return the cells that a line takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the last program that had the terminal open has ended
        return b""
