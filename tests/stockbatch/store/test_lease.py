"""Leases: one process at a time, whatever becomes of it and whatever a reader does."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch import database
from stockbatch.exceptions import LockLost, RunInProgress
from stockbatch.store import lease, runs
from tests.support.market import end_leases, fetch, run

QUICK = {"LENGTH": 3.0, "RENEWAL": 0.4, "AGAIN": 0.1, "LOOK": 0.05}
"""Seconds of leases that need not outlive a busy machine."""
PREPARE = f"""
import sys
from jobs.app import App
from sqlalchemy import text
from stockbatch import config, database
from stockbatch.exceptions import LockLost, RunInProgress
from stockbatch.store import lease
vars(lease).update({QUICK})
settings = config.Settings(home=sys.argv[1], database_url=sys.argv[2])
app = App(settings=settings, engine=database.engine(settings), trainer=None)
"""
PAUSE = text("INSERT INTO stockbatch.pauses (calendar) VALUES (:code)")


@pytest.fixture
def quick(monkeypatch):
    for name, seconds in QUICK.items():
        monkeypatch.setattr(lease, name, seconds)


@pytest.fixture
def start(settings):
    """Start programs that have an App; end them afterwards."""
    with ExitStack() as stack:

        def start(code):
            url = settings.database_url.get_secret_value()
            process = subprocess.Popen(
                [sys.executable, "-c", PREPARE + code, settings.home, url],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


HOLD = """
with app.exclusive("XNYS"):
    print("held", flush=True)
    sys.stdin.read()
"""
WRITE = """
try:
    with app.exclusive("XNYS"), app.transaction() as db:
        if {early}:
            db.execute(text("INSERT INTO stockbatch.pauses (calendar) VALUES ('XNYS')"))
        print("held", flush=True)
        sys.stdin.readline()
        if not {early}:
            db.execute(text("INSERT INTO stockbatch.pauses (calendar) VALUES ('XNYS')"))
except LockLost as error:
    print(error)
"""
RACE = """
sys.stdin.readline()
try:
    with app.exclusive("XNYS"):
        print("got it", flush=True)
        sys.stdin.read()
except RunInProgress as error:
    print("in use", flush=True)
"""


def test_a_lease_outlives_a_lost_connection(engine, writer, quick):
    with lease.only_daemon(writer) as held:
        with engine.begin() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        time.sleep(lease.LENGTH + 0.5)
        held.require()
    with lease.only_daemon(writer) as held, lease.only_daemon(writer) as other:
        held.require()
        assert other is None


def test_a_lost_lease_is_told_however_often_it_is_asked_for(engine, writer):
    with lease.only_daemon(writer) as held:
        held.require()
        end_leases(engine)
        for _ in range(2):
            with pytest.raises(LockLost, match="lease 'daemon' was not renewed"):
                held.require()


def test_what_ended_the_work_is_not_hidden_by_the_loss_of_its_lease(engine, writer):
    def work():
        with runs.exclusive(writer, "XNYS") as held:
            end_leases(engine)
            held.require()

    with pytest.raises(LockLost):
        work()


def test_a_lease_is_given_back(engine, writer):
    with runs.exclusive(writer, "XNYS"), lease.only_daemon(writer):
        assert len(fetch(engine, "SELECT FROM stockbatch.leases")) == 2
    assert fetch(engine, "SELECT FROM stockbatch.leases") == []


def test_a_lease_of_a_clock_that_was_ahead_is_none(engine, writer):
    ahead = "INSERT INTO stockbatch.leases VALUES ('daemon', gen_random_uuid(), now() + '65 days')"
    with engine.begin() as connection:
        connection.execute(text(ahead))
    with lease.only_daemon(writer) as held:
        held.require()


def test_of_threads_that_race_one_gets_it(writer):
    got, barrier = [], threading.Barrier(6)

    def race():
        barrier.wait()
        with lease.only_daemon(writer) as held:
            got.append(held is not None)
            barrier.wait()

    threads = [threading.Thread(target=race) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(got) == [False] * 5 + [True]


def test_of_processes_that_race_one_gets_it(start):
    racers = [start(RACE) for _ in range(2)]
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    said = [racer.stdout.readline() for racer in racers]
    assert sorted(said) == ["got it\n", "in use\n"]


def test_who_is_killed_is_waited_for_and_told_about(start, writer, quick, caplog):
    holder = start(HOLD)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunInProgress), runs.exclusive(writer, "XNYS"):
        pass
    assert caplog.text == ""
    holder.kill()
    holder.wait()
    begun, looks = time.monotonic(), []
    with runs.exclusive(writer, "XNYS", lambda: looks.append(0)) as held:
        assert time.monotonic() - begun < lease.LENGTH + 1
        held.require()
    assert looks
    assert "whoever holds 'run XNYS' seems to be gone: waiting for the end of its" in caplog.text


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("taken", [True, False])
def test_who_was_suspended_until_its_lease_was_over_cannot_write(
    start, engine, writer, quick, early, taken
):
    holder = start(WRITE.format(early=early))
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    if taken:
        with runs.exclusive(writer, "XNYS") as held:
            held.require()
    else:
        time.sleep(lease.LENGTH + 0.2)
    holder.stdin.write("\n")
    holder.stdin.flush()
    os.kill(holder.pid, signal.SIGCONT)
    assert holder.stdout.readline().startswith("This process has lost its right to write")
    assert holder.wait(60) == 0
    assert fetch(engine, "SELECT FROM stockbatch.pauses") == []


def test_nobody_takes_a_lease_over_while_its_holder_commits(engine, writer, settings, monkeypatch):
    with runs.exclusive(writer, "XNYS") as held, Session(writer) as db:
        db.execute(PAUSE, {"code": "XNYS"})
        held.confirm(db)
        with engine.begin() as connection:  # renewals are let through
            connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            connection.execute(text("UPDATE stockbatch.leases SET expires_at = now()"))
        monkeypatch.setattr("stockbatch.database.connection.LOCK_TIMEOUT", "100ms")
        impatient = database.engine(settings)
        other = lease.Lease(impatient, "run XNYS")
        assert not other.take()
        db.commit()
        assert other.take()
        other.give_back()
        impatient.dispose()
        db.execute(PAUSE, {"code": "XLON"})
        with pytest.raises(LockLost):
            held.confirm(db)
    assert fetch(engine, "SELECT calendar FROM stockbatch.pauses") == [{"calendar": "XNYS"}]


def test_who_only_reads_is_not_asked_for_a_lease(engine, writer):
    with runs.exclusive(writer, "XNYS") as held:
        end_leases(engine)
        with Session(writer) as db:
            db.execute(text("SELECT FROM stockbatch.runs"))
            held.confirm(db)


# ---- a reader who wants to stop everything

HARMLESS = (
    "SELECT pg_advisory_lock(hashtextextended('stockbatch run XNYS', 0))",
    "SELECT pg_advisory_lock(hashtextextended('run XNYS', 0))",
    "SELECT pg_advisory_lock(hashtextextended('stockbatch daemon', 0))",
    "SELECT pg_advisory_lock(495874896747)",
    "BEGIN",
    "SELECT * FROM bi.run_history",
    "LOCK TABLE bi.run_history IN ACCESS SHARE MODE",
)
REFUSED = (
    "SELECT * FROM stockbatch.leases FOR UPDATE",
    "SELECT * FROM stockbatch.leases",
    "INSERT INTO stockbatch.leases VALUES ('daemon', gen_random_uuid(), now() + '20 s')",
    "DELETE FROM stockbatch.leases",
    "LOCK TABLE stockbatch.leases IN ACCESS SHARE MODE",
    "LOCK TABLE stockbatch.alembic_version IN ACCESS SHARE MODE",
    "LOCK TABLE stockbatch.runs IN ACCESS SHARE MODE",
    "LOCK TABLE bi.run_history IN ACCESS EXCLUSIVE MODE",
    "SELECT * FROM bi.run_history FOR UPDATE",
    "CREATE SCHEMA stockbatch_2",
)


def test_a_reader_stops_nothing(make_app, market, server):
    app = make_app(market)
    url = server.url("reader").set(database=app.engine.url.database)
    with psycopg.connect(database.for_clients(url), autocommit=True) as reader:
        for statement in REFUSED:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(statement)
        for statement in HARMLESS:
            reader.execute(statement)
        with lease.only_daemon(app.engine) as held, app.holding(held):
            assert not run(app).done_before
        owner = database.engine(app.settings, role="owner")
        with owner.connect() as connection, database.migration_lock(connection):
            pass
        owner.dispose()
