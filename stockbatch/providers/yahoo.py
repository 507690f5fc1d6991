"""Bars from Yahoo Finance through yfinance, one request after the other."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yfinance
from yfinance.data import YfData
from yfinance.exceptions import (
    YFException,
    YFPricesMissingError,
    YFRateLimitError,
    YFTzMissingError,
)

from stockbatch.exceptions import (
    CannotList,
    NoCalendar,
    NoData,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnknownTicker,
)
from stockbatch.providers import answers
from stockbatch.records import (
    BarRequest,
    Bars,
    CorporateAction,
    FetchedBars,
    Floats,
    Listing,
    PriceBasis,
    Sessions,
)

_SUFFIXES = """
L XLON, DE XETR, F XFRA, PA XPAR, AS XAMS, BR XBRU, MI XMIL, MC XMAD, LS XLIS, SW XSWX, VI XWBO,
AT ASEX, ST XSTO, HE XHEL, CO XCSE, OL XOSL, WA XWAR, IS XIST, TA XTAE, SR XSAU, JO XJSE, T XTKS,
HK XHKG, SS XSHG, SZ XSHG, TW XTAI, TWO XTAI, KS XKRX, KQ XKRX, SI XSES, KL XKLS, BK XBKK, JK XIDX,
NS XBOM, BO XBOM, AX XASX, NZ XNZE, TO XTSE, V XTSE, CN XTSE, NE XTSE, SA BVMF, MX XMEX
"""
CALENDARS: dict[str, str] = dict(pair.split() for pair in _SUFFIXES.split(","))
"""The calendar of an exchange, after what follows the dot of Yahoo's symbols."""
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
NEW_YORK = ("America/New_York", "America/Chicago")
"""Zones in which a symbol without a suffix trades by the New York calendar."""
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, YFException)
"""What yfinance raises for an answer it cannot read, HTML pages included."""


class Yahoo:
    """Yahoo's bars, with the splits it has applied to them since taken out again.

    `cache` is a folder for yfinance's time zones and cookies, `session` an HTTP session in the
    place of its own, `pause` the seconds between two symbols.
    """

    name = "yfinance"
    specification = "yfinance"
    price_basis = PriceBasis.AS_TRADED

    def __init__(self, cache: Path, *, session: Any = None, pause: float = 0.5) -> None:
        self._session = session
        self._pause = pause
        yfinance.config.debug.hide_exceptions = False
        yfinance.set_tz_cache_location(str(cache))

    def listings(self) -> list[Listing]:
        """Raise CannotList: Yahoo has no list."""
        raise CannotList(provider=self.name)

    def listing(self, ticker: str) -> Listing:
        """Ask Yahoo about a symbol; raises UnknownTicker or NoCalendar."""
        YfData.cache_get.cache_clear()
        asked = self._ticker(ticker)
        if self._history(asked, ticker, period="5d") is None:
            hint = ": it has no prices of the last days"
            raise UnknownTicker(provider=self.name, ticker=ticker, hint=hint)
        about = asked.history_metadata
        kind = about.get("instrumentType")
        symbol = about.get("symbol") or ticker
        return Listing(
            ticker=symbol,
            symbol=symbol,
            name=about.get("longName") or about.get("shortName"),
            calendar=WITHOUT_PAUSE.get(kind) or _calendar(symbol, about),
            currency=about.get("currency"),
            asset_class=KINDS.get(kind, "other"),
        )

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request; once Yahoo has refused one, the rest is not asked."""
        YfData.cache_get.cache_clear()  # it keeps error replies
        asked = 0
        for asked, answer in enumerate(answers(requests, self._bars), 1):
            yield answer
            if isinstance(answer, RateLimited):
                break
            if asked < len(requests):
                time.sleep(self._pause)
        for request in requests[asked:]:
            yield RateLimited(provider=self.name, ticker=request.symbol)

    def _bars(self, request: BarRequest) -> FetchedBars:
        # Through now, whatever is asked for: later splits are in the prices of every session.
        start = {"start": request.first} if request.first else {"period": "max"}
        asked = self._ticker(request.symbol)
        frame = self._history(asked, request.symbol, **start)
        if frame is not None and not frame.empty:
            volumeless = asked.history_metadata.get("instrumentType") in WITHOUT_VOLUME
            fetched = _through(_as_traded(request.symbol, frame, volumeless), request)
            if len(fetched.bars) or fetched.actions:
                return fetched
        first = request.first or "the beginning"
        raise NoData(provider=self.name, ticker=request.symbol, first=first, last=request.last)

    def _ticker(self, symbol: str) -> Any:
        try:
            return yfinance.Ticker(symbol, session=self._session)
        except ValueError as error:
            raise UnknownTicker(provider=self.name, ticker=symbol, hint=f": {error}") from None

    def _history(self, asked: Any, symbol: str, **window: Any) -> Any:
        """Return yfinance's frame, a row per session; None where Yahoo has no prices.

        Raises a ProviderError for everything else that can go wrong.
        """
        about = {"provider": self.name, "ticker": symbol}
        try:
            return asked.history(interval="1d", auto_adjust=False, actions=True, **window)
        except YFRateLimitError:
            raise RateLimited(**about) from None
        except YFTzMissingError:
            raise UnknownTicker(**about, hint="") from None
        except YFPricesMissingError as error:
            if "No data found" in str(error.yahoo_reason):
                raise UnknownTicker(**about, hint="") from None
            if not error.yahoo_reason and "symbol" not in asked.history_metadata:
                raise ProviderUnavailable(**about, reason="its answer is no chart") from None
            return None
        except (OSError, *MALFORMED) as error:
            if getattr(getattr(error, "response", None), "status_code", None) == 404:
                raise UnknownTicker(**about, hint="") from None
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ProviderUnavailable(**about, reason=reason) from None


def _as_traded(symbol: str, frame: Any, volumeless: bool) -> FetchedBars:
    """Undo the splits in yfinance's prices, volumes and dividends, through the newest it states.

    Rows that state an event and no price become actions only.
    """
    frame = frame.sort_index()
    sessions = frame.index.tz_localize(None).to_numpy().astype("datetime64[D]")
    split, dividend = (frame[name].to_numpy(float) for name in ("Stock Splits", "Dividends"))
    ratio = np.where((split > 0) & (split < np.inf), split, 1.0)
    later = np.append(np.cumprod(ratio[::-1])[::-1], 1.0)[1:]
    prices = frame[["Open", "High", "Low", "Close"]].to_numpy(float) * later[:, None]
    volume = frame["Volume"].to_numpy(float) / later
    if volumeless:
        volume = np.where(volume == 0, np.nan, volume)
    opened, high, low, close = prices.T
    bars = Bars(sessions=sessions, open=opened, high=high, low=low, close=close, volume=volume)
    return FetchedBars(
        symbol=symbol,
        bars=bars.where(~np.isnan(prices).all(axis=1)),
        actions=(
            *_actions(sessions, "split", np.where(split == 1, 0, split)),
            *_actions(sessions, "dividend", dividend * later),
        ),
    )


def _actions(sessions: Sessions, kind: str, values: Floats) -> Iterator[CorporateAction]:
    """Yield an action for every value of shape (sessions,) that is not 0."""
    stated = values != 0
    for session, value in zip(sessions[stated].tolist(), values[stated].tolist(), strict=True):
        yield CorporateAction(session=session, kind=kind, value=value)


def _through(fetched: FetchedBars, request: BarRequest) -> FetchedBars:
    """Cut to what was asked for: Yahoo answers with more."""
    sessions = fetched.bars.sessions
    wanted = sessions <= np.datetime64(request.last, "D")
    if request.first is not None:
        wanted &= sessions >= np.datetime64(request.first, "D")
    actions = tuple(action for action in fetched.actions if action.session <= request.last)
    return FetchedBars(symbol=fetched.symbol, bars=fetched.bars.where(wanted), actions=actions)


def _calendar(symbol: str, about: Any) -> str:
    """Return the calendar of what trades with pauses; raises NoCalendar."""
    if "." in symbol:
        calendar = CALENDARS.get(symbol.rpartition(".")[2])
    else:
        calendar = "XNYS" if about.get("exchangeTimezoneName") in NEW_YORK else None
    if calendar is None:
        exchange = about.get("fullExchangeName") or about.get("exchangeName")
        raise NoCalendar(ticker=symbol, exchange=exchange)
    return calendar
