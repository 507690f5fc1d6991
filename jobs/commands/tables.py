"""How commands print rows: a table for people, JSON or CSV for programs.

On a terminal a table takes its width: long texts fold, a number never does, and rows that cannot
fit stand upright, one thing a line. Elsewhere each row is one line, however long.
"""

from __future__ import annotations

import csv
import json
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import typer

from stockbatch.text import printable

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]
Value = str | Callable[[Row], object]
"""A key of a row, or what makes something to show of it; None is nothing."""

GAP = 2
"""Spaces between columns."""
NARROWEST = 12
"""Characters that a text which folds is left with at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table, and what it shows of a row."""

    heading: str
    value: Value
    is_number: bool = False
    folds: bool = False
    """A text that may take several lines."""
    wide: bool = False
    """Left out of what is shown by default."""
    once: bool = False
    """On a terminal, where it is the same in all rows it is said once, below the table."""

    def cell(self, row: Row) -> str:
        """Return what is shown of a row."""
        value = row[self.value] if isinstance(self.value, str) else self.value(row)
        return "" if value is None else printable(" ".join(str(value).splitlines()))


def words(heading: str, value: Value | None = None, **more: bool) -> Column:
    """Return a column of words; by default they stand in the row under its heading."""
    return Column(heading=heading, value=value or heading, **more)


def number(heading: str, value: Value | None = None, *, wide: bool = False) -> Column:
    """Return a column of numbers; by default they stand in the row under its heading."""
    return Column(heading=heading, value=value or heading, is_number=True, wide=wide)


def show(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    names: Sequence[str],
    layout: str = "table",
    *,
    wide: bool = False,
) -> None:
    """Print rows as a table of `columns`, or the values of `names` as JSON or CSV.

    Of a table, columns that say nothing are left out. On a terminal a single row is shown with all
    it has, and upright, as are rows that do not fit.
    """
    if layout == "table":
        typer.echo(_as_table(title, columns, rows, wide=wide))
    else:
        export(names, rows, layout)


def export(names: Sequence[str], rows: Sequence[Row], layout: str) -> None:
    """Print the values of `names` as JSON or CSV, rounded to what they mean."""
    from jobs.words import cell, rounded

    known = [{name: rounded(name, row[name]) for name in names} for row in rows]
    if layout == "json":
        typer.echo(json.dumps(known, default=str, indent=2, ensure_ascii=False))
        return
    writer = csv.writer(sys.stdout)
    writer.writerow(names)
    writer.writerows([cell(value) for value in row.values()] for row in known)


def facts(title: str, pairs: Sequence[tuple[str, object]]) -> None:
    """Print what is known of one thing, a line each."""
    named = [{"name": name, "value": value} for name, value in pairs]
    columns = [words("name"), words("value", folds=True)]
    typer.echo(_drawn(title, columns, named, headings=False))


def room() -> int | None:
    """Return the characters of a line of the terminal; None where there is no terminal."""
    from rich.console import Console

    screen = Console()
    return screen.width if screen.is_terminal else None


def folded(line: str) -> str:
    """Return a line in several, where the terminal is too narrow for it; no word is broken."""
    width = room()
    if width is None:
        return line
    return textwrap.fill(
        line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _as_table(title: str, columns: Sequence[Column], rows: Sequence[Row], *, wide: bool) -> str:
    if not rows:
        return printable(title)
    limit = room()
    if len(rows) == 1 and limit is not None:
        return _upright(title, columns, rows)
    chosen = columns if wide else [column for column in columns if not column.wide]
    telling = [column for column in chosen if wide or any(map(column.cell, rows))]
    if limit is None:
        return _drawn(title, telling, rows)
    alike = [] if wide else [one for one in telling if one.once and _is_constant(one, rows)]
    telling = [column for column in telling if column not in alike]
    fits = _narrowest(telling, rows) <= limit
    said = [folded(f"all: {one.heading} {one.cell(rows[0])}") for one in alike]
    return "\n".join([(_drawn if fits else _upright)(title, telling, rows), *said])


def _is_constant(column: Column, rows: Sequence[Row]) -> bool:
    return len({column.cell(row) for row in rows}) == 1


def _narrowest(columns: Sequence[Column], rows: Sequence[Row]) -> int:
    """Return the characters that a line of a table takes at least."""
    from rich.cells import cell_len

    needed = [
        max(cell_len(text) for text in (column.heading, *map(column.cell, rows)))
        for column in columns
    ]
    least = [
        min(width, NARROWEST) if column.folds else width
        for column, width in zip(columns, needed, strict=True)
    ]
    return sum(least) + GAP * (len(columns) - 1)


def _upright(title: str, columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Return what is known of each row, a line per column, with a blank line between rows."""
    width = max(len(column.heading) for column in columns)
    pair = [words("name"), words("value", folds=True)]
    blocks = []
    for row in rows:
        said = ((column.heading.ljust(width), column.cell(row)) for column in columns)
        known = [{"name": name, "value": value} for name, value in said if value]
        blocks.append(_drawn("", pair, known, headings=False).removeprefix("\n"))
    return "\n".join([printable(title), "\n\n".join(blocks)])


def _drawn(
    title: str, columns: Sequence[Column], rows: Sequence[Row], *, headings: bool = True
) -> str:
    """Return a table in text; on a terminal with its colours and within its width."""
    from rich.console import Console

    cells = [[column.cell(row) for column in columns] for row in rows]
    widths = _widths(columns, cells, room(), headings=headings)
    # Square brackets and colons of a name are no markup.
    screen = Console(highlight=False, markup=False, emoji=False)
    screen.width = sum(widths) + GAP * len(widths)
    with screen.capture() as printed:
        screen.print(_table(columns, cells, widths, headings=headings))
    lines = (line.rstrip() for line in printed.get().splitlines())
    return "\n".join([printable(title), *filter(None, lines)])


def _widths(
    columns: Sequence[Column],
    cells: Sequence[Sequence[str]],
    limit: int | None,
    *,
    headings: bool,
) -> list[int]:
    """Return the width of every column: what it needs, and less for texts that fold."""
    from rich.cells import cell_len

    first = [[column.heading for column in columns]] if headings else []
    widths = [max(map(cell_len, of_one)) for of_one in zip(*first, *cells, strict=True)]
    if limit is None:
        return widths
    folding = sorted((at for at, one in enumerate(columns) if one.folds), key=widths.__getitem__)
    left = limit - GAP * (len(widths) - 1) - sum(widths) + sum(widths[at] for at in folding)
    # The shortest first: what it does not need is for those that come after.
    for others, at in zip(range(len(folding), 0, -1), folding, strict=True):
        widths[at] = min(widths[at], max(left // others, NARROWEST))
        left -= widths[at]
    return widths


def _table(
    columns: Sequence[Column],
    cells: Sequence[Sequence[str]],
    widths: Sequence[int],
    *,
    headings: bool,
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        show_header=headings,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )
    for column, width in zip(columns, widths, strict=True):
        side: Literal["left", "right"] = "right" if column.is_number else "left"
        table.add_column(
            Text(column.heading), justify=side, width=width, overflow="fold", no_wrap=False
        )
    for row in cells:
        table.add_row(*map(Text, row))
    return table
