"""`stockbatch forecasts`: the forecasts of the next session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words

if TYPE_CHECKING:
    from jobs.commands.tables import Row

ALL = "all"
"""What --method takes for every method."""


def forecasts(
    tickers: options.Tickers = None,
    group: options.Group = None,
    method: Annotated[
        str | None,
        typer.Option(help="By this method, or by 'all'; default: what is shown first."),
    ] = None,
    sort: Annotated[
        Literal[
            "ticker",
            "largest_expected_move",
            "most_unusual",
            "largest_downside",
            "most_probable_rise",
        ],
        typer.Option(help="What comes first."),
    ] = "ticker",
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """Show what is forecast of the next session: how far prices may move, and where to.

    The move is half of the 80 % interval, also as a multiple of the ticker's usual one; low and
    high are the levels of 5 % and 95 %. The point forecast, with --wide, is usually the last close.
    """
    from jobs.app import running
    from stockbatch.methods import registry
    from stockbatch.records import ForecastOrder
    from stockbatch.store import bi

    if method not in (None, ALL, *registry.methods()):
        raise typer.BadParameter(
            f"{method} is no method: use {ALL}, {', '.join(registry.methods())}"
        )
    if tickers and group is not None:
        raise typer.BadParameter("name tickers or a --group, not both")
    by = None if method == ALL else method
    outcomes: list[tuple[str, dict[str, Any]]] = []
    with running(context.settings(), create=False) as app, app.transaction() as db:
        for ticker in tickers or ():
            bi.instruments.require(db, ticker, active=True)
            outcomes += [(ticker, row) for row in bi.runs.last_outcome(db, ticker).rows()]
        order = ForecastOrder(sort)
        among = tickers if group is None else bi.groups.tickers(db, group)
        found = bi.forecasts.chosen(db, among, by, order, everything=method == ALL)
    rows = found.rows()
    if layout == "table":
        views_table(rows, wide=wide)
        for ticker, said in outcomes:  # also why a method has no forecast
            what = f"{ticker} {said['session']}: {said['action']} ({said['reason']})"
            context.answer(f"{what}: {said['message']}" if said["message"] else what)
    else:
        tables.export(found.columns, rows, layout)
    if not rows:
        typer.echo("there are none yet: 'stockbatch run' makes them", err=True)


def views_table(rows: Sequence[Row], *, wide: bool = False) -> None:
    """Print rows of bi.next_session_forecast for people."""
    sessions = {row["session"] for row in rows}
    over = "" if any(row["is_current"] for row in rows) else ", which is over"
    of = f" of {sessions.pop()}{over}" if len(sessions) == 1 else ""
    has_methods = len({row["method"] for row in rows}) > 1
    columns = [
        words("ticker"),
        words("session", _session, wide=not sessions),
        words("method", wide=not has_methods),
        number("move %", lambda row: _plain(row["expected_move_pct"], "± {:.2f}")),
        number("× usual", lambda row: _plain(row["move_ratio"], "{:.1f}")),
        number("low %", lambda row: _plain(row["downside_pct"], "{:+.2f}")),
        number("high %", lambda row: _plain(row["upside_pct"], "{:+.2f}")),
        number("rise %", lambda row: _plain(row["probability_of_rise_pct"], "{:.1f}")),
        number("fall %", lambda row: _plain(row["probability_of_fall_pct"], "{:.1f}")),
        words("event", folds=True),
        number(
            "> ± 2 %", lambda row: _plain(row["probability_of_move_2_pct"], "{:.1f}"), wide=True
        ),
        number(
            "> ± 5 %", lambda row: _plain(row["probability_of_move_5_pct"], "{:.1f}"), wide=True
        ),
        number("last close", lambda row: _price(row["origin_close"]), wide=True),
        number("forecast", lambda row: _price(row["forecast_close"]), wide=True),
        number("change %", lambda row: _plain(row["forecast_return_pct"], "{:+.2f}"), wide=True),
        number("80 % interval", lambda row: _interval(row, 80), wide=True),
        number("95 % interval", lambda row: _interval(row, 95), wide=True),
        words("kind", wide=True),
        words("why", folds=True, wide=True),
    ]
    tables.show(f"forecasts{of} (not investment advice)", columns, rows, (), wide=wide)


def _session(row: Row) -> str:
    return f"{row['session']}" if row["is_current"] else f"{row['session']}, over"


def _plain(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)


def _price(value: float | None) -> str | None:
    from jobs.words import price

    return None if value is None else price(value)


def _interval(row: Row, percent: int) -> str | None:
    low, high = (_price(row[f"close_{end}_{percent}"]) for end in ("low", "high"))
    return None if low is None else f"{low} … {high}"
