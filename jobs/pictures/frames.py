"""Which rows of a frame people see, and in which order."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stockbatch.records import EventKind

Row = Mapping[Any, Any]


def own_or_demo(data: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of your own tickers; those of the demonstration if there are no others."""
    demo = data["is_demo"].astype(bool)
    return data if demo.all() else data[~demo]


def best_first(data: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts of one ticker, which come by the name of their method, the best first."""
    # A stable sort leaves the other methods in the order of their names.
    return data.sort_values("is_headline", ascending=False, kind="stable")


def with_events(data: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Return rows of sessions with what moved each: `event` in words, `mark` in one.

    `events` is of `bi.events.current`; a mark is "report", "report?" where nobody has stated it, or
    the kind of another event. NaN: nothing is known.
    """
    found = events.to_dict("records")
    told = pd.DataFrame(
        {
            "session": events["session"],
            "event": [_dated(event) for event in found],
            "mark": [_mark(event) for event in found],
        }
    )
    by_session = told.groupby("session", as_index=False).agg("; ".join)
    return data.merge(by_session, on="session", how="left")


def awaited(forecast: pd.Series, events: pd.DataFrame) -> list[str]:
    """Return a line on what is known to move the session of a forecast, or else a later one."""
    ahead = events[events["session"] >= forecast["session"]].to_dict("records")
    moving = [_dated(event) for event in ahead if event["session"] == forecast["session"]]
    if not moving and not pd.isna(forecast["event"]):
        moving = [forecast["event"]]  # of the session before, without an hour
    if moving:
        return [f"known to move it: {'; '.join(moving)}"]
    return [f"next event: {_dated(event)}" for event in ahead[:1]]


def _dated(event: Row) -> str:
    """Return an event in words with its day: what comes after a close moves the next session."""
    return f"{event['event']} ({event['event_date']})"


def _mark(event: Row) -> str:
    is_report = event["kind"] == EventKind.EARNINGS
    word = "report" if is_report else str(event["kind"]).replace("_", " ")
    return f"{word}?" if event["is_projected"] else word
