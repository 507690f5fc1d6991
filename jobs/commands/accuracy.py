"""`stockbatch accuracy`: how good the forecasts were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from jobs.commands.tables import Row

WINDOW = 250
"""Sessions that are looked back on where no number is given."""
METRICS = {
    "pinball": "pinball",
    "mae": "mae",
    "mae_return": "mae_return",
    "mape": "mape_pct",
    "directional_accuracy": "direction_pct",
    "coverage_80": "coverage_80_pct",
    "coverage_95": "coverage_95_pct",
    "skill_vs_rolling_quantile_error": "skill_error_pct",
}
"""Metrics that are shown, and the columns they become."""
BASELINES = {"skill_pct": "rolling quantiles", "naive_skill_pct": "the last close"}
"""What forecasts are compared with, by the columns that say how they did."""
ERRORS = {"skill_pct": "skill_error_pct"}
"""Columns with the standard errors of others, where tickers are taken together."""
PERCENT = 100
"""What shares are multiplied by to be percents; MAPE is one already."""
NAMES = (
    *("calendar", "ticker", "method", "kind", "window_sessions", "session", "n", "skill_pct"),
    *("naive_skill_pct", *METRICS.values(), "group"),
)
"""What JSON and CSV hold."""


def accuracy(
    tickers: Annotated[
        list[str] | None,
        typer.Argument(metavar="TICKER", help="Default: all tickers of an exchange together."),
    ] = None,
    group: options.Group = None,
    each: Annotated[
        bool, typer.Option("--by-ticker", help="A line per ticker, of what is shown first.")
    ] = False,
    window: Annotated[
        Literal["20", "60", "250"], typer.Option(help="Sessions to look back on.")
    ] = "250",
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """Show how good the forecasts of the last sessions were, beside the simplest ones.

    Skill is the percentage by which the loss (pinball) is below that of rolling quantiles, with its
    standard error where tickers are taken together; naive, by which the error is below that of the
    last close. Above 0 is better; less than two standard errors may be luck. 80 %: how often the
    80 % interval held.
    """
    from jobs.app import running
    from stockbatch.store import bi

    if tickers and group is not None:
        raise typer.BadParameter("name tickers or a --group, not both")
    with running(context.settings(), create=False) as app, app.transaction() as db:
        for ticker in tickers or ():
            bi.instruments.require(db, ticker)
        rows = found(db, tickers, int(window), group=group, each=each)
    columns = [
        words("of", lambda row: row["ticker"] or row["group"] or f"all of {row['calendar']}"),
        words("method"),
        words("kind"),
        number("forecasts", "n"),
        number("skill %", lambda row: _skill(row, "skill_pct", ".2f")),
        number("naive %", lambda row: _skill(row, "naive_skill_pct", ".2f")),
        number("80 %", lambda row: _share(row["coverage_80_pct"])),
        number("95 %", lambda row: _share(row["coverage_95_pct"]), wide=True),
        number("direction %", lambda row: _share(row["direction_pct"]), wide=True),
        number("pinball", lambda row: _loss(row["pinball"]), wide=True),
        number("MAE (return)", lambda row: _loss(row["mae_return"]), wide=True),
        words("through", "session", wide=True),
    ]
    title = f"accuracy, last {window} sessions; skill: % less loss than rolling quantiles"
    tables.show(title, columns, rows, NAMES, layout, wide=wide)
    if not rows:
        typer.echo(
            "nothing was scored yet: the bars of the sessions forecast have to come", err=True
        )


def found(
    db: Session,
    tickers: list[str] | None,
    window: int,
    *,
    group: str | None = None,
    each: bool = False,
) -> list[dict[str, Any]]:
    """Return a row per method and kind of the tickers named, else of the group or each exchange.

    Demonstration tickers count in none of them: where there are no others, they are shown one by
    one, as with `each`, by what is shown first alone. So are those of a group that no run has
    summed up yet.
    """
    from stockbatch.store import bi

    if tickers:
        metrics = [row for t in tickers for row in bi.accuracy.of_ticker(db, t, window).rows()]
        return _turned(metrics)
    together: Sequence[Row] = ()
    if not each and group is None:
        together = bi.accuracy.of_calendars(db, window).rows()
    elif not each and group is not None:
        together = bi.groups.metrics(db, group, window)
    if together:
        return _turned(together)
    one_by_one = bi.accuracy.headlines_of_tickers(db, window).rows()
    if group is not None:
        inside = set(bi.groups.tickers(db, group))
        one_by_one = [row for row in one_by_one if row["ticker"] in inside]
    return _turned(one_by_one)


def summary(rows: Sequence[Row]) -> list[str]:
    """Return a line per baseline: how much better what is shown first was, in percent."""
    lines = []
    for name, title in BASELINES.items():
        known = [row for row in rows if row["is_headline"] and row[name] is not None]
        said = (
            f"{row['ticker'] or row['calendar']} {_skill(row, name, '.1f')} %"
            f" ({row['n']} {row['kind']})"
            for row in known
        )
        if known:
            lines.append(f"better than {title} by {', '.join(said)}")
    return lines


def _turned(metrics: Iterable[Row]) -> list[dict[str, Any]]:
    """Return a row per ticker or exchange, method and kind of rows per metric."""
    turned: dict[tuple[Any, ...], dict[str, Any]] = {}
    for metric in metrics:
        group = metric.get("group")
        key = (group, *(metric[name] for name in ("calendar", "ticker", "method", "kind")))
        row = turned.setdefault(key, {**dict.fromkeys(NAMES), "group": group, "is_headline": False})
        row |= {name: metric[name] for name in NAMES[:6]}
        row["is_headline"] |= metric["is_headline"]
        name = metric["metric"]
        if name in METRICS and metric["value"] is not None:  # an error of one session is none
            is_share = METRICS[name].endswith("_pct") and name != "mape"
            row[METRICS[name]] = (PERCENT if is_share else 1) * metric["value"]
            row["n"] = metric["n"]
        if name == "pinball":
            row["skill_pct"] = metric["skill_pct"]
        if name == "mae_return":
            row["naive_skill_pct"] = metric["skill_pct"]
    order = sorted(turned.values(), key=lambda row: not row["is_headline"])
    places = ("group", "calendar", "ticker", "kind")
    return sorted(order, key=lambda row: tuple(row[name] or "" for name in places))


def _skill(row: Row, name: str, layout: str) -> str | None:
    """Return a skill with its standard error, where it has one."""
    if row[name] is None:
        return None
    error = row[ERRORS[name]] if name in ERRORS else None
    return f"{row[name]:+{layout}}" + (f" ± {error:{layout}}" if error else "")


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _loss(value: float | None) -> str | None:
    return None if value is None else f"{value:.5g}"
