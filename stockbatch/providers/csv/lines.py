"""The rows of a file, packed or plain, in whatever encoding; or what is wrong with it."""

import codecs
import csv
import gzip
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from stockbatch.exceptions import BadFile, UnreadableFile
from stockbatch.providers.csv import containers
from stockbatch.providers.csv.names import encoding_of

PEEKED = 8192
"""So much of a file shows how it is written."""
BROKEN = (*containers.BROKEN, gzip.BadGzipFile)
"""What reading a damaged gzip file, or one in an archive, raises."""


def read_rows(path: Path, delimiter: str) -> Generator[tuple[int, list[str]]]:
    """Yield the rows of a file that are not blank, each with the line it ends on."""
    with closing(_lines(path)) as lines:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        try:
            for row in reader:
                if "".join(row).strip():
                    yield reader.line_num, row
        except csv.Error as error:
            refuse(path, reader.line_num, 1, str(error))


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading what is in it: unpacked, a workbook as CSV, UTF-16 as UTF-8."""
    try:
        with containers.unpacked(path) as raw:
            # By what is in it, not by its name: browsers unpack .csv.gz and keep the name.
            if raw.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(raw) as unzipped:
                    yield _as_utf_8(cast(Any, unzipped))
            else:
                yield _as_utf_8(raw)
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise UnreadableFile(path=path, reason=error.strerror or error) from None


def _as_utf_8(stream: Any) -> IO[bytes]:
    start = stream.peek(PEEKED)
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return cast(IO[bytes], codecs.EncodedFile(stream, "utf-8", "utf-16"))
    if encoding := encoding_of(start[:PEEKED]):
        return cast(IO[bytes], codecs.EncodedFile(stream, "utf-8", encoding, "replace"))
    return cast(IO[bytes], stream)


def _lines(path: Path) -> Generator[str]:
    """Yield the lines of a file; raises BadFile where it is broken. What is no UTF-8 is escaped."""
    number = 0
    try:
        with opened(path) as stream:
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


def refuse(path: Path, line: int, column: int | str, reason: str) -> NoReturn:
    """Raise BadFile."""
    raise BadFile(path=path, line=line, column=column, reason=reason)
