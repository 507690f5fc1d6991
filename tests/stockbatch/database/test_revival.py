"""An embedded server that is killed under those who use it: they start it again."""

import os
import signal
import threading
import time

import pytest
from sqlalchemy import text

from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server, revival
from stockbatch.exceptions import DatabaseUnavailable, EmbeddedServerFailed, StockbatchError


@pytest.fixture
def settings(cluster, programs, monkeypatch):
    monkeypatch.setattr(embedded_server, "binaries", lambda: programs)
    return Settings(home=cluster)


@pytest.fixture
def engine(settings):
    made = database.engine(settings, role="owner")
    yield made
    made.dispose()


def postmaster(home):
    return int((home / "postgres/data/postmaster.pid").read_text().splitlines()[0])


def kill(home, number=signal.SIGKILL):
    """End a server in another way than by `stop`, and wait until it is gone."""
    os.kill(postmaster(home), number)
    while embedded_server._is_held(home / "postgres"):
        time.sleep(0.01)


def ask(engine):
    with engine.connect() as connection:
        return connection.scalar(text("SELECT 1"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT])
def test_whoever_needs_it_starts_it_again(settings, engine, number):
    assert ask(engine) == 1
    before = postmaster(settings.home)
    kill(settings.home, number)
    assert ask(engine) == 1
    assert postmaster(settings.home) != before


def test_of_many_that_need_it_one_starts_it(settings, engine):
    kill(settings.home)
    found = []

    def need():
        while True:
            try:
                return found.append(ask(engine))
            except StockbatchError:
                time.sleep(0.05)

    threads = [threading.Thread(target=need) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [1] * 5
    said = (settings.home / "postgres/log").read_text()
    assert said.count("starting PostgreSQL") == 1


def test_one_that_was_stopped_is_left_alone_until_somebody_starts_it(settings, engine):
    embedded_server.stop(settings.home)
    with pytest.raises(DatabaseUnavailable, match="'stockbatch db start' starts it"):
        ask(engine)
    embedded_server.start(settings.home)
    assert ask(engine) == 1


def test_after_a_start_in_vain_it_waits_ever_longer(settings, monkeypatch, caplog):
    now = [100.0]
    embedded_server.start(settings.home)
    started = []

    def start(home):
        started.append(now[0])
        raise EmbeddedServerFailed(home=home, reason="no space left")

    kill(settings.home)
    monkeypatch.setattr(embedded_server, "start", start)
    revived = revival.Revival(settings.home, "the database", clock=lambda: now[0])
    while now[0] < 108:
        with pytest.raises(EmbeddedServerFailed, match="no space left"):
            revived._start()
        now[0] += 0.5
    assert started == [100, 101, 103, 107]
    assert caplog.text.count("starting it again") == 4
