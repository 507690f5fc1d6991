"""`stockbatch forecasts`: the forecasts of the next session."""

import csv
import json
import sys
from typing import Any

import typer

from jobs.commands import context, options


def forecasts(
    ticker: options.AnyTicker = None,
    layout: options.Format = "table",
) -> None:
    """Print the latest forecast of every ticker, or of one by every method.

    A narrow terminal shows the columns that matter most; all are in --format csv and json.
    """
    from jobs.app import running
    from jobs.words import cell
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        outcomes: list[dict[str, Any]] = []
        if ticker is None:
            found = bi.forecasts.latest(db)
        else:
            bi.instruments.require(db, ticker, active=True)
            found = bi.forecasts.of_ticker(db, ticker)
            outcomes = bi.runs.last_outcome(db, ticker).rows()
    if layout == "table":
        views_table(found.rows())
        for said in outcomes:  # also why a method has no forecast
            what = f"{ticker} {said['session']}: {said['action']} ({said['reason']})"
            context.say(f"{what}: {said['message']}" if said["message"] else what)
    elif layout == "json":
        typer.echo(json.dumps(found.rows(), default=str, indent=2))
    else:
        writer = csv.writer(sys.stdout)
        writer.writerow(found.columns)
        writer.writerows(map(cell, row) for row in found.values)
    if not found.values:
        typer.echo("there are none yet: 'stockbatch run' makes them", err=True)


def views_table(rows: list[dict[str, Any]]) -> None:
    """Print rows of bi.next_session_forecast for people."""
    from jobs.words import price

    columns = [("ticker", "left"), ("session", "left"), ("method", "left"), ("kind", "left")]
    columns += [(name, "right") for name in ("last close", "forecast", "change", "80 % interval")]
    columns += [("95 % interval", "right"), ("P(rise)", "right"), ("event", "left")]
    context.show_table(
        "forecasts (not investment advice)",
        columns,
        [
            (
                row["ticker"],
                row["session"],
                row["method"],
                row["kind"] if row["is_current"] else f"{row['kind']}, session over",
                price(row["origin_close"]),
                price(row["forecast_close"]),
                f"{row['forecast_return_pct']:+.2f} %",
                _interval(row["close_low_80"], row["close_high_80"]),
                _interval(row["close_low_95"], row["close_high_95"]),
                _percent(row["probability_of_rise_pct"]),
                row["event"],
            )
            for row in rows
        ],
        narrow=("ticker", "session", "method", "last close", "forecast", "80 % interval"),
    )


def _interval(low: Any, high: Any) -> str:
    from jobs.words import price

    return "" if low is None else f"{price(low)} … {price(high)}"


def _percent(value: object) -> str:
    return "" if value is None else f"{value:.1f} %"
