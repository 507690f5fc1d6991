"""Real index bars that need no network: 1999 to 2018, shipped inside the package `arch`."""

from collections.abc import Iterator, Sequence

import numpy as np

from stockbatch.exceptions import ProviderError
from stockbatch.providers.base import ProviderKind, answers, no_data, unknown_ticker, wanted
from stockbatch.records import BarRequest, Bars, FetchedBars, Listing, PriceBasis
from stockbatch.text import counted

NAMES = {"^GSPC": "S&P 500", "^IXIC": "NASDAQ Composite"}


class Demo:
    """The daily bars of two indices, which know neither splits nor dividends."""

    name = "demo"
    specification = "demo"
    price_basis = PriceBasis.AS_TRADED
    corrects_overnight = False

    def state(self) -> str:
        """Say how many tickers there are."""
        return f"lists {counted(len(NAMES), 'ticker')}"

    def listings(self) -> list[Listing]:
        """Return both indices."""
        return [self.listing(ticker) for ticker in NAMES]

    def listing(self, ticker: str) -> Listing:
        """Return one of the indices; raises UnknownTicker."""
        if ticker not in NAMES:
            raise unknown_ticker(self.name, ticker, NAMES)
        return Listing(
            ticker=ticker,
            symbol=ticker,
            name=NAMES[ticker],
            calendar="XNYS",
            currency="USD",
            asset_class="index",
        )

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request, in their order."""
        yield from answers(requests, self._bars)

    def _bars(self, request: BarRequest) -> FetchedBars:
        bars = _load(self.listing(request.symbol).ticker)
        bars = bars.where(wanted(bars.sessions, request))
        if not len(bars):
            raise no_data(self.name, request)
        return FetchedBars(symbol=request.symbol, bars=bars)

    def close(self) -> None:
        """Do nothing: the bars are read from the package each time."""


def _load(ticker: str) -> Bars:
    from arch.data import nasdaq, sp500

    frame = {"^GSPC": sp500, "^IXIC": nasdaq}[ticker].load()
    return Bars(
        sessions=frame.index.to_numpy().astype("datetime64[D]"),
        open=frame["Open"].to_numpy(float),
        high=frame["High"].to_numpy(float),
        low=frame["Low"].to_numpy(float),
        close=frame["Close"].to_numpy(float),
        volume=frame["Volume"].replace(0, np.nan).to_numpy(float),  # 0 means unknown here
    )


KIND = ProviderKind(make=lambda _setup: Demo(), about="the two indices of the demo")
