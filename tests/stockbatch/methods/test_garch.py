import math
import os
import subprocess
import sys
import warnings
from contextlib import suppress

import numpy as np
import pytest
from arch.univariate import GARCH, ConstantMean, StudentsT
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import t as student

from stockbatch.exceptions import NoFit
from stockbatch.methods.garch import (
    FEWEST_TO_FILTER,
    MINIMUM,
    PARAMETERS,
    REACH,
    _implausible,
    fit_garch,
    garch_quantiles_by_origin,
)
from stockbatch.records import QUANTILES
from tests.support.places import ROOT

TRUTH = np.array([5e-4, 4e-6, 0.08, 0.90, 6.0])


def garch_quantiles(parameters, returns):
    return garch_quantiles_by_origin(parameters, returns, 1)[:, 0]


def simulate(parameters=TRUTH, sessions=1000, seed=1, missing=0.0):
    mean, omega, alpha, beta, freedom = parameters
    random = np.random.default_rng(seed)
    noise = random.standard_t(freedom, sessions) * math.sqrt((freedom - 2) / freedom)
    returns, variance = [], omega / (1 - alpha - beta)
    for shock in noise:
        returns.append(mean + math.sqrt(variance) * shock)
        variance = omega + alpha * (returns[-1] - mean) ** 2 + beta * variance
    returns = np.array(returns)
    returns[random.random(sessions) < missing] = np.nan
    return returns


def loop_quantiles(parameters, returns):
    """Of one ticker, straight from the definition."""
    mean, omega, alpha, beta, freedom = parameters
    window = [math.nan] * max(REACH - len(returns), 0) + returns[-REACH:].tolist()
    squares = [(value - mean) ** 2 for value in window]
    known = [square for square in squares if not math.isnan(square)]
    if len(known) < FEWEST_TO_FILTER:
        return [math.nan] * len(QUANTILES)
    variance = sum(known) / len(known)
    for square in squares:
        variance = omega + alpha * (variance if math.isnan(square) else square) + beta * variance
    scale = math.sqrt(variance * (freedom - 2) / freedom)
    return [mean + scale * student.ppf(level, freedom) for level in QUANTILES]


FIT = """
import sys
import numpy as np
from stockbatch.methods.garch import fit_garch
returns = np.random.default_rng(8).standard_t(5, 300) * 0.01
sys.stdout.write(fit_garch(returns).tobytes().hex())
"""


def test_a_fit_is_the_same_to_the_last_bit_however_many_threads_there_are():
    fitted = {
        subprocess.run(
            [sys.executable, "-c", FIT],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in "123"
    }
    assert len(fitted) == 1


def test_filter_equals_its_definition_at_every_origin():
    random = np.random.default_rng(5)
    returns = np.stack([simulate(seed=seed, sessions=800, missing=0.05) for seed in range(3)])
    returns[2, :500] = np.nan
    parameters = TRUTH * random.uniform(0.8, 1.05, (3, 5))
    found = garch_quantiles_by_origin(parameters, returns, 750)
    assert found.shape == (3, 750, 11)
    for origin in (0, 8, 9, 10, 300, 450, 507, 520, 748, 749):
        until = returns[:, : 51 + origin]
        expected = [loop_quantiles(*pair) for pair in zip(parameters, until, strict=True)]
        assert_allclose(found[:, origin], expected, rtol=1e-9)
        assert_array_equal(garch_quantiles(parameters, until), found[:, origin])
    assert np.isnan(found[0, 0]).all()
    assert not np.isnan(found[0, -1]).any()


def test_filter_reaches_as_far_as_it_says():
    returns = simulate(sessions=2 * REACH)[None]
    found = garch_quantiles(TRUTH[None], returns)
    returns[:, :-REACH] = 9
    assert_array_equal(garch_quantiles(TRUTH[None], returns), found)
    returns[:, -REACH] = 1e6
    assert (garch_quantiles(TRUTH[None], returns) != found)[0, :4].all()


def test_filter_forecasts_what_arch_forecasts():
    returns = simulate()[-REACH:]
    model = ConstantMean(returns, volatility=GARCH(), distribution=StudentsT(), rescale=False)
    fixed = model.fix(TRUTH).forecast(horizon=1)
    expected = TRUTH[0] + math.sqrt(fixed.variance.to_numpy()[-1, 0]) * (
        student.ppf(QUANTILES, TRUTH[4]) * math.sqrt((TRUTH[4] - 2) / TRUTH[4])
    )
    assert_allclose(garch_quantiles(TRUTH[None], returns[None])[0], expected, rtol=1e-4)


def test_a_ticker_without_parameters_has_no_quantiles_and_disturbs_no_other():
    returns = np.stack([simulate(seed=1), simulate(seed=2)])
    parameters = np.stack([np.full(5, np.nan), TRUTH])
    found = garch_quantiles(parameters, returns)
    assert np.isnan(found[0]).all()
    assert_array_equal(found[1:], garch_quantiles(parameters[1:], returns[1:]))


def test_fit_finds_the_truth_in_a_long_history():
    mean, omega, alpha, beta, freedom = fit_garch(simulate(sessions=20_000))
    assert mean == pytest.approx(TRUTH[0], abs=2e-4)
    assert omega / (1 - alpha - beta) == pytest.approx(2e-4, rel=0.2)
    assert alpha == pytest.approx(0.08, abs=0.02)
    assert beta == pytest.approx(0.90, abs=0.02)
    assert freedom == pytest.approx(6, abs=1)


def test_fit_leaves_out_what_is_unknown_and_has_no_memory():
    returns = simulate(sessions=600)
    holes = np.insert(returns, [0, 100, 100, 400, 600], np.nan)
    found = fit_garch(returns)
    assert found.shape == (len(PARAMETERS),)
    assert_array_equal(fit_garch(holes), found)


@pytest.mark.parametrize("unit", [1e-8, 1e-4, 100, 1e6])
def test_fit_scales_with_the_returns(unit):
    returns = simulate(sessions=600)
    mean, omega, *rest = fit_garch(returns)
    scaled = fit_garch(returns * unit)
    assert_allclose(scaled, [mean * unit, omega * unit**2, *rest], rtol=1e-3)


DEGENERATE = {
    "nothing": np.array([]),
    "unknown": np.full(900, np.nan),
    "short": simulate(sessions=MINIMUM - 1),
    "zero": np.zeros(900),
    "constant": np.full(900, 0.0123),
    "infinite": np.full(900, np.inf),
}


@pytest.mark.parametrize("returns", DEGENERATE.values(), ids=DEGENERATE)
def test_a_degenerate_history_has_no_fit(returns):
    assert fit_garch(returns) is None


ODD = {
    "one move": np.where(np.arange(900) == 450, 0.5, 0.0),
    "two values": np.where(np.random.default_rng(1).random(900) < 0.5, 0.01, -0.01),
    "mostly still": np.where(
        np.random.default_rng(1).random(900) < 0.97, 0, np.random.default_rng(2).normal(0, 1, 900)
    ),
    "trend": np.linspace(-0.1, 0.1, 900),
    "alternating": np.tile([0.01, -0.01], 450),
    "crash": np.where(np.arange(900) == 899, -3.0, simulate(sessions=900)),
    "cauchy": np.random.default_rng(1).standard_cauchy(900),
    "two regimes": np.random.default_rng(1).normal(0, np.repeat([1e-4, 0.1], 450)),
}


@pytest.mark.parametrize("returns", ODD.values(), ids=ODD)
def test_an_odd_history_has_a_usable_fit_or_none_and_warns_of_nothing(returns):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with suppress(NoFit):
            parameters = fit_garch(returns)
            quantiles = garch_quantiles(parameters[None], returns[None])
            assert np.isfinite(quantiles).all()
            assert (np.diff(quantiles) > 0).all()


def test_a_variance_that_explodes_or_an_absurd_mean_is_told_by_size():
    calm = np.ones(300)
    said = {
        (0.0, 0.05, 0.05, 0.90, 6.0): None,
        (0.0, 0.005, 0.05, 0.95, 6.0): None,  # a persistence of just one is nothing absurd
        (-9.0, 0.05, 0.05, 0.90, 6.0): "a mean of 9 times the deviation there was",
        (0.0, 0.5, 0.2, 0.8, 6.0): "a deviation a year on of 11.2 times the deviation there was",
    }
    for parameters, reason in said.items():
        assert _implausible(np.array(parameters), calm) == reason
    reason = _implausible(np.array([0.0, 0.05, 0.05, 0.90, 6.0]), 300 * calm)
    assert reason == "a usual deviation of 300 times the deviation there was"


@given(st.integers(0, 2**32 - 1))
def test_wider_after_a_larger_return(seed):
    returns = np.repeat(simulate(seed=seed, sessions=REACH)[None], 2, axis=0)
    returns[0, -1] = TRUTH[0]
    returns[1, -1] = TRUTH[0] - 0.05
    calm, shaken = garch_quantiles(np.stack([TRUTH, TRUTH]), returns)
    assert shaken[-1] - shaken[0] > calm[-1] - calm[0]
