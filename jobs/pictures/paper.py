"""Reports as pages of paper: every row of a table, its heading on each page, text as text.

A page is an SVG in points; a PDF has one after the other, a PNG one below the other.
"""

import io
import re
import textwrap
from dataclasses import dataclass, field
from html import escape

import pandas as pd
import vl_convert
from pypdf import PdfWriter

from jobs.pictures.document import Document, Table, svg
from jobs.pictures.drawing import SKY
from jobs.pictures.tables import Column, reach, varying, written
from stockbatch.text import printable

SIZES = {"a4": (595, 842), "letter": (612, 792)}
"""Width and height in points."""
MARGIN = 36
LETTER = 0.56
"""Width of a digit by the size of its font: most letters are narrower."""
GAP, BAR = 8, 70
"""Points between columns, and of a column of bars."""
SMALLEST, ROW = 6.5, 8.5
"""Sizes of the font of a table: what it shrinks to at most, and begins with."""
PIXELS = 3
"""Of a picture per point."""
_SIZE = re.compile(r'<svg\b[^>]*?\bwidth="([\d.]+)"[^>]*?\bheight="([\d.]+)"')


@dataclass
class Pages:
    """Pages that are filled from above."""

    width: int
    height: int
    drawn: list[list[str]] = field(default_factory=lambda: [[]])
    y: float = MARGIN

    @property
    def room(self) -> float:
        """Points between the margins."""
        return self.width - 2 * MARGIN

    def fits(self, height: float) -> bool:
        """Return whether so much is left on this page."""
        return self.y + height <= self.height - MARGIN

    def turn(self) -> None:
        """Begin the next page."""
        self.drawn.append([])
        self.y = MARGIN

    def write(self, x: float, words: str, size: float, anchor: str = "start", **more: str) -> None:
        """Write a line below what is there, without going on to the next."""
        style = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        self.drawn[-1].append(
            f'<text x="{x:.1f}" y="{self.y + size:.1f}" font-size="{size}" text-anchor="{anchor}"'
            f"{style}>{escape(printable(words))}</text>"
        )

    def lines(self, words: str, size: float, **more: str) -> None:
        """Write a sentence in as many lines as it needs."""
        for line in textwrap.wrap(words, int(self.room / (size * 0.5))) or [""]:
            if not self.fits(size * 1.4):
                self.turn()
            self.write(MARGIN, line, size, **more)
            self.y += size * 1.4

    def svgs(self) -> list[str]:
        """Return each page as a document."""
        start = f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" '
        start += f'height="{self.height}" font-family="Liberation Sans, Arial, sans-serif">'
        start += '<rect width="100%" height="100%" fill="white"/>'
        return [f"{start}{''.join(page)}</svg>" for page in self.drawn]


def pdf(document: Document, size: str) -> bytes:
    """Return the pages as one PDF."""
    merged, file = PdfWriter(), io.BytesIO()
    for page in pages(document, size):
        merged.append(io.BytesIO(vl_convert.svg_to_pdf(page)))
    merged.add_metadata({"/Title": printable(document.title), "/Producer": "stockbatch"})
    merged.write(file)
    return file.getvalue()


def png(document: Document, size: str) -> bytes:
    """Return the pages as one picture, one below the other."""
    width, height = SIZES[size]
    drawn = pages(document, size)
    placed = "".join(
        page.replace("<svg ", f'<svg y="{place * height}" ', 1) for place, page in enumerate(drawn)
    )
    start = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
    whole = f'{start}height="{len(drawn) * height}">{placed}</svg>'
    return vl_convert.svg_to_png(whole, scale=PIXELS)


def pages(document: Document, size: str) -> list[str]:
    """Return the pages as SVG documents."""
    made = Pages(*SIZES[size])
    made.lines(document.title, 16, font_weight="bold")
    made.y += 4
    _figures(made, document)
    for line in document.lines:
        made.lines(line, 8.5)
    for part in document.parts:
        if isinstance(part, Table):
            _table(made, part)
        else:
            _plot(made, svg(part, int(1.3 * made.room) - 60, 220))
    for number, page in enumerate(made.drawn, start=1):
        page.append(
            f'<text x="{made.width / 2}" y="{made.height - MARGIN / 2}" font-size="7.5"'
            f' text-anchor="middle">{escape(printable(document.title))} · '
            f"{number} of {len(made.drawn)}</text>"
        )
    return made.svgs()


def _figures(made: Pages, document: Document) -> None:
    """Write the figures side by side, four in a line."""
    names = list(document.figures)
    for first in range(0, len(names), 4):
        row = names[first : first + 4]
        for size, words, step in ((7.5, row, 10), (12, map(document.figures.get, row), 20)):
            for place, word in enumerate(words):
                made.write(MARGIN + place * made.room / 4, word or "", size)
            made.y += step


def _plot(made: Pages, drawn: str) -> None:
    """Place a plot as wide as the page."""
    found = _SIZE.search(drawn)
    width, height = (float(found[1]), float(found[2])) if found else (1.0, 1.0)
    scale = min(1, made.room / width)
    if not made.fits(height * scale + 12):
        made.turn()
    made.y += 12
    made.drawn[-1].append(
        f'<g transform="translate({MARGIN} {made.y:.1f}) scale({scale:.4f})">{drawn}</g>'
    )
    made.y += height * scale


def _table(made: Pages, table: Table) -> None:
    """Write all rows of a table, with the headings again on each page."""
    columns, said = varying(table.data, table.columns)
    columns, widths, size = _fitted(table.data, columns, made.room)
    step = size * 1.5
    made.y += 12
    if not made.fits(60):
        made.turn()
    made.lines(table.heading, 11, font_weight="bold")
    if said:
        made.lines(f"all: {' · '.join(said)}", 8)
    _headings(made, columns, widths, size)
    scales = {name: reach(table.data[name]) for name, column in columns.items() if column.bar}
    for row in table.data.to_dict("records"):
        if not made.fits(step):
            made.turn()
            _headings(made, columns, widths, size)
        x = float(MARGIN)
        for (name, column), width in zip(columns.items(), widths, strict=True):
            if column.bar:
                _bar(made, x, width - GAP, row[name], scales[name], size)
            else:
                _cell(made, x, width, written(column, row[name]), column, size)
            x += width
        made.y += step


def _headings(made: Pages, columns: dict[str, Column], widths: list[float], size: float) -> None:
    x = float(MARGIN)
    for column, width in zip(columns.values(), widths, strict=True):
        _cell(made, x, width, column.heading, column, size * 0.9, font_weight="bold")
        x += width
    made.y += size * 1.7


def _cell(
    made: Pages, x: float, width: float, words: str, column: Column, size: float, **more: str
) -> None:
    if column.numeric and not column.bar:
        made.write(x + width - GAP, words, size, "end", **more)
    else:
        made.write(x, words, size, **more)


def _fitted(
    data: pd.DataFrame, columns: dict[str, Column], room: float
) -> tuple[dict[str, Column], list[float], float]:
    """Return the columns that there is room for, their widths, and the size of the font.

    Nothing is cut: what does not fit even in small letters goes, from the last column on that a
    phone does without, too.
    """
    kept = dict(columns)
    letters = {name: _letters(data[name], column) for name, column in kept.items()}

    def widths(size: float) -> list[float]:
        return [
            BAR + GAP if column.bar else letters[name] * LETTER * size + GAP
            for name, column in kept.items()
        ]

    while sum(widths(SMALLEST)) > room and (wide := [n for n, c in kept.items() if c.wide]):
        del kept[wide[-1]]
    size = ROW
    while sum(widths(size)) > room and size > 4:
        size -= 0.25
    return kept, widths(size), size


def _letters(values: pd.Series, column: Column) -> int:
    """Return how many letters the longest cell of a column has."""
    cells = [] if column.bar else [written(column, value) for value in values]
    return max(map(len, [column.heading, *cells]))


def _bar(
    made: Pages, x: float, width: float, ends: tuple[float, ...], scale: float, size: float
) -> None:
    """Draw two intervals around 0, the inner one thicker."""
    middle, half = x + width / 2, width / 2 / scale
    centre = made.y + size * 0.65
    made.drawn[-1].append(
        f'<rect x="{middle:.1f}" y="{made.y}" width="0.5" height="{size * 1.3:.1f}"/>'
    )
    for low, high, thick in ((ends[0], ends[3], 1), (ends[1], ends[2], size * 0.55)):
        if not pd.isna(low) and not pd.isna(high):
            made.drawn[-1].append(
                f'<rect x="{middle + low * half:.1f}" y="{centre - thick / 2:.1f}" fill="{SKY}"'
                f' width="{(high - low) * half:.1f}" height="{thick:.1f}"/>'
            )
