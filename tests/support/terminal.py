"""A terminal of a given width, as a command sees it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import unicodedata
from collections.abc import Mapping, Sequence

COLUMNS, ROWS = 80, 24


def typed(
    command: Sequence[object], environment: Mapping[str, str], columns: int = COLUMNS
) -> tuple[int, str]:
    """Run a command on a terminal; return its exit status and what it shows, without colours."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**inherited, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    ) as process:
        os.close(slave)
        shown = b""
        while chunk := _read(master):
            shown += chunk
    os.close(master)
    return process.returncode, plain(shown.decode())


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
