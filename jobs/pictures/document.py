"""What a report says, before it is written for the screen or for paper."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import altair as alt
import pandas as pd
import vl_convert

from jobs.pictures.drawing import LOOK
from jobs.pictures.tables import Columns

_NAMES = re.compile(r'(?<=\bid=")|(?<=url\(#)|(?<=href="#)')
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a report, and what stands above it."""

    heading: str
    data: pd.DataFrame
    columns: Columns


Part = Table | alt.LayerChart


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report: figures by their names, sentences, then tables and plots."""

    title: str
    figures: Mapping[str, str]
    lines: list[str]
    parts: list[Part]


def svg(chart: alt.LayerChart, width: int, height: int) -> str:
    """Return a chart as an SVG of its own text, that can stand beside others in one document."""
    drawn = chart.properties(width=width, height=height).configure(**LOOK)
    with alt.data_transformers.enable("default", max_rows=None):
        made = vl_convert.vegalite_to_svg(drawn.to_dict())
    # Names inside of an SVG are those of the whole page that it stands in.
    return _NAMES.sub(f"chart{next(_numbers)}-", made)
