"""Prices adjusted for dividends: what is stored of them, and what a dividend must not change."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from jobs.daily.fetch_only import fetch_session
from stockbatch.market.adjustments import total_log_returns
from stockbatch.providers.frames import Frames
from stockbatch.records import Action, PriceBasis, Reason
from stockbatch.store import bars, instruments, sources
from tests.support.market import CODE, ORIGIN, TICKERS, calendar, fetch, outcomes, run, session
from tests.support.places import DATA

CASES = DATA.parent / "cases"
LONG_AGO = session(-20)
REUSED = Action.REUSED, Reason.FRESH
PRICES = ["open", "high", "low", "close"]
ACTIONS = (
    "SELECT session, kind, value, in_prices FROM stockbatch.corporate_actions AS a"
    " JOIN stockbatch.instruments AS i ON i.id = instrument_id"
    " WHERE ticker = :ticker AND retracted_at IS NULL ORDER BY session, kind"
)
CLOSES = (
    "SELECT session, close, state, revision, bars.price_basis FROM stockbatch.bars"
    " JOIN stockbatch.instruments AS i ON i.id = instrument_id"
    " WHERE ticker = :ticker ORDER BY session"
)


class Adjusted(Frames):
    """Tells the bars of a market up to `today` as a provider that adjusts for dividends does."""

    def __init__(self, market, **options):
        super().__init__(frames={}, price_basis=PriceBasis.TOTAL_RETURN, **options)
        self.market, self.decimals = market, None
        self.paid = {ticker: {} for ticker in market.bars}
        """Dividends by ticker and ex-session, as shares of the close before."""
        self.wrong = {}
        """By ticker and session, how many times too high a bar is."""
        self.until(ORIGIN)

    def pay(self, ticker, share, day):
        self.paid[ticker][day] = share

    def until(self, today, *restated):
        """Let it be the evening of a session; `restated` ex-dates are ahead of their time."""
        self.frames = {t: self._frame(t, today, restated) for t in self.market.bars}

    def _frame(self, ticker, today, restated):
        frame = pd.DataFrame(self.market.bars[ticker]).T
        frame = frame[[day <= today for day in frame.index]].copy()
        frame = frame.rename(columns={"split_coefficient": "split"})
        for day, share in self.paid[ticker].items():
            if day <= today or day in restated:
                before = frame.index < day
                if day in frame.index:
                    frame.loc[day, "dividend"] = share * frame.loc[before, "close"].iloc[-1]
                frame.loc[before, PRICES] *= 1 - share
        for (of, day), times in self.wrong.items():
            if of == ticker and day in frame.index:
                frame.loc[day, PRICES] *= times
        return frame if self.decimals is None else frame.round(dict.fromkeys(PRICES, self.decimals))


def feed(app, provider):
    """Let every ticker of the watchlist come from a provider, and the clock stand with it."""
    app.providers[provider.specification] = provider
    with app.transaction() as db:
        instruments.remove(db, [i.ticker for i in instruments.active(db)])
        instruments.add(db, provider.listings(), provider=provider.specification, fallbacks={})


@pytest.fixture
def adjusted(app, market):
    provider = Adjusted(market)
    feed(app, provider)
    return provider


def evening(app, provider, day, *restated, act=fetch_session):
    provider.until(day, *restated)
    app.clock = lambda: calendar().close(day) + timedelta(hours=1)
    return act(app, CODE, day) if act is fetch_session else act(app, day)


def returns(app, ticker, first, last):
    """Return the log returns by session, as every forecast is made of them."""
    days = calendar().between(first, last)
    with app.transaction() as db:
        (one,) = [i for i in instruments.active(db) if i.ticker == ticker]
        panel = bars.load_panel(db, [one], days)
    return dict(zip(days.tolist(), total_log_returns(panel)[0].tolist(), strict=True))


def true_returns(provider, ticker, first, last):
    """Return what a holder got, by session: the market's bars are without each dividend paid."""
    bars_of = provider.market.bars[ticker]
    close = {day: bar["close"] for day, bar in bars_of.items() if first <= day <= last}
    days = list(close)
    paid = provider.paid[ticker]
    return {
        day: np.log(close[day] / close[before]) - np.log1p(-paid.get(day, 0))
        for day, before in zip(days[1:], days, strict=False)
    }


def assert_true(app, provider, ticker="AAA", first=LONG_AGO, last=ORIGIN, within=1e-9):
    expected = true_returns(provider, ticker, first, last)
    found = returns(app, ticker, first, last)
    assert {d: found[d] for d in expected} == {
        d: pytest.approx(value, abs=within) for d, value in expected.items()
    }


def actions(app, ticker="AAA", kind=None):
    rows = fetch(app.engine, ACTIONS, ticker=ticker)
    return [row for row in rows if kind in (None, row["kind"])]


def findings(app):
    return fetch(
        app.engine,
        "SELECT check_name, message FROM stockbatch.data_issues WHERE check_name NOT LIKE 'jump%'",
    )


def revisions(app):
    return fetch(app.engine, "SELECT * FROM stockbatch.bar_revisions")


def test_dividends_are_stored_and_counted_once(app, market, adjusted):
    adjusted.pay("AAA", 0.05, session(-3))
    evening(app, adjusted, ORIGIN)
    (paid,) = actions(app)
    assert (paid["session"], paid["kind"], paid["in_prices"]) == (session(-3), "dividend", True)
    assert_true(app, adjusted)
    assert {row["price_basis"] for row in fetch(app.engine, CLOSES, ticker="AAA")} == {
        "total_return"
    }


@pytest.mark.parametrize("corrects", [False, True], ids=["final", "provisional"])
def test_ex_dates_change_nothing_that_was_stored(app, market, adjusted, corrects):
    adjusted.corrects_overnight = corrects
    ex_dates = {session(2): 0.05, session(5): 0.0004, session(6): 0.2 / 7, session(9): 0.01}
    for day, share in ex_dates.items():
        adjusted.pay("AAA", share, day)
    evening(app, adjusted, ORIGIN)
    before = fetch(app.engine, CLOSES, ticker="AAA")
    for offset in range(1, 11):
        evening(app, adjusted, session(offset))
        evening(app, adjusted, session(offset))  # once more changes nothing
    assert_true(app, adjusted, first=session(-20), last=session(10))
    now = fetch(app.engine, CLOSES, ticker="AAA")
    assert [row["close"] for row in now[: len(before)]] == [row["close"] for row in before]
    assert {row["revision"] for row in now} == {1}
    assert (revisions(app), findings(app)) == ([], [])
    restated = actions(app, kind="restatement")
    assert [row["session"] for row in restated] == list(ex_dates)
    assert [1 / row["value"] for row in restated] == pytest.approx(
        [1 - share for share in ex_dates.values()], rel=1e-9
    )
    assert [row["session"] for row in actions(app, kind="dividend")] == list(ex_dates)


def test_sessions_may_be_left_out(app, market, adjusted):
    for offset, share in {2: 0.03, 4: 0.02, 5: 0.01, 8: 0.004}.items():
        adjusted.pay("AAA", share, session(offset))
    for offset in (0, 5, 6, 9):
        evening(app, adjusted, session(offset))
    assert_true(app, adjusted, last=session(9))
    restated = {row["session"]: row["value"] for row in actions(app, kind="restatement")}
    assert restated == {
        session(1): pytest.approx(1 / (0.97 * 0.98 * 0.99)),
        session(7): pytest.approx(1 / 0.996),
    }
    assert (revisions(app), findings(app)) == ([], [])


def test_a_restatement_ahead_of_its_bar_waits_for_it(app, market, adjusted):
    adjusted.pay("AAA", 0.03, session(1))
    evening(app, adjusted, ORIGIN)
    app.clock = lambda: calendar().close(session(1)) + timedelta(hours=1)
    adjusted.until(ORIGIN, session(1))
    fetch_session(app, CODE, session(1))
    assert actions(app) == []
    evening(app, adjusted, session(1))
    assert_true(app, adjusted, last=session(1))
    assert (revisions(app), findings(app)) == ([], [])


@pytest.mark.parametrize("decimals", [2, 4])
def test_published_prices_are_rounded(app, market, adjusted, decimals):
    market.multiply("AAA", 0.1, session(-149), session(30))
    adjusted.decimals = decimals
    for offset, share in {3: 0.01, 7: 0.013}.items():
        adjusted.pay("AAA", share, session(offset))
    for offset in range(9):
        evening(app, adjusted, session(offset))
    first = session(2)
    assert_true(app, adjusted, first=first, last=session(8), within=3 * 10**-decimals / 5)
    assert len(actions(app, kind="restatement")) == 2
    assert (revisions(app), findings(app)) == ([], [])


def test_a_corrected_bar_beside_a_dividend_is_corrected_alone(app, market, adjusted):
    adjusted.pay("AAA", 0.03, session(1))
    evening(app, adjusted, ORIGIN)
    market.multiply("AAA", 1.01, session(-4))
    evening(app, adjusted, session(1))
    assert_true(app, adjusted, last=session(1))
    assert [row["session"] for row in revisions(app)] == [session(-4)]
    (found,) = findings(app)
    assert found == {
        "check_name": "restated_bar",
        "message": "the close is 1.01 times what it was",
    }


def test_a_dividend_told_too_late_is_told_in_time_afterwards(app, market, adjusted):
    """The provider restates two sessions after its ex-date: those two were wrong."""
    evening(app, adjusted, ORIGIN)
    evening(app, adjusted, session(1))
    evening(app, adjusted, session(2))
    adjusted.pay("AAA", 0.03, session(1))
    evening(app, adjusted, session(3))
    assert_true(app, adjusted, last=session(3))


@pytest.mark.parametrize("times", [0.4, 1.07, 100])
def test_what_no_dividend_does_is_set_aside(app, market, adjusted, times):
    evening(app, adjusted, ORIGIN)
    market.multiply("AAA", times, session(-149), session(30))
    evening(app, adjusted, session(1))
    (found,) = findings(app)
    assert found["check_name"] == "restated_history"
    assert actions(app) == []
    assert fetch(app.engine, CLOSES, ticker="AAA")[-1]["state"] == "quarantined"


@pytest.mark.parametrize("dividend", [None, 0.01], ids=["alone", "with a dividend"])
def test_a_stated_split_restates_as_before(app, market, adjusted, dividend):
    adjusted.pay("AAA", 0.02, session(1))
    evening(app, adjusted, ORIGIN)
    evening(app, adjusted, session(1))
    if dividend:
        adjusted.pay("AAA", dividend, session(2))
    market.bars["AAA"][session(2)]["split_coefficient"] = 7.0
    market.multiply("AAA", 1 / 7, session(-149), session(30))  # adjusted for it throughout
    evening(app, adjusted, session(2))
    assert_true(app, adjusted, last=session(2))
    assert actions(app, kind="restatement") == [], "all is fetched anew, on one basis"
    assert [row["in_prices"] for row in actions(app, kind="split")] == [True]
    assert [row["check_name"] for row in findings(app)] == ["restated_history"]
    first, *_, last = fetch(app.engine, CLOSES, ticker="AAA")
    assert last["close"] == pytest.approx(market.bars["AAA"][session(2)]["close"])
    assert first["revision"] == 2


def test_a_missing_session_filled_later_gets_the_basis_of_its_neighbours(app, market, adjusted):
    gone = market.bars["AAA"].pop(session(-2))
    evening(app, adjusted, ORIGIN)
    days = sorted([*market.bars["AAA"], session(-2)])
    market.bars["AAA"][session(-2)] = gone
    market.bars["AAA"] = {day: market.bars["AAA"][day] for day in days}
    adjusted.pay("AAA", 0.04, session(1))
    evening(app, adjusted, session(1))
    assert_true(app, adjusted, last=session(1))


# ---- another basis


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PriceBasis.AS_TRADED, PriceBasis.TOTAL_RETURN),
        (PriceBasis.TOTAL_RETURN, PriceBasis.AS_TRADED),
        (PriceBasis.SPLIT_ADJUSTED, PriceBasis.TOTAL_RETURN),
    ],
)
def test_another_basis_is_fetched_as_a_whole(app, market, adjusted, before, after):
    """What somebody says with --basis, or what a better reading of a file finds."""
    adjusted.pay("AAA", 0.04, session(-30))
    adjusted.pay("AAA", 0.04, session(1))
    total_return = {}
    for basis in (before, after):
        adjusted.bases = dict.fromkeys(market.bars, basis)
        for offset in (0, 1) if basis is before else (2, 3):
            evening(app, adjusted, session(offset))
        total_return[basis] = basis is PriceBasis.TOTAL_RETURN
    stored = fetch(app.engine, CLOSES, ticker="AAA")
    assert {row["price_basis"] for row in stored} == {after}
    assert {row["in_prices"] for row in actions(app, kind="dividend")} == {total_return[after]}
    assert actions(app, kind="restatement") == []
    (message,) = {row["message"] for row in findings(app) if "prices come" in row["message"]}
    assert "prices come" in message
    if total_return[after]:
        assert_true(app, adjusted, first=session(-40), last=session(3))


def test_another_providers_prices_as_traded_are_not_put_beside(app, market, adjusted):
    evening(app, adjusted, ORIGIN)
    with app.transaction() as db:
        another = {"id": sources.number(db, "another")}
        db.execute(text("UPDATE stockbatch.bars SET source_id = :id"), another)
    adjusted.bases = {"AAA": PriceBasis.AS_TRADED}
    evening(app, adjusted, session(1))
    (found,) = findings(app)
    assert found == {
        "check_name": "providers_apart",
        "message": "prices come as traded, those stored are adjusted for splits and dividends",
    }
    assert fetch(app.engine, CLOSES, ticker="AAA")[-1]["state"] == "quarantined"
    assert fetch(app.engine, CLOSES, ticker="BBB")[-1]["state"] == "final"


# ---- what a dividend must not change


def test_a_dividend_retrains_and_scores_nothing_anew(app, market, adjusted):
    for ticker in TICKERS:
        adjusted.pay(ticker, 0.03, session(2))
    for offset in (0, 1):
        evening(app, adjusted, session(offset), act=run)
    tables = ("scores", "market_inputs", "models", "bars")
    columns = {
        "scores": "s.*",
        "market_inputs": "s.*",
        "models": "s.id, s.fingerprint",
        "bars": "s.instrument_id, s.session, s.close, s.revision",
    }
    known = [
        {repr(row) for row in fetch(app.engine, f"SELECT {columns[t]} FROM stockbatch.{t} AS s")}
        for t in tables
    ]
    for offset in (2, 3):
        evening(app, adjusted, session(offset), act=run)
        assert outcomes(app.engine, session(offset)) == dict.fromkeys(TICKERS, REUSED)
    for table, before in zip(tables, known, strict=True):
        rows = fetch(app.engine, f"SELECT {columns[table]} FROM stockbatch.{table} AS s")
        assert before <= {repr(row) for row in rows}, table
    # A model that learned from across the ex-date is not changed by looking again, either.
    evening(app, adjusted, session(4), act=run)
    scored = fetch(
        app.engine,
        "SELECT ticker, target_session, actual_log_return FROM stockbatch.scores AS s"
        " JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
        " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id WHERE method = 'naive'",
    )
    assert len(scored) == 3 * 4
    for row in scored:
        true = true_returns(adjusted, row["ticker"], ORIGIN, session(4))[row["target_session"]]
        assert row["actual_log_return"] == pytest.approx(true)


def test_prices_shown_are_on_the_basis_of_the_last_bar(app, market, adjusted):
    adjusted.pay("AAA", 0.03, session(2))
    for offset in range(4):
        evening(app, adjusted, session(offset), act=run)
    rows = fetch(
        app.engine,
        "SELECT * FROM bi.price_and_forecast WHERE ticker = 'AAA' ORDER BY session",
    )
    told = adjusted.frames["AAA"]
    with_bar = [row for row in rows if row["close"] is not None]
    assert [row["close"] for row in with_bar] == pytest.approx(told["close"].tolist())
    assert [row["volume"] for row in with_bar] == told["volume"].tolist(), "no share was split"
    by_day = {row["session"]: row for row in rows}
    for offset in (1, 2, 3):
        made = fetch(
            app.engine,
            "SELECT log_return FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i"
            " ON i.id = f.instrument_id"
            " WHERE ticker = 'AAA' AND target_session = :day AND method = 'lstm'",
            day=session(offset),
        )
        expected = told["close"][session(offset - 1)] * np.exp(made[0]["log_return"])
        assert by_day[session(offset)]["forecast_close"] == pytest.approx(expected)


def test_scores_follow_when_all_is_fetched_anew(app, market, adjusted):
    """After a split all prices are stored anew, lowered by every dividend paid in between."""
    adjusted.pay("AAA", 0.03, session(2))
    for offset in range(4):
        evening(app, adjusted, session(offset), act=run)
    market.bars["AAA"][session(4)]["split_coefficient"] = 7.0
    market.multiply("AAA", 1 / 7, session(-149), session(30))
    evening(app, adjusted, session(4), act=run)
    scored = fetch(
        app.engine,
        "SELECT target_session, actual_log_return, revision FROM stockbatch.scores AS s"
        " JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
        " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id"
        " WHERE method = 'naive' AND ticker = 'AAA'",
    )
    true = true_returns(adjusted, "AAA", ORIGIN, session(4))
    assert {row["revision"] for row in scored} == {1, 2}
    for row in scored:
        assert row["actual_log_return"] == pytest.approx(true[row["target_session"]])


# ---- real layouts


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
def test_the_case_of_a_dividend_counted_twice(app):
    table = pd.read_csv(CASES / "dividends-twice" / "ADJ.csv")
    table.columns = table.columns.str.lower()
    table.index = pd.to_datetime(table["date"].str[:10]).dt.date
    frame = table.rename(columns={"dividends": "dividend", "stock splits": "split"})
    feed(app, Frames(frames={"ADJ": frame}, price_basis=PriceBasis.TOTAL_RETURN))
    day = frame.index[-3]
    fetch_session(app, CODE, frame.index[-1])
    found = returns(app, "ADJ", frame.index[0], frame.index[-1])[day]
    assert 100 * np.expm1(found) == pytest.approx(0.2638, abs=1e-3)
    assert [(row["session"], row["value"]) for row in actions(app, "ADJ")] == [(day, 4.99)]


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
def test_the_case_of_a_dividend_that_restates_history(app):
    frames = []
    for name in ("day1", "day2"):
        table = pd.read_csv(CASES / "dividend-restates-history" / f"{name}.csv")
        table.columns = table.columns.str.lower()
        table.index = pd.to_datetime(table["date"]).dt.date
        frames.append(table)
    provider = Frames(frames={"AAA": frames[0]}, price_basis=PriceBasis.TOTAL_RETURN)
    feed(app, provider)
    for frame in frames:
        provider.frames = {"AAA": frame}
        fetch_session(app, CODE, frame.index[-1])
    day = frame.index[-1]
    close = frame["close"]
    assert returns(app, "AAA", frame.index[0], day)[day] == pytest.approx(
        np.log(close.iloc[-1] / close.iloc[-2])
    )
    assert (revisions(app), findings(app)) == ([], [])
    assert [(row["session"], row["kind"]) for row in actions(app)] == [(day, "restatement")]
