"""`stockbatch daemon` as it is started: watched over HTTP, with logs that machines read."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from sqlalchemy import text

import jobs.app
import jobs.commands.daemon
from stockbatch import database
from stockbatch.config import PREFIX
from stockbatch.exceptions import DatabaseBusy
from tests.support.market import CODE, fetch

SECRET = "hook-s3cr3t-of-mine"


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def daemon(app, free_port, tmp_path):
    """A daemon whose tickers have been watched since yesterday, with bars that end in 2024."""
    url = app.settings.database_url.get_secret_value()
    environment = {
        **os.environ,
        f"{PREFIX}HOME": str(tmp_path / "home"),
        f"{PREFIX}DATABASE_URL": url,
        f"{PREFIX}MONITORING_ADDRESS": f"127.0.0.1:{free_port}",
        f"{PREFIX}ALERT_URLS": f"json://127.0.0.1:1/{SECRET}",
    }
    owner = database.engine(app.settings, role="owner")
    with owner.begin() as connection:
        connection.execute(
            text("UPDATE stockbatch.instruments SET active_since = now() - interval '9 days'")
        )
    owner.dispose()
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs", "daemon"], env=environment, stderr=stderr
        )
    process.log = log
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


def lines(process):
    return [json.loads(line) for line in process.log.read_text().splitlines()]


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_until(process, holds):
    for _ in range(600):
        assert process.poll() is None, process.log.read_text()
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError(process.log.read_text())


def test_it_is_watched_tells_of_alerts_and_stops(app, daemon, free_port):
    alerts = "SELECT condition FROM bi.alerts WHERE is_open"
    wait_until(daemon, lambda: fetch(app.engine, alerts))
    assert get(free_port, "/healthz") == (200, '{"status": "ok", "problems": []}')
    _, metrics = get(free_port, "/metrics")
    assert f'stockbatch_due_sessions{{calendar="{CODE}"}}' in metrics
    assert "stockbatch_database_up 1.0" in metrics
    wait_until(daemon, lambda: "did not get through" in daemon.log.read_text())
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    said = lines(daemon)
    assert said[-1]["event"] == "stopped"
    ran = [line for line in said if "bars fetched" in line["event"]]
    assert ran
    assert all(isinstance(line["run_id"], int) for line in ran)
    assert {line["level"] for line in said} <= {"info", "warning", "error"}
    assert SECRET not in daemon.log.read_text()


def test_it_waits_for_its_own_migration_where_a_reader_holds_a_lock(monkeypatch, caplog):
    started = []

    @contextmanager
    def running(settings):
        started.append(settings)
        if len(started) == 1:
            raise DatabaseBusy(url="the database", reason="canceling statement due to lock timeout")
        yield None

    monkeypatch.setattr(jobs.app, "running", running)
    monkeypatch.setattr("jobs.daemon.loop.run_daemon", lambda *given: started.append("at work"))
    monkeypatch.setattr(jobs.commands.daemon, "WAIT", 0)
    before = signal.getsignal(signal.SIGTERM)
    try:
        jobs.commands.daemon.daemon()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[-1] == "at work"
    assert "lock timeout; trying again" in caplog.text
