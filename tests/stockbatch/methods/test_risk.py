"""Filtered historical simulation, beside plain loops over members and sessions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.methods import risk
from stockbatch.methods.ewma import FEWEST_FOR_VOLATILITY, ewma_volatility
from stockbatch.methods.risk import FEWEST, LEVELS, MOST, Sums
from stockbatch.records import QUANTILES
from tests.support.risks import aged

SESSIONS = 1400
NOTHING = np.full((4, SESSIONS + 1), np.nan)


def market(sessions=SESSIONS, gaps=0.02):
    """Returns of four tickers that move together, and widths that are about right."""
    random = np.random.default_rng(7)
    volatility = 0.01 * np.exp(0.5 * np.sin(np.arange(sessions + 1) / 40))
    common = random.standard_t(5, sessions)
    own = random.standard_t(5, (4, sessions))
    returns = volatility[:-1] * (0.6 * common + 0.7 * own)
    returns[random.random(returns.shape) < gaps] = np.nan
    widths = 1.3 * volatility * np.array([[1.0], [0.8], [1.2], [1.0]])
    return returns, widths


def plain_scales(returns, widths, row):
    """The scales of one ticker for each session and the next, by what a method stated."""
    ewma = np.append(np.nan, ewma_volatility(returns[row : row + 1])[0])
    surprises = (returns[row] / ewma[:-1])[-MOST:]
    low, high = np.nanquantile(surprises, (0.1, 0.9))
    ewma = ewma * (high - low) / 2
    return ewma, np.maximum(ewma, widths[row])


def plain_outcomes(returns, widths, weights, *, ewma=False):
    """What a portfolio would return, session by session and member by member."""
    scales = [plain_scales(returns, widths, row)[0 if ewma else 1] for row in range(len(returns))]
    outcomes = []
    for session in range(returns.shape[1] - MOST, returns.shape[1]):
        total = 0.0
        for row, weight in enumerate(weights):
            surprise = returns[row, session] / scales[row][session]
            total += weight * math.expm1(surprise * scales[row][-1])
        if not math.isnan(total):
            outcomes.append(total)
    return np.array(outcomes)


def made_of(returns, widths, weights, forgetting=0.0):
    sums = Sums.nothing(len(weights), min(returns.shape[1], MOST))
    sums.add(weights, risk.outcomes(returns, widths))
    ways = sums.of_portfolios((weights != 0).sum(axis=1).astype(float))
    return risk.distribution(ways, forgetting)


def test_what_is_long_ago_weighs_less():
    returns, widths = market(gaps=0)
    weights = np.array([[0.4, 0.3, -0.2, 0.1], [0.5, 0.0, 0.0, -0.5]])
    made = made_of(returns, widths, weights, risk.FORGETTING)
    plain = made_of(returns, widths, weights)
    for row, of_one in enumerate(weights):
        outcomes = plain_outcomes(returns, widths, of_one)
        expected = [aged(outcomes, level) for level in QUANTILES]
        assert_allclose(made.quantiles[row], [quantile for quantile, _ in expected], rtol=1e-9)
        assert_allclose(made.shortfalls[row], [mean for _, mean in expected[:3]], rtol=1e-9)
    assert (made.quantiles != plain.quantiles).all()
    assert_array_equal(made.unscaled_quantiles, plain.unscaled_quantiles)


def test_what_was_not_known_ages_what_was_before_it():
    """Sessions count, not outcomes."""
    outcomes = np.full((1, MOST), np.nan)
    outcomes[0, ::2] = np.random.default_rng(1).normal(size=MOST // 2)
    made = risk.distribution(risk.Ways(*[outcomes] * 3), 0.01)
    both = risk.distribution(risk.Ways(*[outcomes[:, ::2]] * 3), 1 - 0.99**2)
    assert_allclose(made.quantiles, both.quantiles, rtol=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_where_hardly_anything_is_forgotten_it_is_as_if_nothing_was(seed):
    outcomes = np.random.default_rng(seed).standard_t(3, (1, FEWEST + 30))
    outcomes[0, ::20] = np.nan
    outcomes[0, 7] = outcomes[0, 9]
    ways = risk.Ways(outcomes, outcomes, outcomes)
    made, plain = risk.distribution(ways, 1e-12), risk.distribution(ways)
    assert_allclose(made.quantiles, plain.quantiles, rtol=1e-6)
    assert_allclose(made.shortfalls, plain.shortfalls, rtol=1e-6)


def test_a_portfolio_goes_through_common_sessions_with_all_its_members():
    returns, widths = market()
    weights = np.array([[0.4, 0.3, -0.2, 0.1]])
    made = made_of(returns, widths, weights)
    outcomes = plain_outcomes(returns, widths, weights[0])
    assert made.is_stated[0]
    assert 900 < made.sessions[0] == len(outcomes) < MOST
    assert_allclose(made.quantiles[0], np.quantile(outcomes, QUANTILES), rtol=1e-9)
    for level, shortfall in zip(LEVELS, made.shortfalls[0], strict=True):
        worst = outcomes[outcomes <= np.quantile(outcomes, level)]
        assert shortfall == pytest.approx(worst.mean(), rel=1e-9)
        assert len(worst) >= 3
    simple = weights[0] @ np.expm1(returns[:, -MOST:])
    assert_allclose(made.unscaled_quantiles[0], np.nanquantile(simple, QUANTILES), rtol=1e-9)


def test_where_a_method_has_stated_too_little_ewma_scales_all_members_throughout():
    returns, widths = market()
    weights = np.full((1, 4), 0.25)
    widths[2, : -FEWEST - 20] = np.nan  # of which some sessions are not common
    assert made_of(returns, widths, weights).is_stated[0]
    widths[2, :-FEWEST] = np.nan
    made = made_of(returns, widths, weights)
    outcomes = plain_outcomes(returns, widths, weights[0], ewma=True)
    assert not made.is_stated[0]
    assert made.sessions[0] == len(outcomes)
    assert_allclose(made.quantiles[0], np.quantile(outcomes, QUANTILES), rtol=1e-9)
    widths[0, -1] = np.nan  # nothing is stated of the next session
    assert not made_of(returns, widths, np.eye(4)[:1]).is_stated[0]


def test_with_too_few_common_sessions_there_is_none():
    returns, widths = market(gaps=0)
    weights = np.vstack([np.eye(4), [0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0]])
    known = FEWEST + FEWEST_FOR_VOLATILITY  # the first of them have no volatility before them
    returns[0, :-known] = np.nan
    returns[1, -3] = np.nan
    made = made_of(returns, widths, weights)
    assert made.sessions.tolist() == [FEWEST, MOST - 1, MOST, MOST, FEWEST - 1, MOST - 1]
    assert np.isnan(made.quantiles[4]).all()
    assert np.isnan(made.shortfalls[4]).all()
    assert np.isfinite(np.delete(made.quantiles, 4, axis=0)).all()


def test_what_is_held_and_owed_of_the_same_comes_to_nothing():
    returns, widths = market(gaps=0)
    returns[1], widths[1] = returns[0], widths[0]
    made = made_of(returns, widths, np.array([[0.5, -0.5, 0, 0]]))
    assert_allclose(made.quantiles, 0, atol=1e-15)
    both = made_of(returns, widths, np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0]]))
    assert_allclose(both.quantiles[0], both.quantiles[1], rtol=1e-12)


def test_parts_of_the_tickers_add_up():
    returns, widths = market()
    weights = np.array([[0.4, 0.3, -0.2, 0.1], [0, 0.5, 0.5, 0]])
    sums = Sums.nothing(2, MOST)
    for some in (slice(0, 1), slice(1, 4)):
        sums.add(weights[:, some], risk.outcomes(returns[some], widths[some]))
    parts = risk.distribution(sums.of_portfolios(np.array([4.0, 2.0])))
    for found, whole in zip(parts, made_of(returns, widths, weights), strict=True):
        assert_allclose(found, whole, rtol=1e-12)


def test_a_group_is_the_mean_of_the_members_there_were():
    returns, widths = market(gaps=0)
    returns[3, :-300] = np.nan
    returns[2, -50:] = np.nan
    returns[:3, -10] = np.nan  # one of four is too few
    sums = Sums.nothing(1, MOST)
    ways = risk.outcomes(returns, widths)
    sums.add(np.ones((1, 4)), ways)
    found = sums.of_groups(np.array([4.0]))
    expected = np.full(MOST, np.nan)
    for session in range(MOST):
        known = [row[session] for row in ways.stated if not math.isnan(row[session])]
        if len(known) >= 2:
            expected[session] = np.mean(known)
    assert np.isnan(expected).sum() >= 1
    assert_allclose(found.stated[0], expected)


def test_it_reaches_as_far_as_it_says():
    returns, widths = market(1400)
    made = risk.outcomes(returns, widths)
    some = slice(-risk.REACH, None)
    again = risk.outcomes(returns[:, some], widths[:, -risk.REACH - 1 :])
    assert_array_equal(np.isnan(made.stated[:, 1:]), np.isnan(again.stated[:, 1:]))
    assert_allclose(made.stated[:, 1:], again.stated[:, 1:], rtol=1e-9)


def test_prices_that_stand_still_are_no_catastrophe():
    returns, widths = market(gaps=0)
    returns[0, 1::2] = 0.0
    returns[0, ::100] = 0.05
    returns[1] = 0.0
    widths[0, ::3] = 0.0
    widths[2] = 1e-9
    made = made_of(returns, widths, np.eye(4))
    assert np.isfinite(made.quantiles).all()
    assert (made.quantiles[1] == 0).all()
    assert (np.abs(made.quantiles) < 0.5).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.floats(1e-6, 1.0),
    count=st.integers(FEWEST - 5, FEWEST + 50),
)
def test_a_shortfall_lies_beyond_its_quantile_and_within_what_was_simulated(seed, size, count):
    random = np.random.default_rng(seed)
    outcomes = np.full((1, FEWEST + 60), np.nan)
    places = random.choice(outcomes.shape[1], count, replace=False)
    outcomes[0, places] = size * random.standard_t(3, count)
    made = risk.distribution(risk.Ways(outcomes, outcomes, outcomes))
    if count < FEWEST:
        assert np.isnan(made.quantiles).all()
        return
    assert (np.diff(made.quantiles[0]) >= 0).all()
    assert (made.shortfalls[0] <= made.quantiles[0, :3]).all()
    assert (np.diff(made.shortfalls[0]) >= 0).all()
    assert (made.shortfalls[0] >= np.nanmin(outcomes)).all()


@given(factor=st.floats(0.05, 20), seed=st.integers(0, 1000))
def test_ewmas_scales_are_of_the_unit_of_the_returns(factor, seed):
    returns = 0.01 * np.random.default_rng(seed).standard_t(5, (1, 400))
    scales = risk.ewma_scales(returns)
    assert_allclose(risk.ewma_scales(factor * returns), factor * scales, rtol=1e-9)


def test_hostile_numbers_give_no_number_that_nobody_has():
    returns, widths = market(gaps=0)
    returns[0, -5] = 700.0
    returns[1, -5] = -700.0
    widths[:, -1] = 1e6
    made = made_of(returns, widths, np.full((1, 4), 0.25))
    known = made.quantiles[np.isfinite(made.quantiles)]
    assert (known >= -1).all()
