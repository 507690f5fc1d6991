"""A provider made of frames in memory: for the tests of jobs, here and in other people's code."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from stockbatch.exceptions import ProviderError
from stockbatch.providers.base import answers, no_data, unknown_ticker, wanted
from stockbatch.records import (
    ActionKind,
    BarRequest,
    Bars,
    CorporateAction,
    FetchedBars,
    Floats,
    Listing,
    PriceBasis,
)
from stockbatch.text import counted

NOTHING = {ActionKind.SPLIT: (0.0, 1.0), ActionKind.DIVIDEND: (0.0,)}
"""What says that there is no such action, as NaN does."""


@dataclass(kw_only=True)
class Frames:
    """Answers from `frames`, by ticker, which may change between two fetches.

    A frame has a row per session, oldest first, with dates as its index; the columns open, high,
    low and close; and where it has them volume, split (new shares per old one) and dividend.
    """

    frames: Mapping[str, pd.DataFrame]
    name: str = "frames"
    price_basis: PriceBasis = PriceBasis.AS_TRADED
    corrects_overnight: bool = False
    calendar: str = "XNYS"
    currency: str | None = None
    bases: Mapping[str, PriceBasis] = field(default_factory=dict)
    """By ticker, what its prices are adjusted for where that is not the `price_basis` of all."""
    failures: dict[str, ProviderError] = field(default_factory=dict)
    """By ticker, what is answered instead of its bars."""
    asked: list[BarRequest] = field(default_factory=list)
    """Everything that was asked for, in its order."""

    @property
    def specification(self) -> str:
        """Return the name: what there is to say of frames in memory."""
        return self.name

    def state(self) -> str:
        """Say how many tickers there are."""
        return f"lists {counted(len(self.frames), 'ticker')}"

    def listings(self) -> list[Listing]:
        """Return every ticker."""
        return [self.listing(ticker) for ticker in self.frames]

    def listing(self, ticker: str) -> Listing:
        """Return one ticker; raises UnknownTicker."""
        if ticker not in self.frames:
            raise unknown_ticker(self.name, ticker, self.frames)
        return Listing(ticker=ticker, symbol=ticker, calendar=self.calendar, currency=self.currency)

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request, in their order."""
        yield from answers(requests, self._bars)

    def close(self) -> None:
        """Do nothing: the frames belong to whoever made them."""

    def _bars(self, request: BarRequest) -> FetchedBars:
        self.asked.append(request)
        if request.symbol in self.failures:
            raise self.failures[request.symbol]
        frame = self.frames[self.listing(request.symbol).ticker]
        sessions = pd.DatetimeIndex(frame.index).to_numpy().astype("datetime64[D]")
        there = wanted(sessions, request)
        if not there.any():
            raise no_data(self.name, request)
        bars = Bars(
            sessions=sessions,
            open=_numbers(frame, "open"),
            high=_numbers(frame, "high"),
            low=_numbers(frame, "low"),
            close=_numbers(frame, "close"),
            volume=_numbers(frame, "volume"),
        ).where(there)
        actions = [
            CorporateAction(session=session, kind=kind, value=value)
            for kind, nothing in NOTHING.items()
            for session, value in zip(
                bars.sessions.tolist(), _numbers(frame, kind)[there].tolist(), strict=True
            )
            if value not in nothing and not np.isnan(value)
        ]
        return FetchedBars(
            symbol=request.symbol,
            bars=bars,
            actions=tuple(actions),
            currency=self.currency,
            price_basis=self.bases.get(request.symbol),
        )


def _numbers(frame: pd.DataFrame, column: str) -> Floats:
    """Return a column, shape (sessions,); one that there is not is unknown throughout."""
    if column not in frame:
        return np.full(len(frame), np.nan)
    return frame[column].to_numpy(float)
