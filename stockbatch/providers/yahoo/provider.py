"""Bars from Yahoo Finance through yfinance: a few workers, one pace, patience with refusals."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import yfinance
import yfinance.cache
from tenacity import Retrying
from yfinance.data import YfData
from yfinance.exceptions import YFPricesMissingError

from stockbatch.exceptions import (
    CannotList,
    ConfigurationError,
    ProviderError,
    RateLimited,
    UnknownTicker,
)
from stockbatch.providers.base import no_data
from stockbatch.providers.pacing import FIRST_PAUSE, Pauses
from stockbatch.providers.yahoo import asking
from stockbatch.providers.yahoo import chart as yahoo_chart
from stockbatch.providers.yahoo.asking import PacedSession
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis

WORKERS = 3
"""Requests under way at once: enough to keep the pace although an answer takes a second or two."""

Answer = FetchedBars | ProviderError


def _now() -> datetime:
    return datetime.now(UTC)


class Yahoo:
    """Yahoo's bars, with the splits it has applied to them since taken out again.

    `cache` is a folder, on a local disk, for yfinance's time zones and cookies: one process at a
    time. Refusals hold all workers back for `patience` seconds in total, then the rest is given
    up. `first_pause`, `retry_wait` and `timeout` are in seconds.
    """

    name = yahoo_chart.NAME
    specification = "yfinance"
    price_basis = PriceBasis.AS_TRADED
    corrects_overnight = True

    def __init__(
        self,
        cache: Path,
        session: PacedSession,
        *,
        patience: float = 3600.0,
        first_pause: float = FIRST_PAUSE,
        retry_wait: float = 1.0,
        timeout: float = 10.0,
        waiting: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._cache = cache
        self._waiting = waiting
        self._session = session
        self._patience = patience
        self._first_pause = first_pause
        self._retry_wait = retry_wait
        self._timeout = timeout
        self._clock = clock
        asking.prepare(cache)

    def state(self) -> str:
        """Say where the caches are; raises ConfigurationError if they cannot be written."""
        folder = next(f for f in (self._cache, *self._cache.parents) if f.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            reason = "it cannot be written to, so that every request is preceded by another"
            raise ConfigurationError(source=self.name, key=folder, reason=reason)
        return f"asked only when bars are fetched; caches in {self._cache}"

    def listings(self) -> list[Listing]:
        """Raise CannotList: Yahoo has no list."""
        raise CannotList(provider=self.name)

    def listing(self, ticker: str) -> Listing:
        """Ask Yahoo about a symbol; raises UnknownTicker, NoCalendar and what a fetch meets."""
        YfData.cache_get.cache_clear()
        ask = self._retrying(threading.Event())
        frame, about = ask(self._history, ticker, period="5d")
        if frame is None:
            hint = ": it has no prices of the last days"
            raise UnknownTicker(provider=self.name, ticker=ticker, hint=hint)
        return yahoo_chart.listing(ticker, about)

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[Answer]:
        """Yield one answer per request, in random order; closing the iterator stops the workers."""
        asking.forget()
        order = np.random.default_rng().permutation(len(requests))
        todo = deque(requests[position] for position in order)
        answers: SimpleQueue[Answer | BaseException] = SimpleQueue()
        stopped = threading.Event()
        pauses = Pauses(
            self.name, self._patience, stopped, first=self._first_pause, waiting=self._waiting
        )
        for _ in range(min(WORKERS, len(requests))):
            # nobody waits for a daemon: what it asked for last may take until the time-out
            work = (todo, answers, pauses, stopped)
            threading.Thread(target=self._work, args=work, daemon=True, name="yfinance").start()
        try:
            for _ in requests:
                answer = answers.get()
                if not isinstance(answer, Answer):
                    raise answer
                yield answer
        finally:
            stopped.set()

    def close(self) -> None:
        """Close the connections of this thread: those of the workers end with them."""
        self._session.close()

    def _work(
        self,
        todo: deque[BarRequest],
        answers: SimpleQueue[Answer | BaseException],
        pauses: Pauses,
        stopped: threading.Event,
    ) -> None:
        """Answer requests until there are none left or the pass is stopped."""
        try:
            while todo and not stopped.is_set():
                try:
                    request = todo.popleft()
                except IndexError:  # another worker was faster
                    break
                answers.put(self._answer(request, pauses, stopped))
        except BaseException as error:  # noqa: BLE001 (raised where the answers are read)
            answers.put(error)
        finally:
            for cache in (yfinance.cache.get_tz_cache(), yfinance.cache.get_cookie_cache()):
                if cache.db is not None:
                    cache.db.close()  # each thread has a connection of its own

    def _answer(self, request: BarRequest, pauses: Pauses, stopped: threading.Event) -> Answer:
        refusal = RateLimited(provider=self.name, ticker=request.symbol)
        while True:
            known = pauses.wait()
            if pauses.exhausted or stopped.is_set():
                return refusal
            try:
                return self._retrying(stopped)(self._bars, request)
            except RateLimited:
                asking.forget()
                pauses.begin(known)
            except ProviderError as error:
                return type(error)(**{**error.values, "ticker": request.symbol})

    def _retrying(self, stopped: threading.Event) -> Retrying:
        return asking.retrying(stopped, self._retry_wait)

    def _bars(self, request: BarRequest) -> FetchedBars:
        # Through the day after tomorrow, whatever is asked for: later splits are in all prices,
        # that of today before the open too, and a window that has passed would come from a cache.
        window = {"start": request.first} if request.first else {"period": "max"}
        end = (self._clock() + timedelta(days=2)).date()
        frame, about = self._history(request.symbol, **window, end=end)
        if frame is not None:
            fetched = yahoo_chart.fetched_bars(request, frame, about)
            if len(fetched.bars) or fetched.actions:
                return fetched
        raise no_data(self.name, request)

    def _history(self, symbol: str, **window: Any) -> tuple[Any, Mapping[str, Any]]:
        """Return yfinance's frame, a row per session, or None where Yahoo has no prices.

        The mapping is what Yahoo says about the symbol. Raises a ProviderError for everything else
        that can go wrong.
        """
        asked: Any = None
        try:
            asked = yfinance.Ticker(symbol, session=self._session)
            frame = asked.history(
                interval="1d", auto_adjust=False, actions=True, timeout=self._timeout, **window
            )
        except YFPricesMissingError as error:
            frame = None
            if "No data found" in str(error.yahoo_reason):
                raise asking.unknown(symbol) from None
            if not error.yahoo_reason and "symbol" not in asked.history_metadata:
                raise asking.unreadable(symbol, "there is no chart in it") from None
        except Exception as error:  # noqa: BLE001 (yfinance raises whatever the answer leads to)
            raise asking.told(symbol, error, known=asked is not None) from None
        about = asked.history_metadata
        answered = about.get("symbol")
        if frame is not None and str(answered).upper() != symbol.upper():
            raise asking.unknown(symbol, f": it answers for {answered}, perhaps the new name")
        return (None if frame is None or frame.empty else frame), about
