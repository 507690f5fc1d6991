import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch import metrics
from stockbatch.methods.calibration import LARGEST_LOG, LOSS_FORGETTING, calibrate_by_origin
from stockbatch.methods.crowd import (
    FEWEST,
    HEARD_AFTER,
    LEARNERS,
    SHARE,
    learn,
    learn_by_session,
    say,
)
from stockbatch.records import QUANTILES, Crowd
from tests.stockbatch.methods.test_calibration import forecasts


def loop_learned(quantiles, actual):
    """Learner by learner, level by level, ticker by ticker, straight from the description."""
    sides = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    misses = [min(QUANTILES[level], 1 - QUANTILES[level]) for level in sides]
    logs = [[0.0] * len(LEARNERS) for _ in sides]
    losses = [0.0] * len(LEARNERS)
    for session in range(actual.shape[1]):
        some = [
            row
            for row in range(len(actual))
            if math.isfinite(actual[row, session]) and math.isfinite(quantiles[row, session, 0])
        ]
        if len(some) < FEWEST:
            continue
        for k, learner in enumerate(LEARNERS):
            together, alone, loss = 0.0, [0.0] * 10, 0.0
            for row in some:
                raw, came = quantiles[row, session], actual[row, session]
                spread = sum(abs(raw[level] - raw[5]) for level in sides[1:-1])
                for i, level in enumerate(sides):
                    quantile = raw[5] + math.exp(logs[i][k]) * (raw[level] - raw[5])
                    beyond = came < quantile if level < 5 else came > quantile
                    alone[i] += (beyond - misses[i]) / len(some)
                    if level in (0, 10):  # they follow the others
                        continue
                    part = abs(raw[level] - raw[5]) / spread
                    together += (beyond - misses[i]) * part / len(some)
                    error = came - quantile
                    pinball = max(QUANTILES[level] * error, (QUANTILES[level] - 1) * error)
                    loss += pinball / spread / len(some)
            losses[k] = losses[k] * (1 - LOSS_FORGETTING) + loss
            for i in range(10):
                moved = logs[i][k] * (1 - learner.forgetting)
                moved += learner.together * together + learner.alone * alone[i]
                logs[i][k] = min(max(moved, -LARGEST_LOG), LARGEST_LOG)
    return logs, losses


def test_it_learns_what_its_description_says():
    quantiles, actual = forecasts(tickers=7, sessions=60, width=0.7)
    crowd = learn_by_session(None, quantiles, actual)[-1]
    logs, losses = loop_learned(quantiles, actual)
    assert_allclose(crowd.logs, logs, atol=1e-12)
    assert_allclose(crowd.losses, losses)
    known = np.isfinite(quantiles[..., 0] + actual).sum(axis=0)
    taught = known[known >= FEWEST]
    assert len(taught) < 60
    assert (crowd.sessions, crowd.tickers) == (len(taught), taught[-1])


def test_a_session_of_which_too_little_is_known_teaches_nothing():
    quantiles, actual = forecasts(tickers=5, sessions=30, missing=0)
    before = learn_by_session(None, quantiles, actual)[-1]
    assert learn(before, quantiles[:, 0], np.full(5, np.nan)) is before
    assert learn(None, quantiles[:, 0], np.full(5, np.nan)) is None
    assert learn(before, np.full((5, 11), np.nan), actual[:, 0]) is before
    few = np.where(np.arange(5) < FEWEST - 1, actual[:, 0], np.nan)
    assert learn(before, quantiles[:, 0], few) is before


def test_what_other_levels_have_taught_is_not_heard():
    quantiles, actual = forecasts(tickers=5, sessions=30, missing=0)
    other = Crowd(logs=np.ones((8, 4)), losses=np.zeros(4), sessions=99, tickers=5)
    assert_array_equal(say([other]).share, [0])
    anew, first = learn(other, quantiles[:, 0], actual[:, 0]), learn(
        None, quantiles[:, 0], actual[:, 0])  # fmt: skip
    assert_array_equal(anew.logs, first.logs)
    assert anew.sessions == 1


def test_it_is_heard_more_from_session_to_session():
    quantiles, actual = forecasts(tickers=5, sessions=2 * HEARD_AFTER, missing=0)
    told = say([None, *learn_by_session(None, quantiles, actual)])
    expected = SHARE * np.minimum(np.arange(2 * HEARD_AFTER + 1) / HEARD_AFTER, 1)
    assert_allclose(told.share, expected)
    assert_array_equal(told.factors[0], 1)


@pytest.mark.parametrize("width", [0.6, 1.0, 1.6])
def test_it_finds_most_of_the_width_that_hundreds_of_tickers_need(width):
    quantiles, actual = forecasts(tickers=300, sessions=120, width=width, missing=0.01)
    told = say(learn_by_session(None, quantiles, actual))
    # What is soon forgotten never goes all the way: the fast learner has a say, too.
    missing = np.abs(np.log(width * told.factors[-30:].mean(axis=0)))
    assert (missing < 0.4 * abs(math.log(width)) + 0.05).all()


def test_a_crowd_of_misses_is_answered_the_next_day():
    quantiles, actual = forecasts(tickers=300, sessions=100, missing=0)
    shocked = actual.copy()
    shocked[:, -1] *= 4
    calm, after = (
        say(learn_by_session(None, quantiles, came)).factors[-1] for came in (actual, shocked)
    )
    assert (after > 1.15 * calm).all()


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_tickers_does_not_matter(seed):
    quantiles, actual = forecasts(tickers=6, sessions=12, seed=seed)
    order = np.random.default_rng(seed).permutation(6)
    one, other = (
        learn_by_session(None, q, a)[-1]
        for q, a in ((quantiles, actual), (quantiles[order], actual[order]))
    )
    if one is None:
        assert other is None
    else:
        assert_allclose(one.logs, other.logs, atol=1e-12)
        assert_allclose(one.losses, other.losses, rtol=1e-12)


def test_a_ticker_is_drawn_halfway_to_the_crowd():
    quantiles, actual = forecasts(tickers=200, sessions=150, width=0.6, missing=0)
    newcomer = np.full_like(actual, np.nan)
    told = say(learn_by_session(None, quantiles, actual))
    alone = calibrate_by_origin(quantiles, newcomer, 1)
    drawn = calibrate_by_origin(quantiles, newcomer, 1, say_of_last(told))
    assert_array_equal(alone, quantiles[:, -1:])
    outermost = (drawn - quantiles[:, -1:, [5]])[..., 0] / (alone - quantiles[:, -1:, [5]])[..., 0]
    assert_allclose(outermost, np.sqrt(told.factors[-1, 0]))


def say_of_last(told):
    return told._replace(share=told.share[-1:], factors=told.factors[-1:])


def test_the_crowd_helps_tickers_that_resemble_each_other():
    quantiles, actual = forecasts(tickers=100, sessions=400, width=0.8, missing=0)
    half = 200
    told = say([None, *learn_by_session(None, quantiles, actual)][half:-1])
    alone, drawn = (
        metrics.pinball_losses(
            calibrate_by_origin(quantiles, actual, half, one), actual[:, half:]
        ).mean()
        for one in (None, told)
    )
    assert drawn < alone
