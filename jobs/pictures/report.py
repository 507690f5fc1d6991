"""The dashboard's tables and plots in one file that needs nothing else: HTML, PDF or PNG."""

from pathlib import Path

import pandas as pd
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobs import files
from jobs.pictures import charts, headline, paper, risk, web
from jobs.pictures.document import Document, Part, Table
from jobs.pictures.frames import awaited, best_first, own_or_demo
from jobs.pictures.tables import Column, method, titled
from jobs.words import DEMONSTRATION, DISCLAIMER, KINDS, price
from stockbatch.exceptions import NothingToReport, UnwritableFile
from stockbatch.records import ForecastOrder, SubjectKind
from stockbatch.store import bi

FORMATS = (".html", ".pdf", ".png")
PRICES, FORECASTS = 126, 60
"""Sessions of the plots of one ticker."""
WINDOW = 250
METHODS = {
    "method": method(),
    **{
        name: headline.FORECASTS[name]
        for name in (
            *("expected_move_pct", "downside_pct", "upside_pct", "interval"),
            *("probability_of_rise_pct", "kind"),
        )
    },
    "forecast_close": Column(heading="forecast", write=price),
    "close_low_80": Column(heading="80 % from", write=price),
    "close_high_80": Column(heading="to", write=price),
    "close_low_95": Column(heading="95 % from", write=price, wide=True),
    "close_high_95": Column(heading="to", write=price, wide=True),
}


def report(engine: Engine, ticker: str | None, file: Path, size: str) -> None:
    """Write what the views hold on one ticker, or on all, to `file`, whose suffix is a format.

    `size` is that of the pages of a PDF. Raises NothingToReport where there is no forecast, and
    UnwritableFile where it cannot write.
    """
    with Session(engine) as db:
        document = _of_all(db) if ticker is None else _of_ticker(db, ticker)

    content = {".html": web.html, ".pdf": paper.pdf, ".png": paper.png}[file.suffix](document, size)
    try:
        with files.appearing(file, replacing=True) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise UnwritableFile(path=file, reason=error.strerror or error) from None


def _of_ticker(db: Session, ticker: str) -> Document:
    """Return the report on one ticker."""
    methods = best_first(bi.forecasts.of_ticker(db, ticker).frame())
    if methods.empty:
        raise NothingToReport(of=f" of {ticker}")
    prices = bi.prices.of_ticker(db, ticker).frame()
    events = bi.events.current(db, ticker).frame()
    splits = bi.splits.of_ticker(db, ticker).frame()
    errors = bi.forecasts.errors(db, ticker, FORECASTS).frame()
    losses = bi.models.losses(db, ticker).frame()
    of_risk = _risk_of_ticker(db, ticker)
    best = methods.iloc[0]
    forecast = prices[prices["forecast_close"].notna()].tail(FORECASTS + 1)
    parts: list[Part] = [
        Table(heading="By every method", data=headline.rows_of(methods), columns=METHODS),
        *of_risk,
        charts.price(prices.tail(PRICES + 1), events, splits),
        charts.predicted_and_actual(forecast, events),
    ]
    if not errors.empty:
        parts.append(charts.error(errors))
    parts += [charts.losses(rows) for _, rows in losses.groupby("model_kind", sort=False)]
    name = f", {best['name']}" if best["name"] else ""
    return Document(
        title=f"{ticker}{name}: forecast of {best['session']:%Y-%m-%d}",
        figures=headline.of_one(best),
        lines=[
            *awaited(best, events),
            *([best["why"]] if best["why"] else []),
            headline.point(best),
            *_age(methods),
            *([risk.ABOUT] if of_risk else []),
            DISCLAIMER,
        ],
        parts=parts,
    )


def _of_all(db: Session) -> Document:
    """Return the report on all tickers, those that may move furthest first."""
    order = ForecastOrder.LARGEST_EXPECTED_MOVE
    forecasts = bi.forecasts.latest_with_skill(db, order).frame()
    if forecasts.empty:
        raise NothingToReport(of=" yet")
    forecasts = own_or_demo(forecasts)
    rows = headline.rows_of(forecasts)
    parts: list[Part] = [
        Table(heading="Largest expected move first", data=rows, columns=headline.FORECASTS)
    ]
    portfolios = bi.portfolios.latest(db).frame()
    of_risk = _risk_of_all(db, portfolios)
    parts += of_risk
    board = bi.accuracy.leaderboard(db).frame()
    board = board[board["window_sessions"] == WINDOW]
    for (calendar, kind), compared in board.groupby(["calendar", "kind"]):
        of = f"all tickers of {calendar}, last {WINDOW} sessions, {KINDS[str(kind)]}"
        compared = compared.assign(method=compared["method"].map(titled))
        parts += [charts.skill(compared, of), charts.coverage(compared, of=of)]
    newest = forecasts["session"].max()
    return Document(
        title=f"Forecasts of {newest:%Y-%m-%d}",
        figures=headline.of_all(forecasts),
        lines=[
            *_age(forecasts),
            *risk.silent(portfolios),
            headline.LAST_CLOSE,
            *([risk.ABOUT] if of_risk else []),
            DISCLAIMER,
        ],
        parts=parts,
    )


def _risk_of_ticker(db: Session, ticker: str) -> list[Part]:
    """Return what a ticker may lose in the next session, a row per level; nothing if untold."""
    return [
        Table(
            heading=f"What {row['session']:%Y-%m-%d} may lose, {KINDS[row['kind']]}",
            data=risk.by_level(row),
            columns=risk.level_columns(row["currency"]),
        )
        for row in bi.risk.latest(db, ticker).frame().to_dict("records")
    ]


def _risk_of_all(db: Session, portfolios: pd.DataFrame) -> list[Part]:
    """Return what portfolios and groups may lose, and how well that was told, kind by kind."""
    told = bi.risk.latest(db).frame()
    groups = told[told["subject_kind"] != SubjectKind.TICKER]
    parts = [
        Table(heading="Risk of portfolios", data=risk.rows_of(portfolios), columns=risk.PORTFOLIOS),
        Table(heading="Risk of groups", data=groups, columns=risk.GROUPS),
    ]
    for kind in bi.risk.kinds(db).frame()["kind"]:
        rows = risk.judged(bi.risk.backtests(db, kind, WINDOW).frame())
        of_level = rows["level_pct"] == risk.PLOTTED_LEVEL
        rows = rows[of_level & (rows["subject_kind"] != SubjectKind.TICKER)]
        of = f"{risk.PLOTTED_LEVEL:g} %, last {WINDOW} sessions, {KINDS[kind]}"
        parts.append(Table(heading=f"How well it was told: {of}", data=rows, columns=risk.TOLD))
    return [part for part in parts if len(part.data)]


def _age(forecasts: pd.DataFrame) -> list[str]:
    """Return what kind of forecasts they are, and whether they are old."""
    lines = [KINDS[str(kind)] for kind in forecasts["kind"].unique()]
    if forecasts["is_demo"].all():
        lines.append(DEMONSTRATION)
    elif not forecasts["is_current"].astype(bool).any():
        lines.append("this session is over: the forecasts are old")
    return lines
