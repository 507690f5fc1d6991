"""The dashboard's plots in one file that needs nothing else: HTML, PDF or PNG."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobs import files
from jobs.pictures import charts
from jobs.pictures.frames import awaited, best_first, own_or_demo
from jobs.words import DEMONSTRATION, DISCLAIMER, KINDS, price
from stockbatch.exceptions import NothingToReport, UnwritableFile
from stockbatch.store import bi

FORMATS = (".html", ".pdf", ".png")
WIDTH = 860
PLOTTED = 30
"""Tickers in the report on all."""
SENTENCE = 240
"""Width of a column of sentences."""
HEADINGS = alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False, grid=False)
PRICES, FORECASTS = 252, 60
"""Sessions of the plots of one ticker."""
HEAD = (
    '<title>stockbatch</title><meta name="viewport" content="width=device-width">'
    "<style>body { font-family: sans-serif } svg { max-width: 100%; height: auto }</style>"
)
Chart = alt.LayerChart | alt.Chart | alt.HConcatChart


def report(engine: Engine, ticker: str | None, file: Path) -> None:
    """Write what the views hold on one ticker, or on all, to `file`, whose suffix is a format.

    Raises NothingToReport where there is no forecast, and UnwritableFile where it cannot write.
    """
    with Session(engine) as db:
        page = _of_all(db) if ticker is None else _of_ticker(db, ticker)

    _save(page, file)


def _of_ticker(db: Session, ticker: str) -> alt.VConcatChart:
    """Return the report on one ticker."""
    forecasts = best_first(bi.forecasts.of_ticker(db, ticker).frame())
    if forecasts.empty:
        raise NothingToReport(of=f" of {ticker}")
    prices = bi.prices.of_ticker(db, ticker).frame()
    events = bi.events.current(db, ticker).frame()
    errors = bi.forecasts.errors(db, ticker, FORECASTS).frame()
    losses = bi.models.losses(db, ticker).frame()
    models = [rows for _, rows in losses.groupby("model_kind", sort=False)]
    best = forecasts.iloc[0]
    parts: list[Chart] = [
        _table(forecasts, "method"),
        charts.price(prices.tail(PRICES + 1), events).properties(width=WIDTH, height=260),
        charts.predicted_and_actual(
            prices[prices["forecast_close"].notna()].tail(FORECASTS + 1), events
        ).properties(width=WIDTH, height=260),
    ]
    if not errors.empty:
        parts.append(charts.error(errors).properties(width=WIDTH, height=180))
    if models:
        half = WIDTH // 2 - 40
        parts.append(
            alt.hconcat(*(charts.losses(m).properties(width=half, height=160) for m in models))
        )
    lines = [*_age(forecasts), f"prices in {best['currency'] or 'an unknown currency'}"]
    lines += awaited(best, events)
    return _page(f"{ticker}: forecast of {best['session']:%Y-%m-%d}", lines, parts)


def _of_all(db: Session) -> alt.VConcatChart:
    """Return the report on all tickers, those with the widest intervals first."""
    forecasts = bi.forecasts.latest_with_skill(db).frame()
    if forecasts.empty:
        raise NothingToReport(of=" yet")
    forecasts = own_or_demo(forecasts)
    # Where least is known there is most to look at.
    width = forecasts["return_high_80_pct"] - forecasts["return_low_80_pct"]
    widest = forecasts.loc[width.sort_values(ascending=False).index].head(PLOTTED)
    parts: list[Chart] = [
        _table_of_all(widest),
        charts.intervals(widest).properties(width=WIDTH),
    ]
    half = WIDTH // 2 - 60
    board = bi.accuracy.leaderboard(db).frame()
    for (calendar, kind), rows in board[board["window_sessions"] == 250].groupby(
        ["calendar", "kind"]
    ):
        both = [charts.skill(rows), charts.coverage(rows)]
        parts.append(
            alt.hconcat(*(chart.properties(width=half) for chart in both)).properties(
                title=f"All tickers of {calendar}, last 250 sessions, {KINDS[str(kind)]}"
            )
        )
    lines = _age(forecasts)
    if len(forecasts) > PLOTTED:
        lines.append(f"the {PLOTTED} of {len(forecasts)} tickers with the widest intervals")
    newest = forecasts["session"].max()
    return _page(f"Forecasts of {newest:%Y-%m-%d}", lines, parts)


def _age(forecasts: pd.DataFrame) -> list[str]:
    """Return what kind of forecasts they are, and whether they are old."""
    lines = [KINDS[str(kind)] for kind in forecasts["kind"].unique()]
    if forecasts["is_demo"].all():
        lines.append(DEMONSTRATION)
    elif not forecasts["is_current"].astype(bool).any():
        lines.append("this session is over: the forecasts are old")
    return lines


def _table_of_all(data: pd.DataFrame) -> Chart:
    """Return forecasts as a table, with a column of what is known to move them if anything is."""
    if data["event"].isna().all():
        return _table(data, "ticker")
    event = data["event"].fillna("")
    # The columns of a chart are of one width, and sentences need more.
    sentences = (
        alt.Chart(pd.DataFrame({"row": range(len(data)), "text": event, "column": "event"}))
        .mark_text(fontSize=11)
        .encode(
            x=alt.X("column:N", title=None, axis=HEADINGS),
            y=alt.Y("row:O", title=None, axis=None),
            text="text:N",
        )
        .properties(width=SENTENCE, height=alt.Step(18))
    )
    return alt.hconcat(_table(data, "ticker", WIDTH - SENTENCE), sentences, spacing=0)


def _table(data: pd.DataFrame, names: str, width: int = WIDTH) -> alt.Chart:
    """Return forecasts as a table of texts."""

    def written(column: str, write: Callable[[Any], str]) -> list[str]:
        return ["" if pd.isna(value) else write(value) for value in data[column]]

    texts = pd.DataFrame(
        {
            names: list(data[names]),
            "naive": written("origin_close", price),
            "forecast": written("forecast_close", price),
            "change": written("forecast_return_pct", "{:+.2f} %".format),
            "80 % from": written("close_low_80", price),
            "80 % to": written("close_high_80", price),
            "95 % from": written("close_low_95", price),
            "95 % to": written("close_high_95", price),
            "P(rise)": written("probability_of_rise_pct", "{:.0f} %".format),
        }
    )
    # A chart, because PDF and PNG know no HTML table.
    long = texts.assign(row=range(len(texts))).melt("row", var_name="column", value_name="text")
    table: alt.Chart = (
        alt.Chart(long)
        .mark_text(fontSize=11)
        .encode(
            x=alt.X("column:N", title=None, sort=[str(column) for column in texts], axis=HEADINGS),
            y=alt.Y("row:O", title=None, axis=None),
            text="text:N",
        )
        .properties(
            width=width,
            height=alt.Step(18),
            title=alt.TitleParams(
                f"Next session, by {names}", subtitle="naive: the last close", anchor="start"
            ),
        )
    )
    return table


def _page(title: str, lines: list[str], parts: list[Chart]) -> alt.VConcatChart:
    sentences = [part for line in (*lines, DISCLAIMER) for part in re.split(r"(?<=\.) ", line)]
    heading = alt.TitleParams(title, subtitle=sentences, anchor="start", fontSize=20, offset=20)
    page: alt.VConcatChart = (
        alt.vconcat(*parts, spacing=36, title=heading, padding=24)
        .resolve_scale(color="independent", shape="independent", x="independent")
        .configure_view(stroke=None)
    )
    return page


def _save(page: alt.VConcatChart, file: Path) -> None:
    try:
        with (
            alt.data_transformers.enable("default", max_rows=None),
            files.appearing(file, replacing=True) as partial,
        ):
            if file.suffix == ".html":
                partial.write_text(_html(page), encoding="utf-8")
            else:
                page.save(partial, scale_factor=2 if file.suffix == ".png" else 1)
    except OSError as error:
        raise UnwritableFile(path=file, reason=error.strerror or error) from None


class _InScript(json.JSONEncoder):
    """Writes JSON that cannot end the script it stands in, whatever a ticker is called."""

    def encode(self, o: Any) -> str:
        return super().encode(o).replace("<", r"\u003c")


def _html(page: alt.VConcatChart) -> str:
    """Return the page with all scripts inside; it asks the network for nothing."""
    options = {
        "renderer": "svg",
        "actions": {"export": True, "source": False, "compiled": False, "editor": False},
    }
    text = page.to_html(inline=True, embed_options=options, json_kwds={"cls": _InScript})
    return text.replace("<head>", f"<head>{HEAD}", 1)
