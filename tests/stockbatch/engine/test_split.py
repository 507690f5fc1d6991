"""Which sessions a fit learns from, which stop it and which choose between models."""

import numpy as np
from numpy.testing import assert_array_equal

from stockbatch.config import ModelSettings
from stockbatch.engine.learning import STOPPING_BLOCKS, split
from stockbatch.market.sessions import load

SETTINGS = ModelSettings()
SESSIONS = load("XNYS", np.datetime64("2024-06-03").item()).window(
    np.datetime64("2024-06-03").item(), 600
)


def test_every_known_target_is_on_one_side() -> None:
    targets = np.ones((2, len(SESSIONS)))
    targets[0, 7] = targets[:, -1] = np.nan
    assert_array_equal(np.sum(split(targets, SESSIONS, SETTINGS), axis=0), np.isfinite(targets))


def test_the_newest_sessions_compare() -> None:
    targets = np.ones((1, len(SESSIONS)))
    targets[:, -1] = np.nan  # its session has yet to come
    compared = np.flatnonzero(split(targets, SESSIONS, SETTINGS).comparing[0])
    newest = SETTINGS.comparison_sessions
    assert_array_equal(compared, np.arange(len(SESSIONS) - 1 - newest, len(SESSIONS) - 1))


def test_one_block_in_five_stops() -> None:
    steps = split(np.ones((1, len(SESSIONS))), SESSIONS, SETTINGS)
    share = steps.stopping.sum() / (steps.stopping.sum() + steps.fitting.sum())
    assert abs(share - 1 / STOPPING_BLOCKS) < 0.05
    changes = np.flatnonzero(np.diff(steps.stopping[0].astype(int)))
    assert np.diff(changes)[::2].max() <= SETTINGS.stopping_sessions


def test_what_stops_one_fit_teaches_no_later_one() -> None:
    early = split(np.ones((1, 560)), SESSIONS[:560], SETTINGS)
    late = split(np.ones((1, 570)), SESSIONS[30:], SETTINGS)
    assert not (early.stopping[0, 30:] & late.fitting[0, :530]).any()
    assert not (early.fitting[0, 30:] & late.stopping[0, :530]).any()
