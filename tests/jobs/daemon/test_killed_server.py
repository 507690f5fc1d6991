"""The embedded server is killed under the daemon and under the REST service: it comes back."""

import os
import signal
import time
from contextlib import nullcontext

import psycopg
import pytest
from starlette.testclient import TestClient

from jobs.api.application import create
from jobs.api.listening import opened
from jobs.app import App
from jobs.daemon.loop import Care
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.database.embedded_logins import HAND_OVER
from stockbatch.exceptions import EmbeddedServerFailed
from tests.conftest import MIGRATED
from tests.support.evenings import Evenings, evening, once, runs, since, work
from tests.support.market import PlainTrainer, small, watch
from tests.support.superuser import superuser


@pytest.fixture
def app(cluster, programs, market, monkeypatch):
    """An App with nothing configured: its database is the embedded one of its home."""
    monkeypatch.setattr(embedded_server, "binaries", lambda: programs)
    server = embedded_server.start(cluster)
    url = database.for_clients(superuser(server).set(database="postgres"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE stockbatch")
        connection.execute(f"CREATE DATABASE stockbatch TEMPLATE {MIGRATED}")
    handing_over = HAND_OVER.format(database="stockbatch")
    embedded_server._administer(server, programs, "stockbatch", handing_over)
    settings = small(Settings(home=cluster))
    made = App(settings=settings, engine=database.engine(settings), trainer=PlainTrainer())
    watch(made, market)
    since(made, evening(-1))
    yield made
    made.engine.dispose()


def kill(home):
    """Kill the server as the system does where memory is short, and wait until it is gone."""
    file = home / "postgres/data/postmaster.pid"
    os.kill(int(file.read_text().splitlines()[0]), signal.SIGKILL)
    while embedded_server._is_held(home / "postgres"):
        time.sleep(0.01)


@pytest.mark.parametrize("event", ["fetch", "forecasts: save", "finish"])
def test_a_daemon_starts_it_again_and_goes_on(app, event):
    app.on_event = once(event, lambda: kill(app.settings.home))
    work(app, evening(-1))
    assert [row[3] for row in runs(app)] == ["finished"]


def test_a_daemon_that_cannot_start_it_gives_no_sign_of_life(app, monkeypatch):
    start, beats, troubles = embedded_server.start, [], []

    def fail_until_it_is_told(home):
        troubles.append(beats[0].trouble)
        if "no space left" not in troubles[-1] and len(troubles) < 9:
            raise EmbeddedServerFailed(home=home, reason="no space left")
        return start(home)

    def serving(_app, beat):
        beats.append(beat)
        return nullcontext()

    app.on_event = once("fetch", lambda: kill(app.settings.home))
    monkeypatch.setattr(embedded_server, "start", fail_until_it_is_told)
    clock = Evenings(evening(-1))
    work(app, clock=clock, care=Care(review=clock.go_on, serving=serving))
    assert "no space left" in troubles[-1]
    assert beats[0].trouble == ""
    assert [row[3] for row in runs(app)] == ["finished"]


def test_the_rest_service_starts_it_again(app):
    home = app.settings.home
    with opened(app.settings) as surroundings:
        client = TestClient(create(surroundings), raise_server_exceptions=False)
        assert client.get("/health").status_code == 200
        kill(home)
        end = time.monotonic() + 60
        while not (client.get("/health").status_code == 200 and embedded_server.running(home)):
            assert time.monotonic() < end
            time.sleep(0.2)
