"""What all pages share: how they read, and what they say when they cannot."""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import altair as alt
import pandas as pd
import streamlit as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobs.words import DISCLAIMER
from stockbatch import config, database
from stockbatch.config import Settings
from stockbatch.exceptions import DatabaseUnavailable, StockbatchError
from stockbatch.store.bi.query import Answer
from stockbatch.text import printable

FRESH_SECONDS = 60
FONT = '"Source Sans", sans-serif'
"""What Streamlit writes in."""
Columns = dict[str, Any]
"""Columns of a table in their order, each with its heading or its layout."""
P = ParamSpec("P")
_MARKS = re.compile(r"[!-/:-@\[-`{-~]")
"""All signs of ASCII: a backslash before any of them makes it mean itself."""


def shown(show: Callable[[], None]) -> Callable[[], None]:
    """Return a page that ends in the disclaimer, and says in a sentence what it cannot show."""

    @wraps(show)
    def page() -> None:
        try:
            show()
        except StockbatchError as error:
            if isinstance(error, DatabaseUnavailable):
                _engine.clear()  # the next visit starts the embedded server if it was stopped
            st.warning(f"{escaped(error)}. Then reload this page.")
        st.divider()
        st.caption(DISCLAIMER)

    return page


def read(
    question: Callable[Concatenate[Session, P], Answer], *args: P.args, **kwargs: P.kwargs
) -> pd.DataFrame:
    """Return the answer to a question of `store.bi`, at most a minute old.

    Raises what the question and `database.engine` raise.
    """
    name = f"{question.__module__}.{question.__qualname__}"
    frame: pd.DataFrame = _read(name, args, kwargs, question)
    return frame


def escaped(text: object) -> str:
    """Return text as Streamlit shows it where it would read Markdown: no link, image or colour."""
    return _MARKS.sub(r"\\\g<0>", " ".join(printable(str(text)).split()))


def plot(chart: alt.LayerChart | alt.Chart, height: int = 360, rows: int = 0) -> None:
    """Show a chart as wide as the page, high enough for `rows` of names if there are any."""
    height = 150 + 20 * rows if rows else height
    padding = {"top": 16, "left": 5, "right": 5, "bottom": 5}
    placed = chart.properties(height=height, padding=padding).configure(font=FONT)
    st.altair_chart(placed, width="stretch", theme=None)


PRICE = "%.7g"
"""Prices in a column: digits and not decimals, so that none of a coin's are lost."""


def table(data: pd.DataFrame, columns: Columns, rows: int = 20) -> None:
    """Show those columns, at most so many rows at once; what is unknown stays empty."""
    st.dataframe(
        data,
        hide_index=True,
        column_order=list(columns),
        column_config=columns,
        height=38 + 35 * min(rows, len(data)),
        placeholder="",
    )


def figures(values: Mapping[str, object]) -> None:
    """Show numbers with their names side by side, as many in a line as there is room for."""
    with st.container(horizontal=True, gap="medium"):
        for name, value in values.items():
            st.metric(name, str(value), width="content")


def nothing(what: str, do: str) -> None:
    """Say that there is nothing to show, and what makes it appear."""
    st.info(f"{what} {do}")


_chosen: Settings | None = None


def use(settings: Settings) -> None:
    """Read the database of these settings; without them, that of the environment and the file."""
    global _chosen
    _chosen = settings


@st.cache_resource(show_spinner=False, on_release=Engine.dispose)
def _engine() -> Engine:
    return database.engine(_chosen or config.load(), role="reader", create=False)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=500, show_spinner=False)
def _read(
    name: str,  # noqa: ARG001 - tells questions apart
    args: Any,
    kwargs: Any,
    _question: Callable[..., Answer],  # not looked at by Streamlit, which cannot hash it
) -> pd.DataFrame:
    """Answer again what was asked by this name with these arguments."""
    with Session(_engine()) as db:
        return _question(db, *args, **kwargs).frame()
