from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.engine import features
from stockbatch.engine.features import MINIMUM_SAMPLES, NAMES, REACH
from stockbatch.market.adjustments import moves
from stockbatch.market.jumps import Jumps, jumps
from stockbatch.records import Panel

PRICES = ("open", "high", "low", "close")
OTHERS = ("split", "dividend", "confirmed")


def make_panel(sessions=400, tickers=2, seed=0, volatility=0.02) -> Panel:
    """Random walks with a few missing bars, a split, a dividend, a crash and a reversal."""
    random = np.random.default_rng(seed)
    shape = tickers, sessions
    moves = random.normal(0, volatility, shape)
    moves[0, sessions // 2] = -0.6
    moves[1, sessions // 3] = 0.5
    moves[1, sessions // 3 + 1] = -0.5
    close = 50 * np.exp(np.cumsum(moves, axis=1))
    opened = close * np.exp(random.normal(0, volatility / 2, shape))
    split, dividend = np.ones(shape), np.zeros(shape)
    split[0, sessions // 4] = 2
    dividend[1, sessions // 5] = 0.5
    panel = Panel(
        tickers=tuple(f"T{number}" for number in range(tickers)),
        sessions=np.datetime64("2015-01-01") + np.arange(sessions),
        open=opened,
        high=np.maximum(opened, close) * np.exp(np.abs(random.normal(0, volatility / 2, shape))),
        low=np.minimum(opened, close) * np.exp(-np.abs(random.normal(0, volatility / 2, shape))),
        close=close,
        volume=random.integers(1, 10**6, shape).astype(float),
        split=split,
        dividend=dividend,
        confirmed=np.zeros(shape, bool),
    )
    missing = random.random(shape) < 0.02
    missing[:, :3] = True
    return blank(panel, missing)


def blank(panel: Panel, missing) -> Panel:
    return replace(
        panel, **{name: np.where(missing, np.nan, getattr(panel, name)) for name in PRICES}
    )


def cut(panel: Panel, where: slice) -> Panel:
    changed = {name: getattr(panel, name)[:, where] for name in (*PRICES, *OTHERS)}
    return replace(panel, sessions=panel.sessions[where], **changed)


def compute(panel: Panel) -> features.Features:
    return features.compute(panel, jumps(moves(panel)))


def unmarked(panel: Panel, **masks) -> features.Features:
    none = np.zeros(panel.close.shape, bool)
    return features.compute(
        panel, Jumps(**({"masked": none, "released": none, "pending": none} | masks))
    )


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 99),
    st.floats(0.01, 100),
    st.booleans(),
    st.sampled_from([*PRICES, "split", "dividend"]),
)
def test_no_later_bar_changes_what_is_known_at_a_step(step, factor, missing, name):
    panel = make_panel(sessions=100)
    before = compute(panel)
    changed = {name: getattr(panel, name).copy()}
    changed[name][:, step + 1 :] *= np.nan if missing and name in PRICES else factor
    after = compute(replace(panel, **changed))
    assert_array_equal(after.inputs[:, : step + 1], before.inputs[:, : step + 1])
    assert_array_equal(after.scale[:, : step + 1], before.scale[:, : step + 1])


@pytest.mark.parametrize("last", [400, 399, 201, 202, 134, 135])
def test_a_panel_that_ends_at_a_step_gives_the_step_of_a_longer_one(last):
    panel = make_panel()
    whole, short = compute(panel), compute(cut(panel, slice(last)))
    assert_array_equal(short.inputs[:, -1], whole.inputs[:, last - 1])
    assert_array_equal(short.scale[:, -1], whole.scale[:, last - 1])


def test_bars_older_than_the_reach_do_not_matter():
    panel = make_panel(sessions=REACH + 300)
    whole, recent = compute(panel), compute(cut(panel, slice(300, None)))
    assert_allclose(recent.scale[:, -1], whole.scale[:, -1], rtol=1e-9)
    assert_allclose(recent.inputs[:, -1], whole.inputs[:, -1], rtol=1e-6, atol=1e-9)


def test_inputs_are_finite_bounded_and_nothing_where_there_is_no_bar():
    panel = make_panel()
    found = compute(panel)
    assert found.inputs.shape == (2, 400, len(NAMES))
    assert found.inputs.dtype == np.float32
    assert np.abs(found.inputs).max() <= features.LIMIT
    assert_array_equal(found.present, np.isfinite(panel.close))
    assert not found.inputs[~found.present, : NAMES.index("known") + 1].any()


def test_volatility_is_that_of_the_returns():
    found = unmarked(make_panel(sessions=3000, volatility=0.02, seed=1))
    assert np.nanmedian(found.scale) == pytest.approx(0.02, rel=0.15)
    assert np.isnan(found.scale[:, : MINIMUM_SAMPLES + 2]).all()


def test_a_decaying_sum_is_that_of_a_plain_loop_to_the_last_bit():
    values = np.random.default_rng(0).random((3, 60)) * [[1.0], [0.0], [1e-9]]
    found = features.decaying_sum(values, 0.94, 25)
    for row in range(3):
        state = 0.0
        for step, value in enumerate(values[row].tolist()):
            state = state * 0.94 + value
            if step >= 25:
                state = max(state - 0.94**25 * float(values[row, step - 25]), 0.0)
            assert found[row, step] == state


def test_targets_are_the_next_return_over_the_volatility_before_it():
    found = compute(make_panel())
    z = features.targets(found)
    assert np.isnan(z[:, -1]).all()
    assert_array_equal(z[:, :-1], found.returns[:, 1:] / found.scale[:, :-1])
    assert 0.5 < np.nanmedian(np.abs(z)) < 0.8  # 0.67 of a normal one


def test_a_return_across_a_gap_is_neither_input_nor_target():
    panel = make_panel(sessions=100)
    missing = np.isnan(panel.close)
    missing[:, 60] = True
    found = compute(blank(panel, missing))
    assert np.isnan(found.returns[:, 60:62]).all()
    assert not found.inputs[:, 61, : features.FROM_RETURN].any()
    assert not found.inputs[:, 61, NAMES.index("known")].any()
    assert found.inputs[:, 61, NAMES.index("volatility")].all()


def test_a_jump_is_no_input_and_no_target_unless_released():
    panel = make_panel(sessions=100, volatility=0.01)
    here = np.zeros(panel.close.shape, bool)
    here[:, 50] = True
    quiet, masked = unmarked(panel), unmarked(panel, masked=here)
    released = unmarked(panel, released=here)
    assert np.isnan(masked.returns[:, 50]).all()
    assert_array_equal(released.returns, quiet.returns)
    assert not masked.inputs[:, 50, : features.FROM_RETURN].any()
    assert_array_equal(released.inputs[:, 50], masked.inputs[:, 50])


def test_a_released_jump_enters_the_volatility_one_session_later():
    panel = make_panel(sessions=100)
    here = np.zeros(panel.close.shape, bool)
    here[0, 50] = True
    masked, released = unmarked(panel, masked=here), unmarked(panel, released=here)
    assert_array_equal(released.scale[:, :51], masked.scale[:, :51])
    assert released.scale[0, 51] > 1.5 * masked.scale[0, 51]


def test_a_constant_price_has_a_smallest_volatility():
    panel = make_panel(sessions=60)
    still = replace(
        panel,
        split=np.ones_like(panel.split),
        dividend=np.zeros_like(panel.dividend),
        **{name: np.full(panel.close.shape, 7.0) for name in PRICES},
    )
    assert_array_equal(unmarked(still).scale[:, -1], features.SMALLEST_VOLATILITY)


def test_a_split_and_a_dividend_are_no_moves():
    panel = make_panel(sessions=60)
    still = {name: np.full(panel.close.shape, 8.0) for name in PRICES}
    for prices in still.values():
        prices[:, 30:] = 4.0
        prices[:, 40:] = 3.0
    split, dividend = np.ones(panel.close.shape), np.zeros(panel.close.shape)
    split[:, 30], dividend[:, 40] = 2, 1
    found = unmarked(replace(panel, split=split, dividend=dividend, **still))
    assert_array_equal(found.returns[:, 1:], 0)


def test_closes_are_the_inverse_of_targets():
    panel = replace(make_panel(), dividend=np.zeros((2, 400)), split=np.ones((2, 400)))
    found = unmarked(panel)
    z = features.targets(found)
    step = 300
    again = panel.close[:, step] * np.exp(z[:, step] * found.scale[:, step])
    assert_allclose(again, panel.close[:, step + 1], rtol=1e-12)


@given(array_shapes(min_dims=2, max_dims=4, max_side=12), st.integers(0, 9), st.integers(1, 9))
def test_scored_steps_joined_are_the_series(shape, lookback, scored):
    array = np.random.default_rng(0).normal(size=shape)
    cut_up = features.windows(array, lookback, scored)
    assert cut_up.shape == (shape[0], -(-shape[1] // scored), lookback + scored, *shape[2:])
    joined = np.concatenate(list(np.moveaxis(cut_up[:, :, lookback:], 1, 0)), axis=1)
    assert_array_equal(joined[:, joined.shape[1] - shape[1] :], array)


def test_a_window_starts_with_the_steps_before_its_scored_ones():
    windows = features.windows(np.arange(1, 8)[None], 2, 3, fill=0)
    assert windows.tolist() == [[[0, 0, 0, 0, 1], [0, 1, 2, 3, 4], [3, 4, 5, 6, 7]]]
    assert not windows.flags.writeable
