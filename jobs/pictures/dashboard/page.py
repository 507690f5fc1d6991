"""What all pages share: how they read, and what they say when they cannot."""

import re
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import altair as alt
import pandas as pd
import streamlit as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobs.pictures import tables
from jobs.pictures.dashboard import downloads
from jobs.pictures.drawing import LOOK
from jobs.pictures.tables import Columns
from jobs.words import DISCLAIMER
from stockbatch import config, database
from stockbatch.config import Settings
from stockbatch.exceptions import DatabaseUnavailable, StockbatchError
from stockbatch.store.bi.query import Answer
from stockbatch.text import printable

FRESH_SECONDS = 60
FONT = '"Source Sans", sans-serif'
"""What Streamlit writes in."""
STYLE = ".sheet { max-height: 34rem } .sheet thead th { position: sticky; top: 0; z-index: 1; "
STYLE += "background: Canvas; opacity: 1 } "
STYLE += "[data-testid=stMainBlockContainer] { padding: 4rem clamp(1rem, 3vw, 3rem) 2rem }"
P = ParamSpec("P")
T = TypeVar("T")
_MARKS = re.compile(r"[!-/:-@\[-`{-~]")
"""All signs of ASCII: a backslash before any of them makes it mean itself."""
_ADDRESSES = re.compile(r"(?i)(https?(?=:)|www(?=\.)|@(?=\w))")
"""Where what looks like an address begins: it would be a link whatever is before its signs."""


def shown(show: Callable[[], None]) -> Callable[[], None]:
    """Return a page that ends in the disclaimer, and says in a sentence what it cannot show."""

    @wraps(show)
    def page() -> None:
        st.html(f"<style>{tables.STYLE}{STYLE}</style>")
        try:
            show()
        except StockbatchError as error:
            mended = ""
            if isinstance(error, DatabaseUnavailable):
                _engine.clear()  # the next visit starts the embedded server if it was stopped
                mended = f": {_command()}"
            st.warning(f"{escaped(error)}{mended}. Then reload this page.")
        st.divider()
        st.caption(DISCLAIMER)

    return page


def read(
    question: Callable[Concatenate[Session, P], Answer], *args: P.args, **kwargs: P.kwargs
) -> pd.DataFrame:
    """Return the answer to a question of `store.bi`, at most a minute old.

    Raises what the question and `database.engine` raise.
    """
    frame: pd.DataFrame = _found(question, args, kwargs)
    return frame


def tell(question: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a question of `store.bi` finds that is no table. Raises as `read` does."""
    found: T = _found(question, args, kwargs)
    return found


def _found(question: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return _cached(f"{question.__module__}.{question.__qualname__}", args, kwargs, question)


def escaped(text: object) -> str:
    """Return text as Streamlit shows it where it would read Markdown: no link, image or colour."""
    words = " ".join(printable(str(text)).split())
    # A word joiner is not seen.
    return _MARKS.sub(r"\\\g<0>", _ADDRESSES.sub("\\1\u2060", words))


def plot(chart: alt.LayerChart | alt.Chart, height: int = 360, rows: int = 0) -> None:
    """Show a chart as wide as the page, high enough for `rows` of names if there are any."""
    height = 150 + 20 * rows if rows else height
    padding = {"top": 16, "left": 5, "right": 5, "bottom": 5}
    placed = chart.properties(height=height, padding=padding).configure(font=FONT, **LOOK)
    st.altair_chart(placed, width="stretch", theme=None)


MOST_ROWS = 100
"""Of a table on a page: a browser takes longer to draw thousands than anybody to search for one."""


def listing(
    data: pd.DataFrame,
    columns: Columns,
    *,
    file: str,
    link: tables.Link | None = None,
) -> None:
    """Show a table, what all its rows have in common once, and offer it as files named `file`.

    What is longer than the screen is scrolled in a box of its own, as far as MOST_ROWS; the files
    have all.
    """
    kept, said = tables.varying(data, columns)
    st.html(tables.html(data.head(MOST_ROWS), kept, link))
    if len(data) > MOST_ROWS:
        st.caption(f"the first {MOST_ROWS} of {len(data):,}; all are in the files")
    with st.container(horizontal=True, vertical_alignment="center"):
        # Of all columns, and not only of those shown; nothing is written before somebody asks.
        downloaded = [name for name, column in columns.items() if not column.bar]
        for words, suffix, write in (
            ("CSV", "csv", downloads.csv),
            ("Excel", "xlsx", downloads.excel),
        ):
            st.download_button(
                words,
                partial(write, data[downloaded]),
                f"{file}.{suffix}",
                on_click="ignore",
                icon=":material/download:",
                key=f"{file}.{suffix}",
            )
        if said:
            st.caption(escaped("all: " + " · ".join(said)))


def figures(values: Mapping[str, object]) -> None:
    """Show numbers with their names side by side, as many in a line as there is room for."""
    with st.container(horizontal=True, gap="medium"):
        for name, value in values.items():
            st.metric(name, str(value), width="content")


def nothing(what: str, do: str) -> None:
    """Say that there is nothing to show, and what makes it appear."""
    st.info(f"{what} {do}")


def _command() -> str:
    """Return the command that mends a database which does not answer."""
    if (_chosen or config.load()).database_url is None:
        return "`stockbatch db start` starts it"
    return "start that server; `stockbatch doctor` says what is missing"


_chosen: Settings | None = None


def use(settings: Settings) -> None:
    """Read the database of these settings; without them, that of the environment and the file."""
    global _chosen
    _chosen = settings


@st.cache_resource(show_spinner=False, on_release=Engine.dispose)
def _engine() -> Engine:
    return database.engine(_chosen or config.load(), role="reader", create=False)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=500, show_spinner=False)
def _cached(
    name: str,  # noqa: ARG001 - tells questions apart
    args: Any,
    kwargs: Any,
    _question: Callable[..., Any],  # not looked at by Streamlit, which cannot hash it
) -> Any:
    """Answer again what was asked by this name with these arguments, tables as frames."""
    with Session(_engine()) as db:
        found = _question(db, *args, **kwargs)
        return found.frame() if isinstance(found, Answer) else found
