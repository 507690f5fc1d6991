from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from stockbatch.config import ModelSettings
from stockbatch.engine.training import TrainingData, batches

SETTINGS = ModelSettings(units=4, lookback=5, scored_steps=6, batch=3, dropout=0.25)
TICKERS, SESSIONS = 3, 50


def make_windows(**changes):
    random = np.random.default_rng(0)
    given = {
        "inputs": random.normal(size=(TICKERS, SESSIONS, 2)).astype(np.float32),
        "targets": random.normal(size=(TICKERS, SESSIONS)),
        "train": np.tile(np.arange(SESSIONS) < 40, (TICKERS, 1)),
        "validation": np.tile(np.arange(SESSIONS) >= 40, (TICKERS, 1)),
        "seeds": np.arange(TICKERS, dtype=np.uint64),
    }
    return batches.cut(TrainingData(**given | changes), SETTINGS)


def steps(windows, epoch=1, active=None):
    active = np.ones(len(windows.seeds), bool) if active is None else active
    pairs = list(windows.steps(epoch, active, SETTINGS))
    rows, masks = zip(*pairs, strict=True)
    return np.concatenate(rows, axis=1), np.concatenate(masks, axis=1)


def test_an_epoch_visits_every_window_with_something_to_learn_once():
    rows, _ = steps(make_windows())
    assert rows.shape == (TICKERS, 9)
    assert [sorted(row) for row in rows.tolist()] == [[-1, *range(8)]] * TICKERS


def test_order_and_masks_change_with_the_epoch_and_the_seed_only():
    windows = make_windows()
    rows, masks = steps(windows)
    again, same = steps(windows.stack(slice(1, 3), 8))
    assert_array_equal(again[:2], rows[1:])
    assert_array_equal(same[:2], masks[1:])
    assert (steps(windows, epoch=2)[0] != rows).any()
    assert (steps(replace(windows, seeds=windows.seeds + np.uint64(9)))[0] != rows).any()


def test_stopped_and_padded_tickers_have_no_windows():
    windows = make_windows().stack(slice(0, 3), 5)
    rows, masks = steps(windows, active=np.array([True, False, True, True, True]))
    assert (rows[[1, 3, 4]] == -1).all()
    assert (rows[[0, 2]] >= 0).any(axis=1).all()
    assert (masks[[1, 3, 4]] == 1).all()


def test_masks_keep_the_expected_output():
    _, masks = steps(make_windows())
    assert set(np.unique(masks)) <= {np.float32(0), np.float32(1), np.float32(4 / 3)}
    assert 0 < (masks == 0).mean() < 0.5


def test_windows_before_the_first_bar_are_not_visited():
    train = np.zeros((TICKERS, SESSIONS), bool)
    train[0, 20:], train[1, 33:] = True, True
    rows, _ = steps(make_windows(train=train))
    visited = [sorted(set(row)) for row in rows.tolist()]
    assert visited == [
        [-1, 4, 5, 6, 7, 8],
        [-1, 6, 7, 8],
        [-1],
    ]


@pytest.mark.parametrize("name", ["inputs", "targets"])
def test_unknown_values_weigh_nothing_and_become_zero(name):
    random = np.random.default_rng(1)
    arrays = {
        "inputs": random.normal(size=(TICKERS, SESSIONS, 2)).astype(np.float32),
        "targets": random.normal(size=(TICKERS, SESSIONS)),
    }
    arrays[name][1, 30] = np.nan
    arrays[name][1, 45] = np.inf
    windows = make_windows(**arrays)
    assert np.isfinite(windows.inputs).all()
    assert np.isfinite(windows.targets).all()
    assert windows.train.sum(axis=(1, 2)).tolist() == [40, 39, 40]
    assert windows.validation.sum(axis=(1, 2)).tolist() == [10, 9, 10]


def test_validation_visits_every_window_with_something_to_validate():
    windows = make_windows()
    rows = np.concatenate(list(windows.validation_steps(SETTINGS)), axis=1)
    assert rows.tolist() == [[7, 8, -1]] * TICKERS
    x, y, weights = windows.take(windows.validation, rows)
    assert x.shape == (TICKERS, 3, 11, 2)
    assert y.shape == weights.shape == (TICKERS, 3, 6)
    assert weights.sum() == 10 * TICKERS


def test_windows_of_none_weigh_nothing():
    windows = make_windows()
    _, _, weights = windows.take(windows.train, np.full((TICKERS, 3), -1))
    assert not weights.any()
