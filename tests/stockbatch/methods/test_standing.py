import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from stockbatch import metrics
from stockbatch.methods.standing import FEWEST, WINDOW, with_mass_at_zero
from stockbatch.records import QUANTILES

SHAPE = norm.ppf(QUANTILES)


def smooth(tickers, origins, scale=0.02):
    return np.broadcast_to(scale * SHAPE, (tickers, origins, 11)).copy()


def slow(quantiles, returns):
    answer = quantiles.copy()
    for row in range(len(quantiles)):
        for origin in range(quantiles.shape[1]):
            end = returns.shape[1] - quantiles.shape[1] + origin + 1
            known = returns[row, max(end - WINDOW, 0) : end]
            known = known[np.isfinite(known)]
            if len(known) < FEWEST:
                continue
            falls, no_rises = np.sum(known < 0), np.sum(known <= 0)
            inside = [falls < level * len(known) < no_rises for level in QUANTILES]
            if not any(inside):
                continue
            for place, level in enumerate(QUANTILES):
                side = min if level * len(known) <= falls else max
                value = 0.0 if inside[place] else side(quantiles[row, origin, place], 0.0)
                answer[row, origin, place] = value
    return answer


RETURNS = arrays(
    np.float64, (2, 80), elements=st.sampled_from([0.0, 0.0, 0.01, -0.01, 0.03, np.nan])
)


@given(RETURNS, st.integers(1, 20), st.floats(-0.01, 0.01))
def test_levels_between_falls_and_rises_are_zero(returns, origins, shift):
    quantiles = smooth(2, origins) + shift
    got = with_mass_at_zero(quantiles, returns)
    np.testing.assert_array_equal(got, slow(quantiles, returns))
    assert (np.diff(got, axis=-1) >= 0).all()


def test_prices_that_move_are_left_alone():
    returns = np.random.default_rng(1).normal(0, 0.02, (3, 400))
    quantiles = smooth(3, 5)
    np.testing.assert_array_equal(with_mass_at_zero(quantiles, returns), quantiles)


def test_a_share_that_hardly_trades_is_forecast_better():
    random = np.random.default_rng(2)
    returns = random.normal(0, 0.02, (40, 500)) * (random.random((40, 500)) < 0.3)
    quantiles = smooth(40, 250, scale=0.011)
    got = with_mass_at_zero(quantiles, returns[:, :-1])
    actual = returns[:, -250:]
    before, after = (metrics.pinball_losses(q, actual).mean() for q in (quantiles, got))
    assert after < 0.95 * before
    assert (got[..., 4] == 0).all()
