"""A training process and its child: one of TensorFlow's, else one of made-up networks."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from stockbatch.config import ModelSettings, child_environment, choose_keras
from stockbatch.config.process import KERAS, QUIET
from stockbatch.engine.network import NETWORKS
from stockbatch.engine.training import TrainingData, TrainingProcess
from stockbatch.exceptions import TrainingFailed, TrainingOverdue
from tests.support.places import ROOT
from tests.support.plain import PlainProcess

SETTINGS = ModelSettings(units=4, lookback=5, scored_steps=6, batch=3, epochs=3, patience=3)
LSTM = NETWORKS["lstm"]
ENDLESS = SETTINGS.model_copy(update={"epochs": 10_000, "patience": 10_000})


def make_data(tickers=4, sessions=60):
    random = np.random.default_rng(0)
    return TrainingData(
        inputs=random.normal(size=(tickers, sessions, 3)).astype(np.float32),
        targets=random.normal(size=(tickers, sessions)),
        train=np.tile(np.arange(sessions) < 40, (tickers, 1)),
        validation=np.tile(np.arange(sessions) >= 40, (tickers, 1)),
        seeds=np.arange(tickers, dtype=np.uint64) + np.uint64(2**63),
    )


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for_end(pid, seconds=20):
    until = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)


def assert_equal(found, expected):
    assert found.weights.keys() == expected.weights.keys()
    for name, array in expected.weights.items():
        assert_array_equal(found.weights[name], array)
    for name in ("training_loss", "validation_loss", "initial_loss", "best_epoch"):
        assert_array_equal(getattr(found, name), getattr(expected, name))


def test_the_child_does_what_the_library_does(tensorflow):
    from stockbatch.engine.training.local import LocalTrainer

    data, told = make_data(), []
    local = LocalTrainer()
    found = tensorflow.fit(
        LSTM, data, SETTINGS, on_epoch=lambda done, total: told.append((done, total))
    )
    expected = local.fit(LSTM, data, SETTINGS)
    assert_equal(found, expected)
    assert told == [(1, 3), (2, 3), (3, 3)]
    other = replace(data, seeds=data.seeds + np.uint64(1))
    again = tensorflow.fit(LSTM, other, SETTINGS, initial=found.weights)
    assert_equal(again, local.fit(LSTM, other, SETTINGS, initial=expected.weights))
    one = replace(data, seeds=data.seeds[:1])
    pooled = tensorflow.fit_pooled(LSTM, one, SETTINGS)
    assert_equal(pooled, local.fit_pooled(LSTM, one, SETTINGS))


def test_the_users_own_keras_changes_nothing(tensorflow, tmp_path, monkeypatch):
    data = make_data()
    expected = tensorflow.fit(LSTM, data, SETTINGS)
    words = {
        "backend": "torch", "floatx": "float16", "epsilon": 0.1,
        "image_data_format": "channels_first",
    }  # fmt: skip
    for folder in (tmp_path / "keras", tmp_path / ".keras"):
        folder.mkdir()
        (folder / "keras.json").write_text(json.dumps(words))
    monkeypatch.setenv("HOME", str(tmp_path))
    for variables in ({}, {"HOME": str(tmp_path / "keras"), "BACKEND": "jax", "MAX_EPOCHS": "1"}):
        for name, value in variables.items():
            monkeypatch.setenv(f"KERAS_{name}", value)
        with TrainingProcess(1) as process:
            assert_equal(process.fit(LSTM, data, SETTINGS), expected)
    assert json.loads((tmp_path / "keras" / "keras.json").read_text()) == words


def test_a_child_of_a_process_that_has_written_models_trains_the_same(tensorflow, monkeypatch):
    """What keeps TensorFlow silent there would let a child add up in another order."""
    for name in KERAS | QUIET:
        monkeypatch.setenv(name, "another")
    data = make_data()
    expected = tensorflow.fit(LSTM, data, SETTINGS)
    choose_keras()
    assert "TF_ENABLE_ONEDNN_OPTS" not in child_environment(1)
    with TrainingProcess(1) as process:
        assert_equal(process.fit(LSTM, data, SETTINGS), expected)


def test_the_child_ends_with_its_context():
    with PlainProcess(1) as process:
        assert process.pid is None
        process.fit(LSTM, make_data(), SETTINGS)
        pid = process.pid
        assert is_running(pid)
    assert not is_running(pid)
    assert process.pid is None


def test_a_child_that_was_started_ahead_is_the_one_that_is_asked():
    with PlainProcess(1) as process:
        process.start()
        pid = process.pid
        assert is_running(pid)
        process.start()
        process.fit(LSTM, make_data(), SETTINGS)
        assert process.pid == pid
    assert not is_running(pid)


def test_a_child_that_died_before_it_was_asked_is_told_and_replaced():
    with PlainProcess(1) as process:
        process.start()
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(TrainingFailed, match="killed by SIGKILL"):
            process.fit(LSTM, make_data(), SETTINGS)
        process.fit(LSTM, make_data(), SETTINGS)


def test_a_killed_child_is_told_and_replaced():
    with PlainProcess(1) as process:
        killed = []

        def kill(done, total):
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

        with pytest.raises(TrainingFailed, match="killed by SIGKILL"):
            process.fit(LSTM, make_data(), ENDLESS, on_epoch=kill)
        assert not is_running(killed[0])
        process.fit(LSTM, make_data(), SETTINGS)
        assert process.pid not in killed


def test_a_child_that_fails_says_why():
    data = make_data()
    data = replace(data, targets=data.targets[:-1])
    with PlainProcess(1) as process, pytest.raises(TrainingFailed, match=r"ValueError: .*shorter"):
        process.fit(LSTM, data, SETTINGS)


def test_a_child_that_takes_too_much_memory_is_ended():
    with (
        PlainProcess(1, memory_mib=20) as process,
        pytest.raises(TrainingFailed, match=r"it took \d+ MiB, more than training_memory_mib = 20"),
    ):
        process.fit(LSTM, make_data(), ENDLESS)


def test_a_child_that_is_stuck_is_ended():
    def freeze(done, total):
        os.kill(process.pid, signal.SIGSTOP)

    with PlainProcess(1, silence=30) as process:
        waits = []
        process.waiting = lambda: waits.append(process.pid)
        process.fit(LSTM, make_data(), SETTINGS)  # starts it, within its time
        process.silence = 0.5
        with pytest.raises(TrainingFailed, match=r"it finished no epoch for 0.5 s"):
            process.fit(LSTM, make_data(), ENDLESS, on_epoch=freeze)
        assert not is_running(waits[-1])


def test_training_that_is_overdue_is_ended_or_not_begun():
    epochs = []
    with PlainProcess(1) as process:
        with pytest.raises(TrainingOverdue):
            process.fit(
                LSTM,
                make_data(),
                ENDLESS,
                on_epoch=lambda *done: epochs.append(process.pid),
                overdue=lambda: bool(epochs),
            )
        assert not is_running(epochs[0])
        with pytest.raises(TrainingOverdue):
            process.fit(LSTM, make_data(), SETTINGS, overdue=lambda: True)
        assert process.pid is None


def test_an_interrupted_parent_ends_the_child():
    seen = []

    def interrupt(done, total):
        seen.append(process.pid)
        raise KeyboardInterrupt

    process = PlainProcess(1)
    with pytest.raises(KeyboardInterrupt), process:
        process.fit(LSTM, make_data(), ENDLESS, on_epoch=interrupt)
    assert not is_running(seen[0])


def test_the_child_ends_when_its_parent_is_killed():
    program = (
        "from tests.stockbatch.engine.training import test_process as test\n"
        "with test.PlainProcess(1) as process:\n"
        "    process.fit(test.LSTM, test.make_data(), test.ENDLESS,\n"
        "        on_epoch=lambda *done: print(process.pid, flush=True))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    ) as parent:
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        parent.stdout.close()
    assert wait_for_end(pid)


def test_the_parent_needs_no_tensorflow():
    program = (
        "import sys, jobs.app, jobs.daily.run\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
