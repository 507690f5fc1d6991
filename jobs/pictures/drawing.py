"""What charts are made of: colours, axes, lines and bands over sessions.

Colours are those of Okabe and Ito, which people with any colour vision tell apart.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILION, SKY, PURPLE, GREY = "#D55E00", "#56B4E9", "#CC79A7", "#6E6E6E"

Look = dict[str, tuple[str, list[int]]]
"""Names of series with their colour and dash."""

TEXT = "currentColor"
"""What is no data has the colour of the text around the chart, so that it follows a dark page."""
LOOK: dict[str, Any] = {
    "background": "transparent",
    "view": {"stroke": None},
    "title": {"color": TEXT, "subtitleColor": TEXT},
    "legend": {"labelColor": TEXT, "titleColor": TEXT},
    "axis": {
        **{f"{part}Color": TEXT for part in ("label", "title", "domain", "tick", "grid")},
        "gridOpacity": 0.15,
        "domainOpacity": 0.4,
        "tickOpacity": 0.4,
    },
}
"""The configuration of every chart in an SVG, which knows the colour of the text around it."""
MOST_WORDS = 8
"""Marks that have a word each: more would touch, on a phone."""
PRICE = ",.7~r"
"""Digits and not decimals, so that none of a coin's are lost."""


class Layers(alt.LayerChart):
    """Charts on top of each other. That they follow Vega-Lite's schema is checked by tests alone.

    Altair would check it on every visit of a page, which takes it longer than all else.
    """

    def to_dict(self, validate: bool = False, **how: Any) -> dict[str, Any]:
        """Return the specification. Raises SchemaValidationError where `validate` finds a fault."""
        return super().to_dict(validate, **how)


def line(
    data: pd.DataFrame,
    column: str,
    name: str,
    series: Look,
    *,
    width: float = 1.5,
    point: bool = False,
    zero: bool = False,
) -> alt.Chart:
    """Return a column over the sessions as a line that looks as `series` says."""
    dots = alt.OverlayMarkDef(size=18, filled=True) if point else False
    chart: alt.Chart = (
        named(data, name)
        .mark_line(strokeWidth=width, strokeDash=series[name][1], point=dots)
        .encode(
            x=session_axis(),
            y=alt.Y(f"{column}:Q", scale=alt.Scale(zero=zero)) if zero else price_axis(column),
            color=alt.Color("series:N", scale=scale_of(series), legend=legend()),
        )
    )
    return chart


def named(data: pd.DataFrame, series: str) -> alt.Chart:
    """Return an empty chart whose rows all belong to a series; the frame itself is shared."""
    return alt.Chart(data).transform_calculate(series=f"'{series}'")


def band(data: pd.DataFrame, percent: int, opacity: float) -> alt.Chart:
    """Return the intervals of so many percent as a band over the sessions."""
    chart: alt.Chart = (
        alt.Chart(data)
        .mark_area(color=SKY, opacity=opacity)
        .encode(
            x=session_axis(), y=price_axis(f"close_low_{percent}"), y2=f"close_high_{percent}:Q"
        )
    )
    return chart


def interval_bars(ahead: pd.DataFrame) -> list[alt.Chart]:
    """Return the intervals of sessions without a close as bars, the forecast on them."""
    rules = [
        alt.Chart(ahead)
        .mark_rule(color=SKY, strokeWidth=width)
        .encode(
            x=session_axis(), y=price_axis(f"close_low_{percent}"), y2=f"close_high_{percent}:Q"
        )
        for percent, width in ((95, 2), (80, 6))
    ]
    point = (
        alt.Chart(ahead)
        .mark_point(filled=True, size=60, color=VERMILION, opacity=1)
        .encode(x=session_axis(), y=price_axis("forecast_close"))
    )
    return [*rules, point]


def candles(data: pd.DataFrame) -> list[alt.Chart]:
    """Return bars as candles: pale where the close is above the open, so that no colour is needed.

    `data` has columns `open`, `high`, `low` and `close`, NaN where there is no bar.
    """
    known = data[data["close"].notna()]
    if known.empty:
        return []
    body = day_wide(known)
    rises = known["close"] >= known["open"]
    layers = []
    for rows, colour, opacity in ((known[rises], BLUE, 0.3), (known[~rises], VERMILION, 1)):
        base = alt.Chart(rows).encode(x=session_axis())
        layers += [
            base.mark_rule(color=colour).encode(y=price_axis("low"), y2="high:Q"),
            base.mark_bar(
                size=body, fill=colour, fillOpacity=opacity, stroke=colour, strokeWidth=1
            ).encode(y=price_axis("open"), y2="close:Q"),
        ]
    return layers


def day_wide(data: pd.DataFrame) -> alt.ExprRef:
    """Return how wide the bar of a session is: as much room as a day has.

    In pixels only the browser knows how much that is.
    """
    days = (data["session"].max() - data["session"].min()).days + 4
    return alt.ExprRef(f"max(1, 0.7 * width / {days})")


def fan(data: pd.DataFrame) -> list[alt.Chart]:
    """Return the intervals of the session to come as bands that open at the close of its origin.

    `data` is of `bi.prices.of_ticker`.
    """
    ahead = data[data["close"].isna() & data["forecast_close"].notna()].tail(1)
    origin = data[data["session"].isin(ahead["origin_session"]) & data["close"].notna()]
    if origin.empty:
        return interval_bars(ahead)
    ends = [f"close_{end}_{p}" for end in ("low", "high") for p in (50, 80, 95)]
    # At the origin all quantiles are one: its close.
    opened = origin.assign(**dict.fromkeys(ends, origin["close"]))
    both = pd.concat([opened, ahead])[["session", *ends]]
    bands = [band(both, p, opacity) for p, opacity in ((95, 0.2), (80, 0.3), (50, 0.4))]
    return [*bands, *interval_bars(ahead)]


def event_marks(data: pd.DataFrame) -> list[alt.Chart]:
    """Return marks over the sessions that an event moved or is to move, outside of the plot.

    `data` has columns `event` and `mark`, see `frames.with_events`. In the plot each has no more
    than a dotted line, and where they are many, none has a word: the price is not to be buried.
    """
    marked = data[data["mark"].notna()]
    if marked.empty:
        return []
    stem = alt.Chart(marked).encode(x=session_axis())
    base = stem.encode(tooltip=[day(), alt.Tooltip("event:N", title="event")])
    marks = [
        stem.mark_rule(color=GREY, strokeDash=[1, 4], opacity=0.7),
        base.mark_point(shape="triangle-down", size=45, filled=True, color=GREY).encode(
            y=alt.value(-5), opacity=alt.value(1)
        ),
    ]
    if len(marked) <= MOST_WORDS:
        word = base.mark_text(color=TEXT, fontSize=10).encode(y=alt.value(-16), text="mark:N")
        marks.append(word)
    return marks


def marks_explained(data: pd.DataFrame) -> list[str]:
    """Return what the marks of events mean, where there are any."""
    marks = " ".join(data["mark"].dropna())
    said = ["triangle: an event moved this session, or is to move it"] if marks else []
    return [*said, "report?: by the rhythm of past years, not announced"] if "?" in marks else said


def split_marks(splits: pd.DataFrame) -> list[alt.Chart]:
    """Return a dashed line and words at the sessions from which on a ticker trades split.

    `splits` is of `bi.splits.of_ticker`.
    """
    if splits.empty:
        return []
    base = alt.Chart(splits).encode(
        x=session_axis(), tooltip=[day(), alt.Tooltip("split:N", title="split")]
    )
    # Inside of the plot: above it stand the words of events.
    return [
        base.mark_rule(color=GREY, strokeDash=[6, 3]),
        base.mark_text(color=TEXT, fontSize=10, align="right", dx=-4).encode(
            y=alt.value(8), text="split:N"
        ),
    ]


def reader(data: pd.DataFrame, tips: Sequence[alt.Tooltip], name: str) -> alt.Chart:
    """Return an upright line at the session nearest to the pointer, which shows its numbers.

    And its `event`, where `data` has any.
    """
    if data["event"].notna().any():
        data = data.assign(event=data["event"].fillna("none known"))
        tips = [*tips, alt.Tooltip("event:N", title="event")]
    nearest = alt.selection_point(
        name=f"nearest_{name}",
        nearest=True,
        on="pointerover",
        clear="pointerout",
        fields=["session"],
        empty=False,
    )
    chart: alt.Chart = (
        alt.Chart(data)
        .mark_rule(color=GREY)
        .encode(
            x=session_axis(),
            opacity=alt.when(nearest).then(alt.value(0.8)).otherwise(alt.value(0)),
            tooltip=[day(), *tips],
        )
        .add_params(nearest)
    )
    return chart


def session_axis(field: str = "session") -> alt.X:
    """Return the axis of sessions."""
    axis = alt.Axis(format="%Y-%m-%d", tickCount=7, labelOverlap="greedy", labelSeparation=6)
    return alt.X(f"{field}:T", title=None, axis=axis)


def together(layers: Sequence[alt.Chart], title: str, *subtitle: str) -> Layers:
    """Return charts on top of each other, under a title."""
    return Layers(layer=list(layers), title=title_of(title, *subtitle))


def title_of(title: str, *subtitle: str) -> alt.TitleParams:
    """Return a title with lines under it that say how to read the chart."""
    return alt.TitleParams(title, subtitle=list(subtitle), anchor="start")


def price_axis(column: str) -> alt.Y:
    """Return the axis of prices, which need not begin at zero."""
    return alt.Y(f"{column}:Q", title="close", scale=alt.Scale(zero=False))


def day() -> alt.Tooltip:
    """Return the session as the pointer shows it."""
    return alt.Tooltip("session:T", title="session", format="%Y-%m-%d")


def tip(column: str, title: str, layout: str = PRICE) -> alt.Tooltip:
    """Return a number as the pointer shows it."""
    return alt.Tooltip(f"{column}:Q", title=title, format=layout)


def scale_of(series: Look) -> alt.Scale:
    """Return the colours of the series."""
    return colours_of({name: colour for name, (colour, _) in series.items()})


def colours_of(colours: dict[str, str]) -> alt.Scale:
    """Return the colour of each name."""
    return alt.Scale(domain=list(colours), range=list(colours.values()))


def legend(title: str | None = None) -> Any:
    """Return a legend under the chart, where it takes no width from it."""
    return alt.Legend(title=title, orient="bottom", columns=3, symbolStrokeWidth=2.5)
