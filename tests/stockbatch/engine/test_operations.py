"""What Keras computes in training is what NumPy computes elsewhere."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from stockbatch import metrics
from stockbatch.engine.quantiles import LEVELS, never_crossing
from stockbatch.records import QUANTILES, SCORED
from tests.support.later import Later

pytestmark = pytest.mark.usefixtures("tensorflow")
ops = Later("keras.ops")
operations = Later("stockbatch.engine.operations")
RANDOM = np.random.default_rng(0)


def test_the_pinball_loss_of_training_is_that_of_the_metrics():
    quantiles = np.sort(RANDOM.normal(size=(3, 4, 5, LEVELS)), axis=-1).astype(np.float32)
    actual = RANDOM.normal(size=(3, 4, 5)).astype(np.float32)
    actual[0, 0, 0] = quantiles[0, 0, 0, 2]  # neither above nor below
    found = ops.convert_to_numpy(
        operations.pinball_losses(*map(ops.convert_to_tensor, (quantiles, actual)))
    )
    assert_allclose(
        found[..., SCORED].mean(axis=-1), metrics.pinball_losses(quantiles, actual), rtol=1e-5
    )
    for level in (0, LEVELS - 1):  # of those that the metrics leave out
        error, share = actual - quantiles[..., level], QUANTILES[level]
        expected = np.where(error > 0, share * error, (share - 1) * error)
        assert_allclose(found[..., level], expected, rtol=1e-5)


def test_the_smoothed_loss_is_the_mean_pinball_loss_of_errors_nearby():
    error = np.linspace(-0.3, 0.3, 61).astype(np.float32)
    found = ops.convert_to_numpy(
        operations.smoothed_pinball_losses(
            ops.zeros((61, LEVELS), "float32"), ops.convert_to_tensor(error)
        )
    )
    near = np.linspace(-1, 1, 20_001) * operations.SMOOTHED
    for level, share in enumerate(QUANTILES):
        shifted = error[:, None] + near
        expected = np.maximum(share * shifted, (share - 1) * shifted).mean(axis=1)
        assert_allclose(found[:, level], expected, atol=1e-5)


def test_quantiles_are_spread_out_alike():
    raw = RANDOM.normal(0, 3, (2, 3, 4, LEVELS)).astype(np.float32)
    found = ops.convert_to_numpy(operations.never_crossing(ops.convert_to_tensor(raw)))
    assert_allclose(found, never_crossing(raw), atol=1e-5)


def test_an_affine_map_is_a_product_and_a_sum_per_ticker():
    inputs = RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32)
    kernel, bias = (RANDOM.normal(size=(2, *shape)).astype(np.float32) for shape in ((5, 6), (6,)))
    found = ops.convert_to_numpy(operations.affine(inputs, kernel, bias))
    for ticker in range(2):
        assert_allclose(found[ticker], inputs[ticker] @ kernel[ticker] + bias[ticker], atol=1e-5)
