"""Signals obeyed and signs of life given by a long-lived process."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from jobs.daemon.signals import AT_ONCE, LONGEST_SILENCE, Beat, Notifier, Stop
from stockbatch import config
from stockbatch.config import ServiceManager

NOW = datetime(2024, 6, 3, tzinfo=UTC)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_ends_at_once(number):
    told, before = [], signal.getsignal(number)
    with Stop(60, lambda: told.append("stop")) as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
        assert told == ["stop"]
        with pytest.raises(SystemExit) as ended:
            os.kill(os.getpid(), number)
        assert ended.value.code == AT_ONCE
    assert signal.getsignal(number) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_batch_that_outlasts_the_grace_time_is_ended():
    with Stop(0.05, lambda: None):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            time.sleep(10)
    assert ended.value.code == AT_ONCE


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A socket that listens as systemd does; its address is in the environment."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0stockbatch-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        yield listener


def test_states_reach_the_service_manager(manager):
    Notifier(config.service_manager()).tell("READY=1")
    assert manager.recv(100) == b"READY=1"


def test_the_watchdog_is_fed_while_the_process_lives(manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    notifier = Notifier(config.service_manager())
    seconds = [0.0]
    beat = Beat(lambda: NOW, timer=lambda: seconds[0])
    with notifier.watched(beat):
        assert manager.recv(100) == b"WATCHDOG=1"
    seconds[0] = LONGEST_SILENCE + 1
    with notifier.watched(beat):
        manager.settimeout(0.1)
        with suppress(TimeoutError):
            while True:  # what was sent before
                manager.recv(100)
        with pytest.raises(TimeoutError):
            manager.recv(100)
    assert beat.last() == NOW


def test_without_a_service_manager_nothing_happens(monkeypatch, tmp_path):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    assert config.service_manager() == ServiceManager(None, None)
    Notifier(ServiceManager(None, None)).tell("READY=1")
    Notifier(ServiceManager(str(tmp_path / "gone"), None)).tell("READY=1")


def test_the_watchdog_of_another_process_is_left_alone(monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    assert config.service_manager().watchdog_seconds == 1
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert config.service_manager().watchdog_seconds is None


def test_a_daemon_that_waits_for_its_database_can_be_stopped(tmp_path):
    environment = {
        "HOME": str(tmp_path),
        "STOCKBATCH_HOME": str(tmp_path),
        "STOCKBATCH_DATABASE_URL": "postgresql://me:x@127.0.0.1:1/none",
        "STOCKBATCH_MONITORING_ADDRESS": "",
    }
    command = [sys.executable, "-m", "jobs", "daemon"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as daemon:
        assert "trying again" in daemon.stderr.readline()
        daemon.terminate()
        assert daemon.wait(timeout=60) == AT_ONCE
