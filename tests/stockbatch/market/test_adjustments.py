import csv
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.market.adjustments import (
    adjusted_closes,
    following_log_returns,
    overnight_gaps,
    restate,
    total_log_returns,
)
from stockbatch.records import Panel
from tests.support import places

DATA = places.DATA / "alpha_vantage_csv"
FUNCTIONS = (total_log_returns, overnight_gaps, adjusted_closes)


def panel(close, open_=None, split=None, dividend=None):
    close = np.atleast_2d(np.asarray(close, np.float64))

    def field(values, default):
        if values is None:
            return np.full(close.shape, default)
        return np.atleast_2d(np.asarray(values, np.float64))

    opens = close * 0.99 if open_ is None else field(open_, 0)
    return Panel(
        tickers=tuple(f"T{row}" for row in range(len(close))),
        sessions=np.datetime64("2020-01-01") + np.arange(close.shape[1]),
        open=opens,
        high=np.fmax(opens, close),
        low=np.fmin(opens, close),
        close=close,
        volume=np.full(close.shape, np.nan),
        split=field(split, 1),
        dividend=field(dividend, 0),
        confirmed=np.zeros(close.shape, bool),
    )


@st.composite
def panels(draw, missing=True):
    """Random walks with splits, dividends and missing bars."""
    tickers, sessions = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (tickers, sessions)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.03, shape), axis=1))
    opens = close * np.exp(random.normal(0, 0.01, shape))
    if missing:
        gone = random.random(shape) < draw(st.sampled_from([0, 0.1, 0.5, 1]))
        close[gone] = opens[gone] = np.nan
    split = np.where(random.random(shape) < 0.2, random.choice([2, 3, 1.5, 7, 0.1], shape), 1.0)
    dividend = np.where(random.random(shape) < 0.2, random.uniform(0, 5, shape), 0.0)
    return panel(close, opens, split, dividend)


def loop_returns(prices, bars):
    """The definition, one number at a time."""
    returns = np.full(prices.shape, math.nan)
    for ticker in range(prices.shape[0]):
        for t in range(1, prices.shape[1]):
            before, now = float(bars.close[ticker, t - 1]), float(prices[ticker, t])
            if not math.isnan(before) and not math.isnan(now):
                cash = float(bars.dividend[ticker, t])
                wealth = float(bars.split[ticker, t]) * (now + cash)
                returns[ticker, t] = math.log(wealth / before)
    return returns


def loop_adjusted(bars):
    """Walk back from the end; dividends without a close wait for the next one."""
    adjusted = np.full(bars.close.shape, math.nan)
    for ticker in range(bars.close.shape[0]):
        divisor, following = 1.0, math.nan  # the next close on the basis of t
        for t in reversed(range(bars.close.shape[1])):
            close = float(bars.close[ticker, t])
            if not math.isnan(close):
                adjusted[ticker, t] = close / divisor
                following = close
            if not math.isnan(following):
                divisor *= 1 + float(bars.dividend[ticker, t]) / following
                following *= float(bars.split[ticker, t])
            divisor *= float(bars.split[ticker, t])
    return adjusted


@given(panels())
def test_every_function_equals_its_plain_loop(bars):
    assert_allclose(total_log_returns(bars), loop_returns(bars.close, bars), atol=1e-12)
    assert_allclose(overnight_gaps(bars), loop_returns(bars.open, bars), atol=1e-12)
    assert_allclose(adjusted_closes(bars), loop_adjusted(bars), rtol=1e-12)


@given(panels())
def test_nothing_is_changed_in_place(bars):
    before = {name: getattr(bars, name).copy() for name in ("open", "close", "split", "dividend")}
    for function in FUNCTIONS:
        function(bars)
    for name, values in before.items():
        assert_array_equal(getattr(bars, name), values)


@given(panels(), st.data())
def test_an_inserted_split_changes_no_return(bars, data):
    session = data.draw(st.integers(0, bars.close.shape[1] - 1))
    ratio = data.draw(st.sampled_from([2, 3, 1.5, 4 / 3, 0.1, 20, 7.00000700001]))
    after = np.arange(bars.close.shape[1]) >= session
    per_share = np.where(after, 1 / ratio, 1.0)
    split = bars.split.copy()
    split[:, session] *= ratio
    divided = panel(bars.close * per_share, bars.open * per_share, split, bars.dividend * per_share)
    assert_allclose(total_log_returns(divided), total_log_returns(bars), atol=1e-12)
    assert_allclose(overnight_gaps(divided), overnight_gaps(bars), atol=1e-12)
    assert_allclose(adjusted_closes(divided), adjusted_closes(bars) / ratio, rtol=1e-12)


@given(panels(), st.data())
def test_a_dividend_is_undone(bars, data):
    """Cash paid out lowers the price from then on, but is no loss."""
    session = data.draw(st.integers(0, bars.close.shape[1] - 1))
    share = data.draw(st.floats(0, 0.5))
    column = np.arange(bars.close.shape[1])
    kept = np.where(column >= session, 1 - share, 1.0)
    paid = bars.dividend * np.where(column > session, 1 - share, 1.0)
    paid[:, session] += np.nan_to_num(bars.close[:, session]) * share
    lower = panel(bars.close * kept, bars.open * kept, bars.split, paid)
    assert_allclose(total_log_returns(lower), total_log_returns(bars), atol=1e-12)
    known = ~np.isnan(bars.close).any(axis=1)  # else it may be paid together with an earlier one
    adjusted = adjusted_closes(bars) * (1 - share)
    assert_allclose(adjusted_closes(lower)[known], adjusted[known], rtol=1e-12)


@given(panels(missing=False))
def test_adjusted_closes_move_by_the_total_returns(bars):
    moves = np.diff(np.log(adjusted_closes(bars)), axis=1)
    assert_allclose(moves, total_log_returns(bars)[:, 1:], atol=1e-12)
    assert_array_equal(adjusted_closes(bars)[:, -1], bars.close[:, -1])


@given(panels(missing=False), st.data())
def test_a_missing_bar_takes_the_returns_on_both_sides_and_no_other(bars, data):
    session = data.draw(st.integers(0, bars.close.shape[1] - 1))
    close, opens = bars.close.copy(), bars.open.copy()
    close[0, session] = opens[0, session] = np.nan
    broken = panel(close, opens, bars.split, bars.dividend)
    for function in (total_log_returns, overnight_gaps):
        expected = function(bars)
        expected[0, session : session + 2] = np.nan
        assert_array_equal(function(broken), expected)


@given(panels(), st.data())
def test_returns_know_nothing_of_later_sessions(bars, data):
    session = data.draw(st.integers(0, bars.close.shape[1] - 1))
    names = ("close", "open", "split", "dividend")
    changed = [getattr(bars, name).copy() for name in names]
    for values in changed:
        values[:, session + 1 :] = data.draw(st.floats(0.1, 100))
    for function in (total_log_returns, overnight_gaps):
        known = function(bars)[:, : session + 1]
        assert_array_equal(function(panel(*changed))[:, : session + 1], known)


@given(panels())
def test_following_returns_lead_from_each_close_to_the_next_there_is(bars):
    adjusted = np.log(adjusted_closes(bars))
    expected = np.full(bars.close.shape, math.nan)
    for row in range(len(adjusted)):
        known = np.flatnonzero(np.isfinite(adjusted[row])).tolist()
        for here, after in pairwise(known):
            expected[row, here] = adjusted[row, after] - adjusted[row, here]
    assert_allclose(following_log_returns(bars), expected, atol=1e-12)


def test_by_hand():
    bars = panel(
        close=[100, 51, 50.5, 26], open_=[99, 50, 51, 25], split=[1, 2, 1, 2], dividend=[0, 0, 1, 0]
    )
    returns = [math.nan, math.log(102 / 100), math.log(51.5 / 51), math.log(52 / 50.5)]
    gaps = [math.nan, math.log(100 / 100), math.log(52 / 51), math.log(50 / 50.5)]
    assert_allclose(total_log_returns(bars), [returns], rtol=1e-12)
    assert_allclose(overnight_gaps(bars), [gaps], rtol=1e-12, atol=1e-15)
    last = 26.0
    assert_allclose(
        adjusted_closes(bars),
        [[last / math.exp(sum(returns[t:])) for t in (1, 2, 3)] + [last]],
        rtol=1e-12,
    )


def test_a_dividend_without_a_bar_counts_at_the_next_close():
    bars = panel(close=[100, math.nan, 98], dividend=[0, 2, 0])
    assert_allclose(adjusted_closes(bars), [[98.0, math.nan, 98.0]])
    bars = panel(close=[100, math.nan, 49], dividend=[0, 2, 0], split=[1, 1, 2])
    assert_allclose(adjusted_closes(bars), [[49.0, math.nan, 49.0]])
    bars = panel(close=[100, math.nan, math.nan], dividend=[0, 2, 0], split=[1, 1, 2])
    assert_allclose(adjusted_closes(bars), [[50.0, math.nan, math.nan]])


def test_restating_is_the_return_seen_from_the_origin():
    bars = panel(close=[100.0, 51.0], split=[1, 2], dividend=[0, 0.5])
    actual = restate(bars.close[:, 1], bars.split[:, 1], bars.dividend[:, 1])
    assert_allclose(actual, 103.0)
    assert_allclose(np.log(actual / bars.close[:, 0]), total_log_returns(bars)[:, 1])


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded Alpha Vantage files are not here")
@pytest.mark.parametrize("ticker", ["AAPL", "C", "GOOGL"])
def test_recorded_splits_and_dividends_leave_no_jump(ticker):
    """Real splits, reverse splits and one split coded as a dividend, against the provider's own."""
    with (DATA / f"{ticker}.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["timestamp"])

    def column(name):
        return [[float(row[name]) for row in rows]]

    bars = panel(
        column("close"), column("open"), column("split_coefficient"), column("dividend_amount")
    )
    returns = total_log_returns(bars)[0, 1:]
    theirs = np.diff(np.log(column("adjusted_close")[0]))
    quiet = (bars.dividend[0, 1:] == 0) & (bars.split[0, 1:] == 1)
    assert_allclose(returns[quiet], theirs[quiet], atol=2e-3)
    assert np.abs(returns[~quiet]).max() < 0.2
