"""What is said of a forecast, what varies most first, and the point forecast last."""

from typing import Any

import pandas as pd

from jobs.pictures.tables import Column, Columns, day, method, minus, number, text
from jobs.words import price

LAST_CLOSE = (
    "The point forecast is usually the last close: past prices say next to nothing about the "
    "direction of the next move, and it leaves that close only where a ticker's own past shows "
    "that this would have helped."
)
UNUSUAL = 1.5
"""Times the usual move, from which on a forecast is called unusual."""
MOVE_ABOUT = "Half of the 80 % interval: four closes of five should move no further."
USUAL_ABOUT = "The expected move against the ticker's usual one."
BAR_ABOUT = "Thick: 80 %, thin: 95 %, around the last close; all rows on one scale."
FORECASTS: Columns = {
    "ticker": text("ticker", below="name", phone="event"),
    "expected_move_pct": number("expected move", "± {:.1f} %", about=MOVE_ABOUT),
    "move_ratio": number("× usual", "{:.1f} ×", about=USUAL_ABOUT),
    "downside_pct": number(
        "downside", "{:+.1f} %", about="One close in twenty should be lower than this."
    ),
    "upside_pct": number(
        "upside", "{:+.1f} %", about="One close in twenty should be higher than this."
    ),
    "origin_close": Column(heading="last close", write=price, once=True),
    "event": text(
        "event",
        about="What is known to move the session; what comes after a close moves the next one.",
        wide=True,
        once=True,
    ),
    "interval": Column(heading="80 and 95 % interval", bar=True, about=BAR_ABOUT, wide=True),
    "probability_of_rise_pct": number(
        "rise", "{:.0f} %", about="Probability of a rise.", wide=True
    ),
    "probability_of_fall_pct": number(
        "fall", "{:.0f} %", about="Probability of a fall.", wide=True
    ),
    "probability_of_move_2_pct": number(
        "beyond ±2\N{NO-BREAK SPACE}%",
        "{:.0f} %",
        about="Probability of a move of more than 2 %.",
        wide=True,
    ),
    "probability_of_move_5_pct": number(
        "beyond ±5\N{NO-BREAK SPACE}%",
        "{:.0f} %",
        about="Probability of a move of more than 5 %.",
        wide=True,
    ),
    "why": Column(
        heading="why",
        prose=True,
        numeric=False,
        # The ratio that the sentence begins with has its own column.
        write=lambda sentence: sentence.partition(": ")[2],
        about="What made the interval wider or narrower than usual.",
        wide=True,
    ),
    "point": number("forecast", "{:+.2f} %", about=LAST_CLOSE, wide=True, once=True),
    "session": day("session", wide=True, once=True),
    "kind": text("kind", wide=True, once=True),
    "method": method(wide=True, once=True),
    "currency": text("prices in", wide=True, once=True),
}
"""The columns of a table of forecasts."""


def rows_of(data: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts with what `FORECASTS` needs beside the columns of the view.

    The point is unknown where it is the last close: there is nothing to say.
    """
    change = data["forecast_return_pct"]
    ends = [f"close_{end}" for end in ("low_95", "low_80", "high_80", "high_95")]
    returns = 100 * (data[ends].div(data["origin_close"], axis=0) - 1)
    return data.assign(
        point=change.where(change.abs() >= 0.005),
        interval=pd.Series([tuple(row) for row in returns.to_numpy()], index=data.index),
    )


def of_one(forecast: pd.Series) -> dict[str, str]:
    """Return the figures of one forecast by their names."""
    return {
        "Expected move": _percent(forecast["expected_move_pct"], "± {:.1f} %"),
        "Against the usual": _percent(forecast["move_ratio"], "{:.1f} ×"),
        "Downside, 5 % level": _percent(forecast["downside_pct"], "{:+.1f} %"),
        "Upside, 95 % level": _percent(forecast["upside_pct"], "{:+.1f} %"),
        "Rise": _percent(forecast["probability_of_rise_pct"], "{:.0f} %"),
        "Fall": _percent(forecast["probability_of_fall_pct"], "{:.0f} %"),
        "Beyond ±2 %": _percent(forecast["probability_of_move_2_pct"], "{:.0f} %"),
        "Beyond ±5 %": _percent(forecast["probability_of_move_5_pct"], "{:.0f} %"),
    }


def of_all(data: pd.DataFrame) -> dict[str, str]:
    """Return the figures of many forecasts by their names."""
    unusual = (data["move_ratio"] >= UNUSUAL).sum()
    return {
        "Target session": f"{data['session'].max():%Y-%m-%d}",
        "Tickers": str(len(data)),
        "Median expected move": _percent(data["expected_move_pct"].median(), "± {:.1f} %"),
        f"{UNUSUAL} × usual or more": f"{unusual} of {len(data)}",
        "With an event": str(data["event"].notna().sum()),
    }


def point(forecast: pd.Series) -> str:
    """Return the sentence on the forecast close, and why it is usually the last one."""
    is_unknown = pd.isna(forecast["currency"])  # None, or NaN beside others that are known
    currency = "an unknown currency" if is_unknown else forecast["currency"]
    last, close = price(forecast["origin_close"]), price(forecast["forecast_close"])
    if abs(forecast["forecast_return_pct"]) < 0.005:
        return f"Point forecast: {close} ({currency}), the last close. {LAST_CLOSE}"
    change = minus(f"{forecast['forecast_return_pct']:+.2f} %")
    return f"Point forecast: {close} ({currency}), {change} from the last close, {last}."


def _percent(value: Any, layout: str) -> str:
    return "unknown" if pd.isna(value) else minus(layout.format(value))
