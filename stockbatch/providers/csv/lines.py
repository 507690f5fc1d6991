"""The rows of a file, packed or plain, in whatever encoding; or what is wrong with it."""

import codecs
import csv
import gzip
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, NoReturn, cast
from zipfile import ZipExtFile

from stockbatch.exceptions import BadFile, UnreadableFile
from stockbatch.providers.csv import containers, limits
from stockbatch.providers.csv.names import encoding_of

PEEKED = 8192
"""So much of a file shows how it is written."""
BROKEN = (*containers.BROKEN, gzip.BadGzipFile)
"""What reading a damaged gzip file, or one in an archive, raises."""
LONGEST_REASON, MOST_OF_A_HEADING = 1000, 60


def read_rows(
    path: Path, delimiter: str, largest: int = limits.LARGEST
) -> Generator[tuple[int, list[str]]]:
    """Yield the rows of a file that are not blank, each with the line it ends on.

    Raises BadFile where it is broken, or has more than `largest` bytes.
    """
    with closing(text_lines(path, largest)) as lines:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        try:
            for row in reader:
                if len(row) > limits.MOST_CELLS:
                    refuse(path, reader.line_num, 1, f"there are {len(row):,} cells in this row")
                if "".join(row).strip():
                    yield reader.line_num, row
        except csv.Error as error:
            refuse(path, reader.line_num, 1, str(error))


@contextmanager
def opened(path: Path, largest: int = limits.LARGEST) -> Iterator[IO[bytes]]:
    """Open a file for reading what is in it: unpacked, a workbook as CSV, UTF-16 as UTF-8.

    Reading raises BadFile where there is too much of it, see `limits`.
    """
    try:
        with containers.unpacked(path) as raw:
            # By what is in it, not by its name: browsers unpack .csv.gz and keep the name.
            if raw.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(raw) as unzipped:
                    packed = containers.stamp(path)[1]
                    yield _as_utf_8(limits.guarded(path, unzipped, largest, packed))
            elif isinstance(raw, ZipExtFile):
                yield _as_utf_8(limits.guarded(path, raw, largest, containers.stamp(path)[1]))
            else:
                yield _as_utf_8(limits.guarded(path, raw, largest))
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise UnreadableFile(path=path, reason=error.strerror or error) from None


def _as_utf_8(stream: BufferedReader) -> IO[bytes]:
    start = stream.peek(PEEKED)
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return cast(IO[bytes], codecs.EncodedFile(stream, "utf-8", "utf-16"))
    if encoding := encoding_of(start[:PEEKED]):
        return cast(IO[bytes], codecs.EncodedFile(stream, "utf-8", encoding, "replace"))
    return cast(IO[bytes], stream)


def text_lines(path: Path, largest: int = limits.LARGEST) -> Generator[str]:
    """Yield the lines of a file; raises BadFile where it is broken. What is no UTF-8 is escaped."""
    number = 0
    try:
        with opened(path, largest) as stream:
            for number, line in enumerate(stream, 1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")
                if "\0" in text:
                    column = text.partition("\0")[0].count(",") + 1
                    refuse(path, number, column, "there is a NUL byte")
                yield text
    except UnicodeDecodeError:
        refuse(path, number + 1, 1, "this is not UTF-16 text")
    except BROKEN as error:
        refuse(path, number + 1, 1, f"the compressed data is broken: {error}")


def refuse(path: Path | str, line: int, column: int | str, reason: str) -> NoReturn:
    """Raise BadFile; of what a file says, a message repeats the beginning only."""
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]} …"
    if isinstance(column, str):
        column = column[:MOST_OF_A_HEADING]
    raise BadFile(path=path, line=line, column=column, reason=reason)
