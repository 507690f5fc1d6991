"""What a chart of Yahoo's, as yfinance hands it out, says about a ticker and its bars."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stockbatch.exceptions import BadAnswer, NoCalendar
from stockbatch.market.quality import undone, warning
from stockbatch.providers.base import wanted
from stockbatch.providers.yahoo.exchanges import PROVIDER, calendar_of
from stockbatch.records import (
    ActionKind,
    BarRequest,
    Bars,
    Check,
    CorporateAction,
    FetchedBars,
    Finding,
    Floats,
    Listing,
    Sessions,
)

NAME = PROVIDER
KINDS = {
    "EQUITY": "equity",
    "ETF": "etf",
    "MUTUALFUND": "fund",
    "INDEX": "index",
    "CURRENCY": "currency",
    "CRYPTOCURRENCY": "crypto",
    "FUTURE": "future",
}
WITHOUT_PAUSE = {"CRYPTOCURRENCY": "24/7", "CURRENCY": "24/5"}
WITHOUT_VOLUME = ("CURRENCY", "INDEX")
"""Kinds of which a volume of 0 means that it is unknown."""
_COLUMNS = ("Open", "High", "Low", "Close", "Volume", "Stock Splits", "Dividends")


def listing(ticker: str, about: Mapping[str, Any]) -> Listing:
    """Return what a chart's metadata say; raises NoCalendar.

    The currency is Yahoo's code for the unit that prices are quoted in, sub-units included: GBp
    (pence), ZAc (cents) and ILA (agorot) are 0.01 GBP, ZAR and ILS. Prices stay in that unit.
    """
    kind = about.get("instrumentType")
    symbol = about.get("symbol") or ticker
    return Listing(
        ticker=symbol,
        symbol=symbol,
        name=about.get("longName") or about.get("shortName"),
        calendar=WITHOUT_PAUSE.get(str(kind)) or _calendar(symbol, about),
        currency=about.get("currency"),
        asset_class=KINDS.get(str(kind), "other"),
    )


def _calendar(symbol: str, about: Mapping[str, Any]) -> str:
    """Return the calendar of what trades with pauses; raises NoCalendar."""
    calendar = calendar_of(symbol, about.get("exchangeTimezoneName"))
    if calendar is None:
        exchange = about.get("fullExchangeName") or about.get("exchangeName")
        raise NoCalendar(ticker=symbol, exchange=exchange)
    return calendar


def fetched_bars(request: BarRequest, frame: pd.DataFrame, about: Mapping[str, Any]) -> FetchedBars:
    """Return the bars asked for, as traded, of a frame with a row per session; raises BadAnswer.

    The frame must go on to the present: splits later than the bars asked for are in their prices.
    Rows that state an event and no price become actions only; cells that are no numbers are NaN.
    """
    granularity = about.get("dataGranularity", "1d")
    if granularity != "1d":
        reason = f"its bars are of {granularity}, not of a day"
        raise BadAnswer(provider=NAME, ticker=request.symbol, reason=reason)
    with np.errstate(all="ignore"):
        bars, actions, findings = _as_traded(request.symbol, frame)
    if about.get("instrumentType") in WITHOUT_VOLUME:
        bars.volume[bars.volume == 0] = np.nan
    currency = about.get("currency")
    return FetchedBars(
        symbol=request.symbol,
        bars=bars.where(wanted(bars.sessions, request)),
        actions=tuple(action for action in actions if action.session <= request.last),
        currency=currency if isinstance(currency, str) else None,
        findings=tuple(findings),
    )


def _as_traded(
    symbol: str, frame: pd.DataFrame
) -> tuple[Bars, list[CorporateAction], list[Finding]]:
    """Undo the splits in yfinance's prices, volumes and dividends, through the newest it states.

    Where a split is no positive number, nothing is known about the prices before it: they go. Where
    the prices before it were never divided by it, they are as traded already.
    """
    sessions, numbers = _sorted(symbol, frame)
    opened, high, low, close, volume, split, dividend = numbers
    stated = (split != 0) & ~np.isnan(split)
    usable = (split > 0) & (split < np.inf)
    divided, findings = _divided(sessions, numbers, np.where(usable, split, 1.0))
    ratio = np.where(divided, np.where(usable, split, 1.0), 1.0)
    # The product of all splits from a row on, and 1 after the last: `side="right"` skips the row's
    # own, which its prices have had already.
    onwards = np.append(np.cumprod(ratio[::-1])[::-1], 1.0)
    later = onwards[np.searchsorted(sessions, sessions, side="right")]
    known = np.ones(len(sessions), bool)
    # Up to the last ratio that cannot be undone; where there is none, the slice is empty.
    known[: np.flatnonzero(stated & ~usable)[-1:].sum()] = False
    bars = Bars(
        sessions=sessions,
        open=opened * later,
        high=high * later,
        low=low * later,
        close=close * later,
        volume=volume / later,
    )
    # A row that states an event alone has no bar; one that lacks a single price has, for the checks
    # to refuse.
    priced = ~np.isnan(numbers[:4]).all(axis=0)
    actions = [
        *_actions(sessions, ActionKind.SPLIT, np.where(split == 1, 0, split)),
        *_actions(sessions, ActionKind.DIVIDEND, np.where(known, dividend * later, 0)),
    ]
    return bars.where(priced & known), actions, findings


def _divided(
    sessions: Sessions, numbers: Floats, ratio: Floats
) -> tuple[NDArray[np.bool_], list[Finding]]:
    """Tell by which ratios, of shape (sessions,), the prices before were divided; report the rest.

    Prices that Yahoo has divided go on smoothly; others jump by the split, and by little else.
    """
    opened, close = numbers[0], numbers[3]
    divided, findings = np.ones(len(sessions), bool), []
    priced = np.isfinite(opened) & (opened > 0) & np.isfinite(close) & (close > 0)
    for row in np.flatnonzero(ratio != 1).tolist():
        before = np.flatnonzero(priced & (sessions < sessions[row]))
        since = np.flatnonzero(priced & (sessions >= sessions[row]))
        if not len(before) or not len(since):
            continue
        now = np.array([[close[since[0]]], [opened[since[0]]]])
        left = np.log(now / close[before[-1]] * ratio[row])
        if undone(left, float(ratio[row])).all():
            divided[row] = False
            text = f"the prices before the split of {ratio[row]:g} are not divided by it: as traded"
            day = sessions[row].item()
            findings.append(warning(Check.SPLIT_NOT_SHOWN, day, text, float(ratio[row])))
    return divided, findings


def _sorted(symbol: str, frame: pd.DataFrame) -> tuple[Sessions, Floats]:
    """Return sessions, ascending, and the numbers of _COLUMNS, shape (columns, sessions).

    A row without a date is left out; an event that two rows of a session state counts once.
    """
    lacking = set(_COLUMNS) - set(frame.columns)
    dates = frame.index
    if lacking or not isinstance(dates, pd.DatetimeIndex) or not frame.columns.is_unique:
        reason = f"it lacks {', '.join(sorted(lacking)) or 'dates'}"
        raise BadAnswer(provider=NAME, ticker=symbol, reason=reason)
    order = np.argsort(dates.asi8, kind="stable")
    order = order[dates.notna()[order]]
    sessions = dates.tz_localize(None).to_numpy().astype("datetime64[D]")[order]
    numbers = np.array([_numbers(frame[name]) for name in _COLUMNS])[:, order]
    # Yahoo repeats an event on both rows of a session that it has two of.
    for events in numbers[-2:]:
        again = pd.DataFrame({"session": sessions, "event": events}).duplicated()
        events[again.to_numpy()] = 0
    return sessions, numbers


def _numbers(column: "pd.Series[Any]") -> Floats:
    if column.dtype == object:
        column = column.map(lambda cell: cell if isinstance(cell, (int, float)) else np.nan)
    return pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)


def _actions(sessions: Sessions, kind: ActionKind, values: Floats) -> Iterator[CorporateAction]:
    """Yield an action for every value of shape (sessions,) that is stated and not 0."""
    stated = (values != 0) & ~np.isnan(values)
    for session, value in zip(sessions[stated].tolist(), values[stated].tolist(), strict=True):
        yield CorporateAction(session=session, kind=kind, value=value)
