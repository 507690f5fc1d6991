"""Which rows of a frame people see, and in which order."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stockbatch.records import EventKind

Row = Mapping[Any, Any]
UNUSUAL = 3
"""Times the usual number of news, or standard errors from the usual score; as bi.sentiment."""


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


def with_news(data: pd.DataFrame, unusual: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts with `news`: what is unusual about those since the session before theirs.

    `unusual` is of `bi.news.unusual`, the newest first. None: nothing is.
    """
    marks: dict[tuple[Any, Any], str] = {}
    for row in data.to_dict("records"):
        of_it = unusual[unusual["ticker"] == row["ticker"]]
        of_it = of_it[of_it["session"].between(row["origin_session"], row["session"])]
        if len(of_it):
            marks[row["ticker"], row["session"]] = _news(of_it.iloc[0].to_dict())
    found = [marks.get(key) for key in zip(data["ticker"], data["session"], strict=True)]
    return data.assign(news=pd.Series(found, index=data.index, dtype=object))


def _news(row: Row) -> str:
    """Return what is unusual about the news of a session."""
    said = f"{row['items']:.0f} items"
    if not pd.isna(row["items_ratio"]) and row["items_ratio"] >= UNUSUAL:
        said += f", {row['items_ratio']:.0f} × usual"
    if not pd.isna(row["score_deviation"]) and abs(row["score_deviation"]) >= UNUSUAL:
        said += ", sound better" if row["score_deviation"] > 0 else ", sound worse"
    return said


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
