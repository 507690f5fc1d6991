"""How much of a file is read: what goes beyond is no file of bars, and would fill the memory."""

import io
import os
import stat
from pathlib import Path
from typing import IO, Any, NoReturn

from stockbatch.exceptions import BadFile, UnreadableFile

LARGEST = 4 * 2**30
"""Bytes of text in a file."""
LONGEST_LINE = 2**20
"""Bytes; a row of a thousand tickers side by side has a tenth of it."""
MOST_CELLS = 50_000
"""Of a row."""
LARGEST_BOOK = 512 * 2**20
"""Bytes of a workbook or a Parquet file, which has to be in memory as a whole."""
LARGEST_SHEETS = 256 * 2**20
"""Bytes that the parts of a workbook have unpacked."""
MOST_CELLS_OF_A_BOOK = 50_000_000
MOST_CELLS_OF_A_TABLE = 200_000_000
MOST_MEMBERS = 100_000
"""Files in an archive."""
TIMES, FREELY = 50, 32 * 2**20
"""Packed text may be so many times as large as its file, and so many bytes in any case."""


def status(path: Path) -> os.stat_result:
    """Return the status of a file or folder; of a pipe one would wait for the end for ever.

    Raises OSError, and UnreadableFile for a pipe, a device and the like.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise UnreadableFile(path=path, reason="that is no ordinary file")
    return found


def open_ordinary(path: Path) -> IO[bytes]:
    """Open a file, if it is one; raises as `status` does."""
    status(path)
    return path.open("rb")


def read_whole(path: Path, raw: Any) -> bytes:
    """Return all of a file that has to be in memory; raises BadFile where it is too large."""
    content: bytes = raw.read(LARGEST_BOOK + 1)
    if len(content) > LARGEST_BOOK:
        refuse_whole(path, f"it is larger than {LARGEST_BOOK // 2**20} MiB: save it as CSV")
    return content


def refuse_whole(path: Path, reason: str) -> NoReturn:
    """Raise BadFile for a file as a whole."""
    raise BadFile(path=path, line=1, column=1, reason=reason)


def guarded(path: Path, stream: Any, largest: int, packed: int | None = None) -> Any:
    """Return a stream of the same bytes that raises BadFile where they are too many.

    `packed` is the size of the file that they are unpacked from.
    """
    return io.BufferedReader(_Guard(path, stream, largest, packed), 2**16)


class _Guard(io.RawIOBase):
    """Counts the bytes of a stream, of all and of each line."""

    def __init__(self, path: Path, stream: Any, largest: int, packed: int | None) -> None:
        self._path, self._stream, self._largest = path, stream, largest
        self._expected = None if packed is None else max(FREELY, TIMES * packed)
        self._read = self._of_line = 0
        self._line = 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; raises BadFile."""
        count: int = self._stream.readinto(buffer)
        with memoryview(buffer)[:count] as view:
            self._count(bytes(view))
        return count

    def _count(self, block: bytes) -> None:
        self._read += len(block)
        self._line += block.count(b"\n")
        # Old files end their lines with \r alone.
        end = max(block.rfind(b"\n"), block.rfind(b"\r"))
        self._of_line = len(block) - end - 1 + (self._of_line if end < 0 else 0)
        if self._of_line > LONGEST_LINE:
            self._refuse(
                f"this line has more than {LONGEST_LINE:,} bytes: no row of bars or news has"
            )
        if self._read > self._largest:
            self._refuse(f"there are more than {self._largest / 2**20:,.0f} MiB: split the file")
        if self._expected is not None and self._read > self._expected:
            self._refuse(
                f"it unpacks to more than {TIMES} times its size, as no bars or news do: unpack it"
                " yourself"
            )

    def _refuse(self, reason: str) -> None:
        raise BadFile(path=self._path, line=self._line, column=1, reason=reason)
