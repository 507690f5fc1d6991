"""A made-up live provider: what it says of its tickers is what a test lets it say."""

from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np

from jobs.app import App
from stockbatch.exceptions import NoData, ProviderError
from stockbatch.providers.base import answers
from stockbatch.records import (
    BarRequest,
    Bars,
    CorporateAction,
    FetchedBars,
    Listing,
    PriceBasis,
    Source,
)
from stockbatch.store import instruments
from tests.support.market import Market

PRICES = ("open", "high", "low", "close")


class Feed:
    """Answers with the bars of a market, which it tells `times` as high, and notes requests."""

    corrects_overnight = True

    def __init__(self, name: str, market: Market, basis: PriceBasis = PriceBasis.AS_TRADED) -> None:
        self.name = self.specification = name
        self.price_basis = basis
        self.market = market
        self.asked: list[BarRequest] = []
        self.times: dict[str, float] = {}
        self.failing: dict[str, ProviderError] = {}
        self.currency: str | None = None

    def listing(self, ticker: str) -> Listing:
        return Listing(ticker=ticker, symbol=ticker, currency=self.currency)

    def listings(self) -> list[Listing]:
        return [self.listing(ticker) for ticker in self.market.bars]

    def fetch(self, requests: Iterable[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        yield from answers(requests, self._bars)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def _bars(self, request: BarRequest) -> FetchedBars:
        self.asked.append(request)
        if error := self.failing.get(request.symbol):
            raise error
        first = request.first or date.min
        known = self.market.bars[request.symbol]
        days = [day for day in known if first <= day <= request.last]
        if not days:
            about = {"first": first, "last": request.last}
            raise NoData(provider=self.name, ticker=request.symbol, **about)
        times = self.times.get(request.symbol, 1.0)
        prices = {name: np.array([known[day][name] * times for day in days]) for name in PRICES}
        bars = Bars(
            sessions=np.array(days, dtype="datetime64[D]"),
            volume=np.array([known[day]["volume"] for day in days]),
            **prices,
        )
        return FetchedBars(
            symbol=request.symbol,
            bars=bars,
            actions=tuple(self._actions(known, days)),
            currency=self.currency,
        )

    def _actions(self, known: dict, days: list[date]) -> Iterator[CorporateAction]:
        if self.price_basis is PriceBasis.SPLIT_ADJUSTED:
            return
        for day in days:
            for kind, column, none in (
                ("split", "split_coefficient", 1),
                ("dividend", "dividend_amount", 0),
            ):
                if known[day][column] != none:
                    yield CorporateAction(session=day, kind=kind, value=known[day][column])


def feed(app: App, *feeds: Feed) -> None:
    """Let the tickers of the watchlist be fed by `feeds`, each where those before it fail."""
    for one in feeds:
        app.providers[one.specification] = one
    first, *others = feeds
    with app.transaction() as db:
        known = instruments.active(db)
        instruments.remove(db, [i.ticker for i in known])
        listings = [first.listing(i.ticker) for i in known]
        sources = {
            i.ticker: [Source(provider=o.specification, symbol=i.ticker) for o in others]
            for i in known
        }
        instruments.add(db, listings, provider=first.specification, fallbacks=sources)


def copy(market: Market, file: object) -> Market:
    """Return a market with the same bars, to be changed on its own."""
    other = Market(file, [])
    other.bars = {t: {d: dict(bar) for d, bar in bars.items()} for t, bars in market.bars.items()}
    other.write()
    return other
