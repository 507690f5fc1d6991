"""The plots of dashboard, report and notebooks, as Altair charts of frames of `store.bi`.

Where a colour matters, a dash or a shape says the same again.
"""

from collections.abc import Mapping

import altair as alt
import pandas as pd

from jobs.pictures.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TEXT,
    VERMILION,
    Layers,
    band,
    candles,
    colours_of,
    day,
    day_wide,
    event_marks,
    fan,
    legend,
    line,
    marks_explained,
    named,
    price_axis,
    reader,
    scale_of,
    session_axis,
    split_marks,
    tip,
    title_of,
    together,
)
from jobs.pictures.frames import with_events
from jobs.words import price as written_price
from stockbatch.records import POINT_BASELINE, Action, ModelKind

ACTIONS = dict(
    zip([action.value for action in Action], (BLUE, SKY, GREEN, ORANGE, VERMILION), strict=True)
)
"""What a run did for a ticker, from best to worst, with its colour."""
AVERAGES = {20: (ORANGE, [1, 0]), 50: (GREEN, [6, 3]), 200: (PURPLE, [2, 2])}
"""Sessions of the moving averages with their colour and dash."""
MOST_CANDLES = 260
"""Sessions: of more, candles would be narrower than a pixel."""
COMPARED = ((BLUE, [1, 0]), (ORANGE, [6, 3]), (GREEN, [2, 2]), (PURPLE, [8, 2, 2, 2]))
"""Colours and dashes of the tickers that are compared."""


def price(data: pd.DataFrame, events: pd.DataFrame, splits: pd.DataFrame) -> Layers:
    """Return candles with the moving averages of their closes, and the fan of the session to come.

    Of more than `MOST_CANDLES` sessions the closes alone, as a line. `data` is of
    `bi.prices.of_ticker`, `events` of `bi.events.current`, `splits` of `bi.splits.of_ticker`.
    """
    data = with_events(data, events)
    splits = splits[splits["session"].between(data["session"].min(), data["session"].max())]
    series = {} if len(data) <= MOST_CANDLES else {"close": (BLUE, [1, 0])}
    bars = candles(data) if not series else []
    series |= {f"average of {n}": look for n, look in AVERAGES.items()}
    columns = [name.replace(" of ", "_") for name in series]
    lines = [
        line(data, column, name, series, width=2 if column == "close" else 1.3)
        for name, column in zip(series, columns, strict=True)
    ]
    read = ("open", "high", "low", "close", *(f"average_{n}" for n in AVERAGES))
    tips = [tip(column, column.replace("_", " of ")) for column in read]
    return together(
        [
            *event_marks(data),
            *split_marks(splits),
            *fan(data),
            *bars,
            *lines,
            reader(data, tips, "price"),
        ],
        "Prices and the session to come",
        "candles: pale where the close is above the open" if bars else "line: the close",
        "fan: 50, 80 and 95 % intervals of the next close",
        *marks_explained(data),
        *([] if splits.empty else ["dashed: a split; prices before it are restated"]),
    )


def compared(prices: Mapping[str, pd.DataFrame]) -> Layers:
    """Return closes of tickers as changes since the first session of all, and the next intervals.

    `prices` has frames of `bi.prices.of_ticker` by ticker, at most as many as `COMPARED`.
    """
    first = max(data["session"].min() for data in prices.values())
    looks = dict(zip(prices, COMPARED, strict=False))
    layers = []
    for ticker, data in prices.items():
        known = data[data["session"] >= first]
        if not known["close"].notna().any():
            continue
        base = known["close"].dropna().iloc[0]
        columns = ["close", "close_low_80", "close_high_80"]
        change = known.assign(series=ticker, **{c: 100 * (known[c] / base - 1) for c in columns})
        ahead = change[change["close"].isna() & change["close_low_80"].notna()]
        colour = looks[ticker][0]
        layers += [
            alt.Chart(change)
            .mark_line(strokeWidth=2, strokeDash=looks[ticker][1])
            .encode(
                x=session_axis(),
                y=alt.Y("close:Q", title="change, %"),
                color=alt.Color("series:N", scale=scale_of(looks), legend=legend()),
                tooltip=["series:N", day(), tip("close", "change, %", "+,.1f")],
            ),
            alt.Chart(ahead)
            .mark_rule(strokeWidth=5, color=colour, opacity=0.5)
            .encode(x=session_axis(), y="close_low_80:Q", y2="close_high_80:Q"),
        ]
    return together(
        layers,
        f"Change since {first:%Y-%m-%d}",
        "bars at the end: 80 % intervals of the next close",
    )


def predicted_and_actual(data: pd.DataFrame, events: pd.DataFrame) -> Layers:
    """Return forecast closes with their intervals beside the closes that came.

    `data` is of `bi.prices.of_ticker`, `events` of `bi.events.current`; sessions before the first
    forecast are left out.
    """
    # Of a ticker without a single bar there is no close, and a column of nothing has no type.
    forecast = data[data["forecast_close"].notna()].astype({"close": float})
    known = with_events(forecast, events)
    known["actual"] = known["close"].map(written_price).where(known["close"].notna(), "not yet")
    # Comparisons with a close that has not come are False: it is outside of nothing.
    outside = (known["close"] < known["close_low_95"]) | (known["close"] > known["close_high_95"])
    series = {
        "actual close": (TEXT, [1, 0]),  # on the blue of the bands, in the dark too
        "forecast": (VERMILION, [4, 2]),
        "naive": (GREY, [1, 3]),
    }
    tips = [
        alt.Tooltip("actual:N", title="actual close"),
        tip("forecast_close", "forecast"),
        tip("naive_close", "naive forecast"),
        *(
            tip(f"close_{end}_{p}", f"{end} end, {p} %")
            for p in (80, 95)
            for end in ("low", "high")
        ),
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("forecast_kind:N", title="kind"),
    ]
    missed = (
        alt.Chart(known[outside])
        .mark_point(shape="diamond", size=70, filled=True, color=ORANGE, stroke="black")
        .encode(x=session_axis(), y=price_axis("close"))
    )
    layers = [
        *event_marks(known),
        band(known, 95, 0.2),
        band(known, 80, 0.35),
        line(known, "forecast_close", "forecast", series, point=True),
        line(known, "naive_close", "naive", series),
        line(known, "close", "actual close", series, width=2, point=True),
        missed,
        reader(known, tips, "forecast"),
    ]
    return together(
        layers,
        "Predicted against actual",
        "bands: 80 and 95 % intervals",
        "diamond: the close was outside the 95 % interval",
        "naive: the close before, under the forecast where both are equal",
        *marks_explained(known),
    )


def error(data: pd.DataFrame) -> Layers:
    """Return the error of every forecast and the mean size of the last 20, beside the naive one's.

    `data` is of `bi.forecasts.errors`.
    """
    naive = data["method"] == POINT_BASELINE
    # What is shown may have changed its method meanwhile: it is one series all the same.
    means = data.assign(method=data["method"].where(naive, "forecast"))
    means["mean"] = means.groupby(["method", "kind"])["absolute_error_pct"].transform(
        lambda sizes: sizes.rolling(20, min_periods=5).mean()
    )
    series = {"forecast": (BLUE, [1, 0]), POINT_BASELINE: (ORANGE, [4, 2])}
    bars = (
        alt.Chart(data[~naive])
        .mark_bar(color=SKY, opacity=0.7)
        .encode(
            x=session_axis("yearmonthdate(session)"),
            y=alt.Y("error_pct:Q", title="% of the close"),
            tooltip=[day(), tip("error_pct", "error, %", ",.2f"), "method:N", "kind:N"],
        )
    )
    lines = [
        line(means[means["method"] == name], "mean", name, series, zero=True).encode(
            detail="kind:N"
        )
        for name in series
    ]
    return together(
        [bars, *lines],
        "Error over time",
        "bars: actual minus forecast",
        "lines: mean size of the last 20 errors of a kind",
    )


def losses(data: pd.DataFrame) -> Layers:
    """Return training and validation loss per epoch of one model.

    `data` is the rows of one model of `bi.models.losses`.
    """
    series = {"training": (BLUE, [1, 0]), "validation": (VERMILION, [4, 2])}
    scale = scale_of(series)
    epochs = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"))

    def curve(column: str, name: str) -> alt.Chart:
        chart: alt.Chart = (
            named(data, name)
            .mark_line(point=True, strokeDash=series[name][1])
            .encode(
                x=epochs,
                y=alt.Y(f"{column}:Q", title="pinball loss", scale=alt.Scale(zero=False)),
                color=alt.Color("series:N", scale=scale, legend=legend()),
                tooltip=[
                    "epoch:Q",
                    tip("training_loss", "training", ".4f"),
                    tip("validation_loss", "validation", ".4f"),
                ],
            )
        )
        return chart

    kept = (
        alt.Chart(data[data["is_best_epoch"]])
        .mark_point(shape="diamond", size=140, filled=True, color=ORANGE, stroke="black")
        .encode(x=epochs, y="validation_loss:Q")
    )
    model = data.iloc[0]
    what = "the base model" if model["model_kind"] == ModelKind.BASE else "its own model"
    start = model["initial_validation_loss"]
    before = "" if pd.isna(start) else f"; validation before it: {start:.4f}"
    return together(
        [curve("training_loss", "training"), curve("validation_loss", "validation"), kept],
        f"Training of {what}",
        f"through {model['session']:%Y-%m-%d}{before}",
        "diamond: the epoch whose weights were kept",
    )


def skill(data: pd.DataFrame, of: str = "") -> Layers:
    """Return each method's skill against rolling quantiles with two standard errors.

    `data` is the rows of one calendar, kind and window of `bi.accuracy.leaderboard`, which `of`
    names.
    """
    rows = data[data["skill_vs_rolling_quantile_pct"].notna()].copy()
    spread = 2 * rows["skill_vs_rolling_quantile_error_pct"].fillna(0)
    rows["low"] = rows["skill_vs_rolling_quantile_pct"] - spread
    rows["high"] = rows["skill_vs_rolling_quantile_pct"] + spread
    methods = alt.Y("method:N", title=None, sort="-x")
    points = (
        alt.Chart(rows)
        .mark_point(filled=True, size=110, color=BLUE, opacity=1)
        .encode(
            y=methods,
            x=alt.X("skill_vs_rolling_quantile_pct:Q", title="less pinball loss, %"),
            tooltip=["method:N", tip("skill_vs_rolling_quantile_pct", "skill, %", ",.2f")],
        )
    )
    whiskers = alt.Chart(rows).mark_rule(color=BLUE).encode(y=methods, x="low:Q", x2="high:Q")
    zero = alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(color=GREY).encode(x="x:Q")
    return together(
        [zero, whiskers, points],
        "Skill against rolling quantiles",
        *filter(None, [of]),
        "right of 0: better; whiskers: two standard errors",
    )


def coverage(data: pd.DataFrame, names: str = "method", of: str = "") -> Layers:
    """Return how often the actual close was inside the intervals, beside what was promised.

    `data` has a column `names`, `coverage_80_pct` and `coverage_95_pct`; `of` says of what.
    """
    kept = ["coverage_80_pct", "coverage_95_pct"]
    long = data.melt(id_vars=[names], value_vars=kept, var_name="interval", value_name="inside")
    long = long[long["inside"].notna()]
    long["interval"] = long["interval"].str.extract(r"(\d+)")[0] + " %"
    promises = pd.DataFrame({"interval": ["80 %", "95 %"], "promised": [80, 95]})
    colours = alt.Scale(domain=["80 %", "95 %"], range=[BLUE, VERMILION])
    colour = alt.Color("interval:N", scale=colours, legend=legend("interval"))
    points = (
        alt.Chart(long)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            y=alt.Y(f"{names}:N", title=None),
            x=alt.X("inside:Q", title="inside, %", scale=alt.Scale(zero=False, padding=10)),
            color=colour,
            shape=alt.Shape("interval:N", legend=None),
            tooltip=[f"{names}:N", "interval:N", tip("inside", "inside, %", ".1f")],
        )
    )
    promised = (
        alt.Chart(promises)
        .mark_rule(strokeDash=[4, 3], strokeWidth=1.5)
        .encode(x="promised:Q", color=colour)
    )
    said = [*filter(None, [of]), "dashed: what was promised"]
    return together([promised, points], "Were the intervals kept?", *said)


def risk(data: pd.DataFrame) -> Layers:
    """Return the returns of a portfolio beside its value at risk, losses beyond it marked.

    `data` is the rows of one kind and level of `bi.risk.history`.
    """
    data = data.assign(limit=-data["value_at_risk_pct"], event=None)
    data = data.astype({"actual_return_pct": float})
    returns = alt.Y("actual_return_pct:Q", title="return, %")
    tips = [
        tip("actual_return_pct", "return, %", "+,.2f"),
        tip("value_at_risk_pct", "value at risk, %", ",.2f"),
        tip("expected_shortfall_pct", "expected shortfall, %", ",.2f"),
        tip("actual_result", "profit or loss", "+,.2f"),
    ]
    base = alt.Chart(data).encode(x=session_axis())
    bars = base.mark_bar(size=day_wide(data), color=SKY, opacity=0.7).encode(y=returns)
    dots = alt.OverlayMarkDef(size=12, color=VERMILION)
    limit = base.mark_line(color=VERMILION, strokeDash=[4, 2], point=dots).encode(y="limit:Q")
    breaches = (
        alt.Chart(data[data["is_breach"].fillna(False).astype(bool)])
        .mark_point(shape="diamond", size=90, filled=True, color=ORANGE, stroke="black", opacity=1)
        .encode(x=session_axis(), y=returns)
    )
    level = data["level_pct"].iloc[0]
    return together(
        [bars, limit, breaches, reader(data, tips, "risk")],
        "Returns against the value at risk",
        f"dashed: value at risk; {level:g} % of sessions should fall below it",
        "diamond: one that did",
    )


def outcomes(data: pd.DataFrame) -> alt.Chart:
    """Return what the runs of each session did for how many tickers.

    `data` is of `bi.runs.outcomes`.
    """
    place = {action: place for place, action in enumerate(ACTIONS)}
    chart: alt.Chart = (
        alt.Chart(data.assign(place=data["action"].map(place)))
        .mark_bar()
        .encode(
            x=session_axis("yearmonthdate(session)"),
            y=alt.Y("sum(tickers):Q", title="tickers", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("action:N", scale=colours_of(ACTIONS), legend=legend("outcome")),
            order="place:O",
            tooltip=[day(), "action:N", "sum(tickers):Q"],
        )
        .properties(title=title_of("Outcomes of the last runs"))
    )
    return chart
