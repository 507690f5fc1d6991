"""Metrics carried on from session to session are those that the whole window gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.daily import carried, part_metrics
from jobs.daily.carried import ANEW_EVERY, carry_on, due
from stockbatch import metrics
from stockbatch.records import POINT_BASELINE, QUANTILE_BASELINE, QUANTILES, Kind
from tests.support.market import session

METHODS = (POINT_BASELINE, QUANTILE_BASELINE, "lstm")
TICKERS, SESSIONS = 3, 16
SMALL = (2, 4, 7)


def losses_of(rng, missing, unstated):
    """Return losses by method and kind, of forecasts of which some were not made."""
    # A price that has not moved in a whole window tells less: such tickers are not carried on.
    actual = rng.choice([0.0 if missing else 0.02, 0.01, -0.02, 0.05], (TICKERS, SESSIONS))
    found = {}
    for method in METHODS:
        said = rng.normal(0, 0.01, actual.shape) * (method != POINT_BASELINE)
        quantiles = said[..., None] + np.sort(rng.normal(0, 0.02, (*actual.shape, len(QUANTILES))))
        gone = rng.random(actual.shape) < missing
        quantiles[rng.random(actual.shape) < unstated] = np.nan
        truth = np.where(gone, np.nan, actual)
        states = method != POINT_BASELINE
        found[method, Kind.LIVE] = metrics.losses(
            close=100 * np.exp(said),
            actual_close=100 * np.exp(truth),
            log_return=said,
            actual_log_return=truth,
            origin_close=np.full(actual.shape, 100.0),
            quantiles=quantiles if states else None,
            probability_of_rise=rng.random(actual.shape) if states else None,
        )
    return found


def between(losses, first, last):
    return {
        key: {name: values[:, first:last] for name, values in of_one.items()}
        for key, of_one in losses.items()
    }


@pytest.fixture
def small_windows(monkeypatch):
    for module in (carried, part_metrics):
        monkeypatch.setattr(module, "WINDOWS", SMALL)


@pytest.mark.parametrize(
    ("missing", "unstated", "least"), [(0, 0, 1.0), (0.05, 0, 0.0), (0.2, 0, 0.0), (0.1, 0.1, 0.0)]
)
@pytest.mark.parametrize("seed", range(8))
def test_they_are_those_of_the_window_wherever_they_are_said_to_be(
    small_windows, missing, unstated, least, seed
):
    losses = losses_of(np.random.default_rng(seed), missing, unstated)
    longest, rights = max(SMALL), []
    known = part_metrics._of_tickers(between(losses, 0, longest), TICKERS)
    for end in range(longest + 1, SESSIONS):
        left = {window: end - 1 - window for window in SMALL}
        moved, right = carry_on(known, losses, end - 1, left, TICKERS)
        known = part_metrics._of_tickers(between(losses, end - longest, end), TICKERS)
        rights.append(right)
        for key, columns in known.items():
            for name, expected in columns.items():
                found, wanted = moved[key][name][right], expected[right]
                np.testing.assert_allclose(
                    found, wanted, rtol=1e-9, atol=1e-12, err_msg=f"{key} {name}"
                )
    assert np.mean(rights) >= least


def test_long_carried_metrics_stay_near_those_of_the_window(small_windows):
    """As long as they are carried on at most, across shocks a hundred times the usual size."""
    rng = np.random.default_rng(5)
    sessions = ANEW_EVERY + max(SMALL)
    shock = np.where(rng.random((1, sessions)) < 0.05, 100.0, 1.0)
    error = 0.001 * rng.normal(size=(1, sessions)) * shock
    one = metrics.losses(
        close=np.full(error.shape, 100.0),
        actual_close=100 * np.exp(error / 10),
        log_return=np.zeros(error.shape),
        actual_log_return=error / 10,
        origin_close=np.full(error.shape, 100.0),
    )
    losses = {(POINT_BASELINE, Kind.LIVE): one}
    longest = max(SMALL)
    known = part_metrics._of_tickers(between(losses, 0, longest), 1)
    for end in range(longest + 1, sessions + 1):
        left = {window: end - 1 - window for window in SMALL}
        known, right = carry_on(known, losses, end - 1, left, 1)
        assert right.all()
    expected = part_metrics._of_tickers(between(losses, sessions - longest, sessions), 1)
    for key, columns in expected.items():
        for name, values in columns.items():
            np.testing.assert_allclose(known[key][name], values, rtol=1e-9, err_msg=name)


@given(start=st.integers(-1000, 0), id_=st.integers(1, 20_000))
@settings(deadline=None)
def test_each_ticker_is_summed_up_anew_within_a_year(start, id_):
    days = [session(start + offset) for offset in range(250)]
    assert any(due([id_], day)[0] for day in days)


def test_on_no_day_all_tickers_are_summed_up_anew():
    for offset in range(ANEW_EVERY):
        assert due(range(1, 1001), session(offset)).sum() <= 1000 / ANEW_EVERY + 1


def test_metrics_tell_the_means_of_losses_they_are_made_of():
    rng = np.random.default_rng(3)
    losses = losses_of(rng, 0.1, 0.1)["lstm", Kind.LIVE]
    means = {name: metrics.mean(losses[name]) for name in metrics.AVERAGED}
    told = metrics.means_of(metrics.averages_of(means))
    assert told.keys() == means.keys()
    for name, (value, n) in means.items():
        np.testing.assert_allclose(told[name].value, value, rtol=1e-12)
        np.testing.assert_array_equal(told[name].n, n)
