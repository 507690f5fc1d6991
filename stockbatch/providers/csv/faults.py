"""What cannot be read of a CSV file: told line by line, as long as it is not most of the file."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from stockbatch.providers.csv.lines import refuse
from stockbatch.records import Check

MOST = 100
"""So many lines are named, the others counted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that is no bar, or one of its cells that says nothing."""

    line: int
    column: int | str
    reason: str
    check: Check
    ticker: str | None = None
    """Where the line tells it, though it is left out."""


class Faults:
    """Gathers what cannot be read of one file while it is."""

    def __init__(self) -> None:
        self.lines: dict[int, Fault] = {}
        """Lines left out, by number: the first MOST."""
        self.cells: dict[int, Fault] = {}
        """Of lines that are kept, one cell each."""
        self.left_out = 0
        self.unread: Counter[str] = Counter()
        self._first: dict[str, Fault] = {}

    def line(self, fault: Fault) -> None:
        """Note a line that is left out."""
        self.left_out += 1
        self.cells.pop(fault.line, None)
        if len(self.lines) < MOST:
            self.lines[fault.line] = fault

    def cell(self, fault: Fault) -> None:
        """Note a cell that says nothing, of a line that is kept."""
        column = str(fault.column)
        self.unread[column] += 1
        self._first.setdefault(column, fault)
        if len(self.cells) < MOST:
            self.cells.setdefault(fault.line, fault)

    def judge(self, path: Path | str, rows: int) -> None:
        """Raise BadFile where most lines, or most cells of a column, cannot be read."""
        if 2 * self.left_out > rows + self.left_out:
            first = min(self.lines.values(), key=lambda fault: fault.line)
            refuse(path, first.line, first.column, first.reason)
        for column, count in self.unread.items():
            if 2 * count > rows + self.left_out:
                first = self._first[column]
                refuse(path, first.line, column, first.reason)
