"""Lines of files with headings: the cells by the names of their columns, and what is wrong."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from jobs import symbols
from stockbatch.exceptions import BadFile
from stockbatch.market.sessions import TradingCalendar
from stockbatch.providers.csv.lines import refuse
from stockbatch.text import counted, quoted

Called = Mapping[str, tuple[str, ...]]
"""What files call a column, by our name for it, best name first."""


@dataclass(frozen=True, slots=True)
class Line:
    """The cells of a line by the names of their columns, and how to say what is wrong with one."""

    file: Path
    number: int
    cells: Mapping[str, str]
    places: Mapping[str, int | str]
    """Columns counted from 1, or keys."""
    excess: str = ""
    """What is wrong with the number of its cells."""
    delimiter: str = ""
    """What separates them."""

    def refuse(self, column: str, reason: object) -> BadFile:
        """Return the error that a cell is."""
        return refused(self.file, self.number, self.places.get(column, column), reason)

    def day(self, column: str, calendar: TradingCalendar) -> date:
        """Return the date in a cell; raises BadFile where it is none of the calendar's."""
        cell = self.cells.get(column, "")
        try:
            day = datetime.strptime(cell, "%Y-%m-%d").date()  # noqa: DTZ007 (a date has no zone)
        except ValueError:
            raise self.refuse(column, f"{quoted(cell)} is no date such as 2024-07-25") from None
        if not calendar.holds(day):
            raise self.refuse(column, f"{day} is beyond the sessions of {calendar.code}")
        return day


def refused(file: Path, line: int, column: int | str, reason: object) -> BadFile:
    """Return the error that a place of a file is."""
    try:
        refuse(file, line, column, str(reason))
    except BadFile as error:
        return error


def places(headings: Iterable[str], called: Called) -> dict[str, int]:
    """Return by our names where the best name of each column stands, the first of several."""
    plain = [_plain(heading) for heading in headings]
    return {
        name: plain.index(way)
        for name, ways in called.items()
        for way in reversed(ways)
        if way in plain
    }


def _plain(heading: str) -> str:
    return re.sub(r"[\s_-]+", " ", heading.strip(" \ufeff").lower())


def without_headings(file: Path, needed: Sequence[str]) -> BadFile:
    """Return the error that a file has no headings for what is needed."""
    *names, last = needed
    reason = f"the first line has no headings such as {', '.join(names)} and {last}"
    return refused(file, 1, 1, reason)


def read_lines(file: Path, called: Called, needed: Sequence[str]) -> Iterator[Line]:
    """Yield the lines below the headings, whatever separates their cells.

    Raises UnreadableFile, and BadFile where there are no headings for what is `needed`, or two of
    one name.
    """
    for delimiter in symbols.DELIMITERS:
        # A name may have a # in it: only lines that begin with one are comments.
        rows = list(symbols.whole_lines(file, delimiter))
        headings = rows[0][1] if rows else []
        columns = places(headings, called)
        if columns.keys() >= set(needed):
            break
    else:
        raise without_headings(file, needed)
    plain = [_plain(heading) for heading in headings]
    for at in columns.values():
        if plain.count(plain[at]) > 1:
            reason = f"two columns are called {quoted(headings[at])}: which one counts?"
            raise refused(file, rows[0][0], at + 1, reason)
    ours: dict[str, int | str] = {name: at + 1 for name, at in columns.items()}
    width = len(headings)
    for number, cells in rows[1:]:
        named = {name: cells[at] for name, at in columns.items() if at < len(cells)}
        excess = f"there are {len(cells)} cells below {counted(width, 'heading')}"
        yield Line(file, number, named, ours, excess if any(cells[width:]) else "", delimiter)
