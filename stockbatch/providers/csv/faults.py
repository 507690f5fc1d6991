"""Where a CSV file is wrong: found slowly, cell by cell, once the fast parser has given up."""

from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from pathlib import Path

from stockbatch.providers.csv.cells import AmbiguousNumber, as_number, as_session, day_first
from stockbatch.providers.csv.header import Header
from stockbatch.providers.csv.lines import read_rows, refuse


def locate(path: Path, header: Header, mark: str | None, strict: Iterable[str]) -> None:
    """Read row by row and raise BadFile at the first cell the parser cannot have read.

    In columns that are not `strict`, that is a number that can be read as two.
    """
    # Dates are read as the parser has read them, by what all of them together show.
    names = sorted((position, name) for name, position in header.columns.items())
    at = header.columns["session"]
    with closing(read_rows(path, header.delimiter)) as rows:
        days_first = day_first({row[at] for _, row in islice(rows, 1, None) if at < len(row)})
    with closing(read_rows(path, header.delimiter)) as rows:
        for line, row in islice(rows, 1, None):
            if "".join(row[len(header.cells) :]).strip():
                reason = f"there are {len(row)} cells below {len(header.cells)} headings"
                refuse(path, line, len(header.cells) + 1, reason)
            for position, name in names:
                cell = row[position] if position < len(row) else ""
                if fault := _fault(name, cell, mark, days_first, strict=name in strict):
                    refuse(path, line, header.cells[position], fault)


def _fault(
    name: str, cell: str, mark: str | None, days_first: bool | None, *, strict: bool
) -> str | None:
    """Say what is wrong with a cell of the column `name`."""
    if name == "ticker":
        plain = cell.strip()
        return None if plain and plain.isprintable() else "there is no ticker"
    try:
        if name == "session":
            as_session(cell, days_first)
        else:
            as_number(cell, mark)
    except ValueError as error:
        return str(error) if strict or isinstance(error, AmbiguousNumber) else None
    return None
