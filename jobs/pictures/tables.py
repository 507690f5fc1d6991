"""Frames as tables that people read: which columns, how a value is written, HTML with no script.

A table is text: it can be searched, selected, printed and read aloud, and its rows are links.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any

import pandas as pd

from stockbatch.methods import registry
from stockbatch.text import printable

Row = Mapping[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: what stands above it, and how its values are written."""

    heading: str
    write: Callable[[Any], str] = str
    numeric: bool = True
    """Numbers line up on the right."""
    about: str = ""
    """What the heading says to whoever points at it."""
    below: str = ""
    """Another column, whose text stands small under this one's."""
    phone: str = ""
    """Another column, a wide one, whose text stands there too on a phone."""
    wide: bool = False
    """Left out on a phone, and on paper where there is no room."""
    prose: bool = False
    """Sentences, small, which need room."""
    bar: bool = False
    """Its values are ends of two intervals, (outer low, inner low, inner high, outer high)."""
    once: bool = False
    """Where it is the same in all rows it is said once, above the table."""


Columns = Mapping[str, Column]


def text(heading: str, **more: Any) -> Column:
    """Return a column of words."""
    return Column(heading=heading, numeric=False, **more)


def method(**more: Any) -> Column:
    """Return the column of methods, by what people call them."""
    return text("method", write=titled, **more)


def titled(name: str) -> str:
    """Return what people call a method; one that is not installed any more has its name only."""
    return _titles().get(name, name)


@cache
def _titles() -> dict[str, str]:
    return {name: title for name, title, _ in registry.described()}


def word(heading: str, **more: Any) -> Column:
    """Return a column of words of the database, as people write them: no_bar as no bar."""
    return text(heading, write=spaced, **more)


def spaced(code: str) -> str:
    """Return a word of the database as people write it."""
    return code.replace("_", " ")


def number(heading: str, layout: str, **more: Any) -> Column:
    """Return a column of numbers, written as a format says: "{:+.1f} %"."""
    return Column(heading=heading, write=lambda value: minus(layout.format(value)), **more)


def day(heading: str, **more: Any) -> Column:
    """Return a column of sessions."""
    return text(heading, write="{:%Y-%m-%d}".format, **more)


def instant(heading: str, **more: Any) -> Column:
    """Return a column of instants, to the minute, as they are: in UTC."""
    return text(heading, write="{:%Y-%m-%d %H:%M}".format, **more)


def minus(number_in_text: str) -> str:
    """Return a number with a minus as wide as its plus."""
    return number_in_text.replace("-", "\N{MINUS SIGN}")


def written(column: Column, value: Any) -> str:
    """Return a value as its column writes it; what is unknown is empty."""
    return "" if pd.isna(value) else printable(column.write(value))


def reach(ends: pd.Series) -> float:
    """Return how far from 0 the widest of the intervals goes, at least a little."""
    return max((abs(end) for row in ends for end in row if not pd.isna(end)), default=0) or 1


def varying(data: pd.DataFrame, columns: Columns) -> tuple[dict[str, Column], list[str]]:
    """Return the columns that tell rows apart, and what the others say of all rows.

    Only those made for it (`once`) and those that are empty are left out.
    """
    kept, said = {}, []
    for name, column in columns.items():
        if len(data) and (data[name].isna() | (data[name] == "")).all():
            continue
        if not column.once or len(data[name].drop_duplicates()) > 1:
            kept[name] = column
        elif len(data) and (value := written(column, data[name].iloc[0])):
            said.append(f"{column.heading} {value}")
    return kept, said


Link = Callable[[Row], str | None]
"""Says where a row leads; None: nowhere."""


def html(data: pd.DataFrame, columns: Columns, link: Link | None = None) -> str:
    """Return a table whose rows lead, as a whole, to where `link` says."""
    headings = "".join(
        f'<th scope="col" class="{_classes(column)}" title="{escape(column.about)}">'
        f"{escape(column.heading)}</th>"
        for column in columns.values()
    )
    scales = {name: reach(data[name]) for name, column in columns.items() if column.bar}
    rows = []
    for row in data.to_dict("records"):
        contents = [
            _bar(row[name], scales[name]) if column.bar else _words(row, name, column)
            for name, column in columns.items()
        ]
        target = link(row) if link is not None else None
        if target is not None:
            # Each cell leads there, so that the whole row does; the keyboard stops at the first.
            opened = [f'<a href="{escape(target)}"{stop}>' for stop in ("", ' tabindex="-1"')]
            contents = [
                f"{opened[place > 0]}{content}</a>" for place, content in enumerate(contents)
            ]
        rows.append(f"<tr>{_cells(contents, columns)}</tr>")
    return (
        f'<div class="sheet"><table><thead><tr>{headings}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cells(contents: list[str], columns: Columns) -> str:
    tags = ['th scope="row"', *["td"] * (len(columns) - 1)]
    return "".join(
        f'<{tag} class="{_classes(column)}">{content}</{tag[:2]}>'
        for tag, content, column in zip(tags, contents, columns.values(), strict=True)
    )


def _words(row: Row, name: str, column: Column) -> str:
    content = f"<span>{escape(written(column, row[name]))}</span>"
    for other, kind in ((column.below, ""), (column.phone, ' class="phone"')):
        small = escape(written(text(""), row[other])) if other else ""
        content += f"<small{kind}>{small}</small>" if small else ""
    return content


def _bar(ends: tuple[float, float, float, float], scale: float) -> str:
    """Return two intervals around 0 as bars; what is unknown has none."""
    if any(pd.isna(end) for end in ends):
        return ""
    from_left = [50 + 50 * end / scale for end in ends]
    (outer, inner) = (from_left[0], from_left[3]), (from_left[1], from_left[2])
    said = minus(
        f"80 %: {ends[1]:+.1f} to {ends[2]:+.1f} %; 95 %: {ends[0]:+.1f} to {ends[3]:+.1f} %"
    )
    drawn = "".join(
        f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>' for low, high in (outer, inner)
    )
    return f'<span class="bar" title="{said}">{drawn}</span>'


def _classes(column: Column) -> str:
    found = {"number": column.numeric, "wide": column.wide, "prose": column.prose}
    return " ".join(name for name, has in found.items() if has)


STYLE = """
.sheet { overflow: auto; font-variant-numeric: tabular-nums; font-size: 0.875rem;
  border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
.sheet table { border-collapse: collapse; width: 100%; margin: 0 }
.sheet th, .sheet td { border: 0; border-top: 1px solid
  color-mix(in srgb, currentColor 12%, transparent);
  padding: 0.35rem 0.5rem; text-align: left; vertical-align: top; font-weight: 400 }
.sheet thead th { border: 0; font-size: 0.8rem; line-height: 1.2; vertical-align: bottom;
  opacity: 0.8 }
.sheet th.number, .sheet td.number { text-align: right; white-space: nowrap }
.sheet thead th.number { white-space: normal; min-width: 3.7rem }
.sheet tbody th { font-weight: 600; white-space: nowrap }
.sheet td.prose { min-width: 12rem; font-size: 0.8rem; line-height: 1.35 }
.sheet small { display: block; font-weight: 400; opacity: 0.75; max-width: 14rem; overflow: hidden;
  text-overflow: ellipsis }
.sheet a, .sheet a:visited, .sheet a:hover { color: inherit; text-decoration: none;
  display: block; margin: -0.35rem -0.5rem; padding: 0.35rem 0.5rem }
.sheet tbody th a > span { text-decoration: underline }
.sheet tbody tr:hover { background: color-mix(in srgb, currentColor 7%, transparent) }
.sheet tbody tr:focus-within { outline: 2px solid #0072B2; outline-offset: -2px }
.sheet .bar { display: block; position: relative; min-width: 7rem; height: 1.2rem;
  background: linear-gradient(currentColor, currentColor) 50% 50% / 1px 100% no-repeat }
.sheet .bar i { position: absolute; top: 50%; height: 2px; margin-top: -1px; background: #56B4E9 }
.sheet .bar i + i { height: 8px; margin-top: -4px }
.sheet .phone { display: none }
@media (max-width: 640px) {
  .sheet .wide { display: none }
  .sheet { font-size: 0.75rem }
  .sheet th, .sheet td { padding: 0.35rem 0.25rem }
  .sheet a, .sheet a:visited { margin: -0.35rem -0.25rem; padding: 0.35rem 0.25rem }
  .sheet thead th { font-size: 0.7rem }
  .sheet thead th.number { min-width: 0 }
  .sheet small { max-width: 3.5rem }
  .sheet small.phone { display: block; max-width: 5rem; white-space: normal; opacity: 1 }
}
"""
