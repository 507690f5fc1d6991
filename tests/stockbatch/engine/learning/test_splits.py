"""Which sessions a fit learns from, which stop it and which choose between models."""

import numpy as np
from numpy.testing import assert_array_equal

from stockbatch.config import ModelSettings
from stockbatch.engine.learning.splits import STOPPING_BLOCKS, split
from stockbatch.market.sessions import load

SETTINGS = ModelSettings()
SMALL = ModelSettings(history_sessions=100, stopping_sessions=20, comparison_sessions=10)
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


def weekdays(first: str, end: str) -> np.ndarray:
    days = np.arange(first, end, dtype="datetime64[D]")
    return days[np.is_busday(days)]


def test_a_step_belongs_to_the_side_of_its_target() -> None:
    targets = np.zeros((2, 100))
    targets[1, 50] = np.nan
    targets[:, -1] = np.nan  # the session after the last is not known
    steps = split(targets, weekdays("2020-01-01", "2020-07-01")[:100], SMALL)
    assert np.flatnonzero(steps.comparing[0]).tolist() == list(range(89, 99))
    assert steps.stopping[0].any()
    assert steps.fitting[0].sum() > 2 * steps.stopping[0].sum()
    assert (steps.stopping[0] == steps.stopping[1])[np.arange(100) != 50].all()


def test_what_stops_one_model_has_taught_none() -> None:
    sessions = weekdays("2015-01-01", "2020-07-01")
    fitted, stopped = set(), set()
    for end in range(1000, 1200, 7):
        window = sessions[end - 500 : end]
        steps = split(np.zeros((1, 500)), window, SMALL)
        fitted |= set(window[steps.fitting[0]].tolist())
        stopped |= set(window[steps.stopping[0]].tolist())
    assert fitted
    assert stopped
    assert not fitted & stopped
