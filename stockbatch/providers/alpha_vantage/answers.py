"""What an answer of Alpha Vantage's says about a ticker and its bars."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import numpy as np

from stockbatch.exceptions import BadAnswer, NoCalendar
from stockbatch.providers.alpha_vantage.client import NAME
from stockbatch.providers.base import unknown_ticker
from stockbatch.providers.csv.cells import as_number, simple_ratios
from stockbatch.providers.csv.dates import as_session
from stockbatch.records import (
    ActionKind,
    BarRequest,
    Bars,
    CorporateAction,
    FetchedBars,
    Floats,
    Listing,
)

CALENDARS = {
    "LON": "XLON",
    "TRT": "XTSE",
    "TRV": "XTSE",
    "DEX": "XETR",
    "FRK": "XFRA",
    "AMS": "XAMS",
    "PAR": "XPAR",
    "BSE": "XBOM",
    "SHH": "XSHG",
    "SHZ": "XSHG",
    "SAO": "BVMF",
}
"""The calendar of an exchange, after what follows the dot of Alpha Vantage's symbols."""
KINDS = {"Equity": "equity", "ETF": "etf", "Mutual Fund": "fund"}
UNITS = {"GBX": "GBp", "ZAC": "ZAc"}
"""Sub-units, spelled as on all other bars."""

_NUMBERS = ("open", "high", "low", "close", "volume")


def listing(ticker: str, answer: Mapping[str, Any]) -> Listing:
    """Return what a search found of a ticker; raises UnknownTicker, NoCalendar and BadAnswer."""
    matches = answer.get("bestMatches")
    if not isinstance(matches, list):
        raise BadAnswer(provider=NAME, ticker=ticker, reason="it lists no matches")
    plain = [_plain(match) for match in matches if isinstance(match, dict)]
    known = {str(match.get("symbol")): match for match in plain}
    if ticker not in known:
        raise unknown_ticker(NAME, ticker, known)
    about = known[ticker]
    currency = about.get("currency")
    return Listing(
        ticker=ticker,
        symbol=ticker,
        name=about.get("name"),
        calendar=_calendar(ticker, about),
        currency=UNITS.get(str(currency), currency),
        asset_class=KINDS.get(str(about.get("type")), "other"),
    )


def fetched_bars(request: BarRequest, answer: Mapping[str, Any]) -> FetchedBars:
    """Return the bars and actions asked for, oldest first; what states no number is NaN.

    A row without a date keeps its place at the end, for the checks to find. Raises BadAnswer for
    what has no daily series in it, or that of another symbol.
    """
    dated = [(_session(day), cells) for day, cells in _series(answer, request.symbol)]
    dated = [(day, cells) for day, cells in dated if day is None or _wanted(day, request)]
    # Answers come newest first; what has no date sorts behind everything.
    dated.sort(key=lambda pair: pair[0] or date.max)
    bars = Bars(
        sessions=np.array([day or "NaT" for day, _ in dated], "datetime64[D]"),
        **{name: np.array([_number(cells, name) for _, cells in dated]) for name in _NUMBERS},
    )
    # Without the adjusted series both columns are NaN throughout, and no action is stated.
    ratios = simple_ratios(np.array([_number(cells, "split coefficient") for _, cells in dated]))
    dividends = np.array([_number(cells, "dividend amount") for _, cells in dated])
    days = [day for day, _ in dated]
    return FetchedBars(
        symbol=request.symbol,
        bars=bars,
        actions=(
            *_actions(days, ActionKind.SPLIT, ratios, 1.0),
            *_actions(days, ActionKind.DIVIDEND, dividends),
        ),
    )


def _series(answer: Mapping[str, Any], symbol: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the cells of every session, under what the answer calls its date."""
    series, meta = answer.get("Time Series (Daily)"), answer.get("Meta Data")
    if not isinstance(series, dict) or not isinstance(meta, dict):
        raise BadAnswer(provider=NAME, ticker=symbol, reason="there is no daily series in it")
    answered = _plain(meta).get("symbol")
    if str(answered).upper() != symbol.upper():
        raise BadAnswer(provider=NAME, ticker=symbol, reason=f"it is about {answered}")
    for day, cells in series.items():
        if isinstance(cells, dict):
            yield day, _plain(cells)


def _plain(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Take the numbers off names like `1. open`."""
    return {re.sub(r"^\d+\w?\. ", "", name).lower(): cell for name, cell in cells.items()}


def _calendar(symbol: str, about: Mapping[str, Any]) -> str:
    if about.get("region") == "United States":
        return "XNYS"
    calendar = CALENDARS.get(symbol.rpartition(".")[2])
    if calendar is None:
        raise NoCalendar(ticker=symbol, exchange=about.get("region"))
    return calendar


def _actions(
    days: Iterable[date | None], kind: ActionKind, values: Floats, nothing: float = 0.0
) -> Iterator[CorporateAction]:
    for day, value in zip(days, values.tolist(), strict=True):
        if day is not None and value not in (0.0, nothing) and not np.isnan(value):
            yield CorporateAction(session=day, kind=kind, value=value)


def _wanted(day: date, request: BarRequest) -> bool:
    return (request.first is None or day >= request.first) and day <= request.last


def _session(text: str) -> date | None:
    try:
        return as_session(text)
    except ValueError:
        return None


def _number(cells: Mapping[str, Any], name: str) -> float:
    """Return a cell as a number; NaN where there is none, or something that is none."""
    try:
        return as_number(str(cells.get(name, "")))
    except ValueError:
        return float("nan")
