import numpy as np
import pytest

from stockbatch.engine import trust

SEEN = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32) * [1, 2, 0.1, 3]


def test_one_in_a_hundred_of_what_was_seen_is_unusual():
    moments = trust.moments(SEEN.astype(np.float32))
    found = trust.dissimilarity(moments, SEEN.astype(np.float32))
    assert np.mean(found > 1) == pytest.approx(0.01, abs=0.001)


def test_the_distance_is_that_of_mahalanobis():
    moments = trust.moments(SEEN.astype(np.float32))
    mean = SEEN.mean(axis=0)
    covariance = np.cov(SEEN.T, bias=True) + trust.LEAST_VARIANCE * np.eye(4)
    for row in SEEN[:20]:
        plain = np.sqrt((row - mean) @ np.linalg.inv(covariance) @ (row - mean))
        found = trust.dissimilarity(moments, row.astype(np.float32)[None])[0]
        assert found * moments[trust.LIMIT][0] == pytest.approx(plain, rel=1e-3)


def test_what_is_far_is_told():
    moments = trust.moments(SEEN.astype(np.float32))
    inputs = np.zeros((2, 3, 4), np.float32)
    inputs[1, 2] = [0, 0, 5, 0]
    found = trust.dissimilarity(moments, inputs)
    assert found.shape == (2, 3)
    assert found[0].max() < 0.5
    assert found[1, 2] > 5


def test_inputs_that_never_varied_do_no_harm():
    constant = np.ones((100, 3), np.float32)
    moments = trust.moments(constant)
    assert np.isfinite(trust.dissimilarity(moments, constant)).all()
