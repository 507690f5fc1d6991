import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from stockbatch.market.adjustments import Moves, moves
from stockbatch.market.jumps import jump_findings, jumps, unexplained
from stockbatch.records import Panel, Severity

SESSIONS = np.arange("2020-01-01", "2023-01-01", dtype="datetime64[D]")
CHECKS = {"released": "jump_released", "pending": "jump_pending"}


def quiet(count, size=0.01):
    return [size if i % 2 else -size for i in range(count)]


def following(returns):
    """The returns to the next close, where every session has one."""
    return np.concatenate([returns[:, 1:], np.full((len(returns), 1), np.nan)], axis=1)


def moves_of(returns, gaps, then=None, split=None):
    """Moves of prices on no grid that is coarse: every return is judged by its size."""
    nothing = np.zeros_like(returns)
    return Moves(
        total=returns,
        overnight=gaps,
        following=following(returns) if then is None else then,
        split=nothing if split is None else split,
        close=nothing + np.nan,
    )


def moves_in(closes, split=None):
    """Moves of as-traded closes, every open being the close; `split` states the ratios."""
    close = np.array([closes], float)
    ratio = np.ones_like(close)
    for column, value in (split or {}).items():
        ratio[0, column] = value
    nothing = np.zeros_like(close)
    panel = Panel(
        tickers=("AAA",),
        sessions=SESSIONS[: close.shape[1]],
        open=close,
        high=close,
        low=close,
        close=close,
        volume=close,
        split=ratio,
        dividend=nothing,
        confirmed=nothing.astype(bool),
    )
    return moves(panel)


def judged(returns, gaps=None, then=None):
    """Masks of one ticker as lists of positions, and its findings."""
    returns = np.array([returns], float)
    gaps = returns / 2 if gaps is None else np.array([gaps], float)
    return told(moves_of(returns, gaps, None if then is None else np.array([then], float)))


def told(of_one, confirmed=None):
    """Masks as lists of positions, and findings, of the moves of one ticker."""
    found = jumps(of_one, confirmed)
    (findings,) = jump_findings(of_one, SESSIONS[: of_one.total.shape[1]], confirmed)
    masks = {
        name: np.flatnonzero(getattr(found, name)[0]).tolist()
        for name in ("masked", "released", "pending")
    }
    return masks, findings


def test_ordinary_returns_are_no_jumps():
    masks, findings = judged([math.nan, *quiet(99), 0.25, -0.2])
    assert masks == {"masked": [], "released": [], "pending": []}
    assert findings == ()


def test_a_crash_waits_for_the_next_session_and_is_released():
    masks, (finding,) = judged([*quiet(9), -0.35])
    assert masks == {"masked": [9], "released": [], "pending": [9]}
    assert (finding.check, finding.severity) == ("jump_pending", Severity.WARNING)
    masks, (finding,) = judged([*quiet(9), -0.35, 0.02])
    assert masks == {"masked": [], "released": [9], "pending": []}
    assert finding.check == "jump_released"
    assert finding.session == SESSIONS[9].item()
    assert (finding.observed, finding.threshold) == (-0.35, 0.25)
    assert finding.message.startswith("-29.5%")


def test_a_crash_that_goes_on_is_two_jumps():
    masks, _ = judged([*quiet(9), -0.35, -0.3, 0.02])
    assert masks == {"masked": [], "released": [9, 10], "pending": []}


def test_a_jump_taken_back_masks_both_ways():
    masks, (finding,) = judged([*quiet(9), 0.36, -0.37, 0.01])
    assert masks == {"masked": [9, 10], "released": [], "pending": []}
    assert finding.check == "jump_reversed"


def test_a_partial_rebound_confirms_the_level():
    masks, _ = judged([*quiet(9), -0.36, 0.2, 0.01])
    assert masks == {"masked": [], "released": [9], "pending": []}


def test_a_jump_before_a_gap_waits_for_the_next_bar_there_is():
    returns = [*quiet(9), -0.36, math.nan, math.nan]
    masks, (finding,) = judged(returns)
    assert masks == {"masked": [9], "released": [], "pending": [9]}
    assert finding.check == "jump_pending"
    for after_the_gap, check in ((0.02, "jump_released"), (0.35, "jump_reversed")):
        longer = [*returns, math.nan]  # the bar after the gap has no return of one session
        masks, (finding,) = judged(longer, then=[*returns[1:10], after_the_gap, *[math.nan] * 3])
        assert finding.check == check
        assert masks["released"] == ([9] if check == "jump_released" else [])
        assert masks["pending"] == []


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("ratio", "check"),
    [
        *((ratio, "jump_split_like") for ratio in (2, 3, 7, 10, 20)),
        *((ratio, "jump_unit_like") for ratio in (100, 1000)),
    ],
)
def test_what_looks_like_a_large_split_or_another_unit_stays_masked(ratio, check, sign):
    size = sign * math.log(ratio)
    for close, gap in ((size + 0.06, size + 0.03), (size - 0.01, size + 0.06)):
        masks, (finding,) = judged([*quiet(9), close, 0.01], [*quiet(9), gap, 0.0])
        assert masks == {"masked": [9], "released": [], "pending": []}
        assert finding.check == check


@pytest.mark.parametrize("ratio", [1.5, 4 / 3])
def test_small_splits_must_show_in_gap_and_close(ratio):
    size = -math.log(ratio)
    both, _ = judged([*quiet(9), size + 0.02, 0.01], [*quiet(9), size - 0.01, 0.0])
    assert both["masked"] == [9]
    one, _ = judged([*quiet(9), size, 0.01], [*quiet(9), size / 2, 0.0])
    assert one["released"] == [9]


def test_a_wild_stock_has_a_higher_threshold():
    masks, _ = judged([*quiet(100, 0.06), 0.5, 0.0])
    assert masks["released"] == []
    masks, (finding,) = judged([*quiet(100, 0.06), 0.7, -0.1], [0.0] * 102)
    assert finding.threshold == pytest.approx(0.6)
    assert masks["masked"] == [100]


def test_no_returns_at_all():
    for shape in ((0, 5), (3, 0), (3, 5)):
        nothing = moves_of(np.full(shape, np.nan), np.full(shape, np.nan))
        assert not jumps(nothing).masked.any()
        assert jump_findings(nothing, SESSIONS) == tuple(() for _ in range(shape[0]))


def plain(returns, gaps, confirmed=()):
    """The rules for one ticker, one return at a time."""
    masked, released, pending, earlier = set(), set(), set(), []
    back = None
    for t, value in enumerate(returns):
        if math.isnan(value):
            continue
        threshold = 0.25
        if len(earlier) >= 60:
            recent = earlier[-250:]
            middle = statistics.median(recent)
            threshold = max(0.25, 10 * statistics.median(abs(r - middle) for r in recent))
            threshold = min(threshold, math.log(10) - 1e-9)
        if abs(value) <= threshold:
            earlier.append(value)
            continue
        if t == back:
            continue
        masked.add(t)
        if t in confirmed and math.isfinite(value):
            masked.remove(t)
        elif t + 1 == len(returns) or not math.isfinite(value + returns[t + 1]):
            pending.add(t)
        elif abs(value + returns[t + 1]) <= 0.25 * abs(value):
            back = t + 1
            masked.add(back)
        elif not split_like(value, gaps[t]) and abs(value) < math.log(10) - 1e-9:
            masked.remove(t)
            released.add(t)
    return masked, released, pending


def split_like(value, gap):
    for ratio in (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100, 1000):
        if abs(abs(value) - math.log(ratio)) < 0.02 or abs(abs(gap) - math.log(ratio)) < 0.04:
            return True
    return value * gap > 0 and any(
        all(abs(abs(move) - math.log(ratio)) < 0.025 for move in (value, gap))
        for ratio in (5 / 4, 4 / 3, 3 / 2)
    )


@st.composite
def wild_returns(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 400))
    returns = random.standard_t(3, shape) * draw(st.sampled_from([0.01, 0.04, 0.2]))
    gaps = returns + random.normal(0, 0.01, shape)
    for _ in range(draw(st.integers(0, 8))):
        row, column = random.integers(shape[0]), random.integers(shape[1])
        returns[row, column] = gaps[row, column] = draw(
            st.sampled_from([0.3, -0.3, 0.6931, -0.4055, -0.7, 1.0, 2.5, np.inf])
        )
        if column + 1 < shape[1] and draw(st.booleans()):
            returns[row, column + 1] = -returns[row, column]
    returns[random.random(shape) < draw(st.sampled_from([0, 0.05, 0.5]))] = np.nan
    return returns, gaps


@settings(max_examples=60)
@given(wild_returns())
def test_jumps_equal_the_plain_rules(drawn):
    returns, gaps = drawn
    found = jumps(moves_of(returns, gaps))
    for row in range(len(returns)):
        expected = plain(returns[row].tolist(), gaps[row].tolist())
        got = (found.masked[row], found.released[row], found.pending[row])
        assert expected == tuple(set(np.flatnonzero(mask).tolist()) for mask in got)


@settings(max_examples=60)
@given(wild_returns(), st.sampled_from([0.2, 1.0]), st.integers(0, 99))
def test_confirmed_jumps_equal_the_plain_rules(drawn, share, seed):
    returns, gaps = drawn
    confirmed = np.random.default_rng(seed).random(returns.shape) < share
    found = jumps(moves_of(returns, gaps), confirmed)
    for row in range(len(returns)):
        told = set(np.flatnonzero(confirmed[row]).tolist())
        expected = plain(returns[row].tolist(), gaps[row].tolist(), told)
        got = (found.masked[row], found.released[row], found.pending[row])
        assert expected == tuple(set(np.flatnonzero(mask).tolist()) for mask in got)


@pytest.mark.parametrize("then", [[], [0.02], [0.5], [math.nan, 0.1]])
def test_a_confirmed_crash_is_a_return_like_any_other_whatever_comes_next(then):
    returns = np.array([[*quiet(9), -0.5, *then]])
    of_one, confirmed = moves_of(returns, returns), np.zeros(returns.shape, bool)
    confirmed[0, 9] = True
    found = jumps(of_one, confirmed)
    assert not any(mask[0, 9] for mask in (found.masked, found.released, found.pending))
    finding = jump_findings(of_one, SESSIONS[: returns.shape[1]], confirmed)[0][0]
    assert (finding.check, finding.session) == ("jump_confirmed", SESSIONS[9].item())
    assert finding.observed == -0.5


@pytest.mark.parametrize(
    ("ratio", "check"), [(2, "jump_split_like"), (1.5, "jump_split_like"), (100, "jump_unit_like")]
)
def test_what_looks_like_a_split_is_masked_until_somebody_says_otherwise(ratio, check):
    returns = np.array([[*quiet(9), -math.log(ratio), 0.0]])
    like = moves_of(returns, returns)
    masks, (finding,) = told(like)
    assert (masks["masked"], finding.check) == ([9], check)
    assert not unexplained(like, 0, 9)
    masks, (finding,) = told(like, np.ones(returns.shape, bool))
    assert (masks["masked"], finding.check) == ([], "jump_confirmed")


@pytest.mark.parametrize("size", [math.log(10), math.log(40), -math.log(12.5), -math.log(190)])
def test_a_move_of_ten_times_is_released_by_no_next_bar(size):
    returns = np.array([[*quiet(300, 0.24), size + 0.05 * np.sign(size), 0.01, 0.02]])
    of_one = moves_of(returns, returns / 2)
    masks, (finding,) = told(of_one)
    assert masks == {"masked": [300], "released": [], "pending": []}
    assert finding.check == "jump_tenfold"
    assert "unless `quality accept` says so" in finding.message
    assert unexplained(of_one, 0, 300), "another provider is asked"
    confirmed = np.zeros(returns.shape, bool)
    confirmed[0, 300] = True
    masks, (finding,) = told(of_one, confirmed)
    assert (masks["masked"], finding.check) == ([], "jump_confirmed")


@pytest.mark.parametrize("ratio", [190, 9, 2.7, 1 / 40, 1 / 190])
@pytest.mark.parametrize("move", [1.0, 0.93, 1.04])
def test_a_stated_split_that_prices_do_not_show_is_masked(ratio, move):
    before = 50 + np.sin(np.arange(100.0))
    after = before[-1] * move * np.array([1, 1.01, 0.99])
    masks, (finding,) = told(moves_in([*before, *after], {100: ratio}))
    assert masks == {"masked": [100], "released": [], "pending": []}
    assert finding.check == "jump_split_stated"
    # The wrong way round it is undone twice.
    masks, (finding,) = told(moves_in([*before, *after * ratio], {100: ratio}))
    assert masks == {"masked": [100], "released": [], "pending": []}
    assert finding.check == "jump_split_stated"
    masks, findings = told(moves_in([*before, *after / ratio], {100: ratio}))
    assert masks["masked"] == []
    assert findings == ()


def test_a_crash_on_the_day_of_a_split_is_released_as_any_other():
    before = 50 + np.sin(np.arange(100.0))
    masks, (finding,) = told(moves_in([*before, 15.1, 15.2, 15.1], {100: 2}))
    assert (masks["released"], finding.check) == ([100], "jump_released")


def sub_penny(count, seed=1, prices=(0.0001, 0.0002)):
    return np.random.default_rng(seed).choice(prices, count)


@pytest.mark.parametrize("prices", [(1, 2), (0.0001, 0.0002), (0.01, 0.02, 0.03), (3, 4, 5)])
def test_the_smallest_moves_of_a_coarse_grid_are_no_jumps(prices):
    closes = sub_penny(400, prices=prices)
    masks, _ = told(moves_in(closes))
    assert not [column for column in masks["masked"] if column >= 20]


@pytest.mark.parametrize("price", [1, 0.0001, 0.01])
def test_a_tick_is_known_before_the_first_move(price):
    still = [2 * price] * 30
    assert told(moves_in([*still, price, *still, 4 * price, *still]))[1] == ()
    assert told(moves_in([*still, 5 * price, *still]))[1] != ()


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.0125, 190 / 7])
def test_moves_that_recur_on_any_coarse_grid_are_usual(scale):
    closes = sub_penny(400, prices=(4, 5, 6, 8)) * scale
    masks, _ = told(moves_in(closes))
    assert not [column for column in masks["masked"] if column >= 120]


def test_a_split_or_another_unit_is_seen_on_a_coarse_grid_too():
    closes = sub_penny(400)
    closes[300:] *= 400
    masks, findings = told(moves_in(closes))
    assert [column for column in masks["masked"] if column >= 20] == [300]
    assert findings[-1].check == "jump_tenfold"
    closes[300:] *= 7 / 400
    assert 300 in told(moves_in(closes))[0]["masked"]


def test_a_single_spike_of_a_price_that_stands_still_is_no_tick():
    closes = [10.0] * 100 + [15.0] + [10.0] * 20
    masks, (finding,) = told(moves_in(closes))
    assert (masks["masked"], finding.check) == ([100, 101], "jump_reversed")
    fine = 10 + np.round(0.1 * np.sin(np.arange(100.0)), 2)
    masks, (finding,) = told(moves_in([*fine, 14.0, 14.1]))
    assert (masks["released"], finding.check) == ([100], "jump_released")


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_a_coarse_grid_is_known_from_the_past_alone(seed, cut):
    random = np.random.default_rng(seed)
    closes = random.choice([1, 2, 3, 5, 20], 300) * random.choice([1.0, 0.0001, 1 / 3])
    whole, short = jumps(moves_in(closes)), jumps(moves_in(closes[:cut]))
    for name in ("masked", "released", "pending"):
        known = getattr(whole, name)[:, : cut - 1]
        assert_array_equal(known, getattr(short, name)[:, : cut - 1])


@settings(max_examples=60)
@given(wild_returns(), st.data())
def test_nothing_is_judged_by_later_sessions_than_the_next(drawn, data):
    returns, gaps = drawn
    cut = data.draw(st.integers(1, returns.shape[1]))
    whole = jumps(moves_of(returns, gaps))
    short = jumps(moves_of(returns[:, :cut], gaps[:, :cut]))
    for name in ("masked", "released", "pending"):
        known = getattr(whole, name)[:, : cut - 1]
        assert_array_equal(known, getattr(short, name)[:, : cut - 1])


@given(wild_returns())
def test_masks_and_findings_agree(drawn):
    returns, gaps = drawn
    found = jumps(moves_of(returns, gaps))
    assert not (found.masked & found.released).any()
    assert not (found.pending & ~found.masked).any()
    findings = jump_findings(moves_of(returns, gaps), SESSIONS[: returns.shape[1]])
    for row, of_one in enumerate(findings):
        for name, check in CHECKS.items():
            told = [finding.session for finding in of_one if finding.check == check]
            columns = np.flatnonzero(getattr(found, name)[row])
            assert told == SESSIONS[columns].tolist()
