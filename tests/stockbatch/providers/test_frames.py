"""Frames in memory as a provider, alone and as what feeds a run."""

import math
from datetime import date, timedelta

import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from jobs.daily.fetch_only import fetch_session
from stockbatch.exceptions import NoData, RateLimited, UnknownTicker
from stockbatch.providers.frames import Frames
from stockbatch.records import BarRequest, CorporateAction, Listing, PriceBasis
from stockbatch.store import instruments
from tests.support.market import CODE, ORIGIN, calendar, fetch, session

LAST = date(2024, 6, 6)
DAYS = pd.to_datetime(["2024-06-03", "2024-06-04", "2024-06-05"])
FRAME = pd.DataFrame(
    {
        "open": [10.0, 11, 6],
        "high": [12.0, 12, 7],
        "low": [9.0, 10, 5],
        "close": [11.0, 12, 6],
        "split": [1, 0, 2],
        "dividend": [math.nan, 0.25, 0],
    },
    index=DAYS,
)
BARE = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 1.0), index=DAYS)


def ask(provider, *symbols, first=None, last=LAST):
    requests = [BarRequest(symbol=symbol, first=first, last=last) for symbol in symbols]
    return list(provider.fetch(requests))


def test_bars_splits_and_dividends():
    (answer,) = ask(Frames(frames={"AAA": FRAME}, currency="USD"), "AAA")
    assert answer.bars.sessions.tolist() == [date(2024, 6, day) for day in (3, 4, 5)]
    assert answer.bars.close.tolist() == [11, 12, 6]
    assert_array_equal(answer.bars.volume, [math.nan] * 3)
    assert answer.actions == (
        CorporateAction(session=date(2024, 6, 5), kind="split", value=2),
        CorporateAction(session=date(2024, 6, 4), kind="dividend", value=0.25),
    )
    assert (answer.symbol, answer.currency) == ("AAA", "USD")


def test_only_what_is_asked_for_is_answered():
    provider = Frames(frames={"AAA": FRAME, "BBB": BARE})
    day = date(2024, 6, 4)
    one, none, unknown = (
        *ask(provider, "AAA", first=day, last=day),
        *ask(provider, "BBB", first=LAST),
        *ask(provider, "AAB"),
    )
    assert (one.bars.close.tolist(), [a.value for a in one.actions]) == ([12], [0.25])
    assert isinstance(none, NoData)
    assert isinstance(unknown, UnknownTicker)
    assert str(unknown) == "frames does not know AAB: did you mean AAA?"
    assert [request.symbol for request in provider.asked] == ["AAA", "BBB", "AAB"]


def test_failures_are_answered_instead():
    provider = Frames(frames={"AAA": FRAME, "BBB": BARE}, name="mine")
    provider.failures["BBB"] = RateLimited(provider="mine", ticker="BBB")
    good, bad = ask(provider, "AAA", "BBB")
    assert len(good.bars) == 3
    assert str(bad) == "mine refused BBB: too many requests"


def test_tickers_are_listed():
    provider = Frames(frames={"AAA": FRAME, "BBB": BARE}, calendar="XLON", currency="GBp")
    assert provider.state() == "lists 2 tickers"
    assert provider.listings()[1] == Listing(
        ticker="BBB", symbol="BBB", calendar="XLON", currency="GBp"
    )
    with pytest.raises(UnknownTicker):
        provider.listing("CCC")


def feed(app, provider):
    """Let every ticker of the watchlist come from a provider."""
    app.providers[provider.specification] = provider
    with app.transaction() as db:
        instruments.remove(db, [i.ticker for i in instruments.active(db)])
        instruments.add(db, provider.listings(), provider=provider.specification, fallbacks={})


@pytest.mark.parametrize("corrects", [True, False])
def test_the_newest_bar_is_provisional_if_its_provider_corrects_it(app, market, corrects):
    frames = {ticker: pd.DataFrame(bars).T for ticker, bars in market.bars.items()}
    basis = PriceBasis.SPLIT_ADJUSTED
    feed(app, Frames(frames=frames, price_basis=basis, corrects_overnight=corrects))
    app.clock = lambda: calendar().close(ORIGIN) + timedelta(hours=1)
    fetch_session(app, CODE, ORIGIN)
    stored = (
        "SELECT DISTINCT specification, price_basis, state FROM stockbatch.bars"
        " JOIN stockbatch.sources AS s ON s.id = source_id WHERE session = :day"
    )
    newest = {"specification": "frames", "price_basis": "split_adjusted", "state": "final"}
    assert fetch(app.engine, stored, day=session(-1)) == [newest]
    newest["state"] = "provisional" if corrects else "final"
    assert fetch(app.engine, stored, day=ORIGIN) == [newest]


def test_an_app_closes_the_providers_it_used(app):
    class Noting(Frames):
        def close(self):
            self.closed = True

    provider = Noting(frames={})
    app.providers[provider.specification] = provider
    assert app.provider("frames") is provider
    app.close()
    assert provider.closed
