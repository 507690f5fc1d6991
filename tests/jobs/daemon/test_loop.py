"""The daemon on the real server: what it does, in which order, when it stops, what it is told."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, timedelta

import pytest
from apscheduler.triggers.date import DateTrigger
from sqlalchemy import text
from typer.testing import CliRunner

from jobs import cli
from jobs.daemon import loop as daemon
from jobs.daemon import triggers
from jobs.daemon.loop import Care, work_off
from jobs.daemon.maintenance import refit_bases
from jobs.daemon.signals import AT_ONCE
from stockbatch import config, database
from stockbatch.exceptions import SchemaTooNew, TrainingOverdue, UnknownRun
from stockbatch.records import Action, Reason
from stockbatch.store import pauses
from tests.support.evenings import Daemons, Evenings, evening, since, work
from tests.support.market import (
    CODE,
    TICKERS,
    Market,
    PlainTrainer,
    assert_same,
    calendar,
    dump,
    facts,
    fetch,
    outcomes,
    session,
)

SKIPPED = Action.NONE, Reason.SKIPPED
RUNS = "SELECT calendar, session, trigger, status, tries FROM stockbatch.runs ORDER BY id"


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return Market(tmp_path_factory.mktemp("market") / "market.csv")


@pytest.fixture(scope="module")
def new(make_lasting_app, market):
    """A watchlist that was filled on the evening before ORIGIN, for tests to copy."""
    app = make_lasting_app(market)
    since(app, evening(-1))
    return app


@pytest.fixture(scope="module")
def undisturbed(make_lasting_app, market, new):
    """What a daemon leaves behind that nobody disturbs."""
    app = make_lasting_app(market, like=new)
    work(app, evening(-1), evening(0))
    return facts(app.engine)


@pytest.fixture
def app(make_app, market, new):
    return make_app(market, like=new)


@pytest.fixture
def change(app):
    """Change the database behind the daemon's back."""
    owner = database.engine(app.settings, role="owner")

    def execute(statement, **values):
        with owner.begin() as connection:
            connection.execute(text(statement), values)

    yield execute
    owner.dispose()


@pytest.fixture(scope="module")
def daemons():
    made = Daemons()
    yield made
    made.close()


def runs(app):
    return [tuple(row.values()) for row in fetch(app.engine, RUNS)]


def once(event, act):
    """Return what does something when an event comes for the first time."""
    left = [event]

    def on_event(now):
        if now in left:
            left.remove(now)
            act()

    return on_event


def terminate(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


# ---- what is due, and in which order


def test_missed_sessions_are_caught_up_and_older_ones_skipped_with_an_outcome(app):
    app.settings = app.settings.model_copy(update={"catch_up_sessions": 2})
    work(app, evening(3))
    assert runs(app) == [
        (CODE, session(-1), "catch_up", "skipped", 1),
        (CODE, session(0), "catch_up", "skipped", 1),
        (CODE, session(3), "schedule", "finished", 1),
        (CODE, session(1), "catch_up", "finished", 1),
        (CODE, session(2), "catch_up", "finished", 1),
    ]
    for offset in (-1, 0):
        assert outcomes(app.engine, session(offset)) == dict.fromkeys(TICKERS, SKIPPED)
    (why,) = fetch(
        app.engine, "SELECT DISTINCT message FROM stockbatch.outcomes WHERE reason = 'skipped'"
    )
    assert why["message"] == "older than the 2 sessions that are caught up"
    for offset in (1, 2, 3):
        assert {action for action, _ in outcomes(app.engine, session(offset)).values()} <= {
            Action.TRAINED,
            Action.REUSED,
        }
    before = facts(app.engine)
    work(app, evening(3))
    assert_same(facts(app.engine), before)


def test_what_can_be_live_comes_first_over_all_exchanges(app, change):
    change("UPDATE stockbatch.instruments SET calendar = 'XLON' WHERE ticker = 'BBB'")
    work(app, evening(0))
    assert [(code, day, trigger) for code, day, trigger, _, _ in runs(app)] == [
        ("XLON", session(0), "schedule"),
        (CODE, session(0), "schedule"),
        ("XLON", session(-1), "catch_up"),
        (CODE, session(-1), "catch_up"),
    ]


def test_an_exchange_nobody_knows_stops_no_other(app, change, caplog):
    change("UPDATE stockbatch.instruments SET calendar = 'XXXX' WHERE ticker = 'BBB'")
    work(app, evening(-1))
    assert [row[:2] for row in runs(app)] == [(CODE, session(-1))]
    assert "XXXX is not the code of an exchange calendar" in caplog.text


class Slow(PlainTrainer):
    """Takes until after an instant, if it may."""

    def __init__(self, until):
        self.until = until

    def fit(self, *arrays, overdue, **options):
        self.clock.instants[0] = self.until
        if overdue():
            raise TrainingOverdue
        return super().fit(*arrays, **options)


def test_the_champion_steps_in_when_training_would_miss_the_deadline(app):
    app.settings = app.settings.model_copy(update={"retrain_after_sessions": 1})
    work(app, evening(-1))
    champions = "SELECT DISTINCT model_id FROM stockbatch.promotions"
    before = fetch(app.engine, champions)
    late = calendar().open(session(1)) - timedelta(minutes=10)
    app.trainer = Slow(late)
    clock = app.trainer.clock = Evenings(evening(0))
    work(app, care=Care(review=clock.go_on), clock=clock)

    found = outcomes(app.engine, session(0))
    assert {reason for _, reason in found.values()} == {Reason.DEADLINE}
    assert {action for action, _ in found.values()} <= {Action.REUSED, Action.BASE}
    assert fetch(app.engine, champions) == before
    query = """SELECT count(*) AS n, bool_and(issued_at < deadline_at) AS in_time
    FROM stockbatch.forecasts WHERE origin_session = :day AND method = 'lstm'"""
    assert fetch(app.engine, query, day=session(0)) == [{"n": 3, "in_time": True}]

    app.trainer = PlainTrainer()
    work(app, evening(1))
    assert set(outcomes(app.engine, session(1)).values()) == {(Action.TRAINED, Reason.EXPIRED)}


def test_what_failed_is_tried_again_after_a_while(app, change):
    def fail():
        raise ValueError("a bug")

    app.on_event = once("score", fail)
    app.clock = lambda: evening(-1)
    work_off(app)
    change("UPDATE stockbatch.runs SET tried_at = :instant", instant=evening(-1))
    for minutes, status in ((4, "failed"), (5, "finished")):
        app.clock = lambda minutes=minutes: evening(-1) + timedelta(minutes=minutes)
        work_off(app)
        assert [row[3] for row in runs(app)] == [status]


def test_it_wakes_up_for_base_models_and_maintenance(app, monkeypatch):
    monkeypatch.setattr(triggers, "crontab", lambda settings, key: DateTrigger(timezone=UTC))
    seen = set()
    monkeypatch.setattr(daemon, "refit_bases", lambda app: seen.add("base_refit"))

    def review(app):
        if len(seen) == 2:
            terminate(signal.SIGTERM)

    with app.transaction() as db:
        pauses.begin(db, pauses.ALL)
    work(app, evening(-1), care=Care(review=review, prune=lambda app: seen.add("maintenance")))
    assert seen == {"base_refit", "maintenance"}


def test_a_base_about_to_expire_is_refitted_when_there_is_time(app):
    app.settings = app.settings.model_copy(update={"base_after_sessions": 6})
    work(app, evening(-1), evening(0))
    app.clock = lambda: evening(0)
    before = runs(app)
    refit_bases(app)
    bases = "SELECT last_session FROM stockbatch.models WHERE kind = 'base' ORDER BY id"
    assert [row["last_session"] for row in fetch(app.engine, bases)] == [session(-1), session(0)]
    assert [row[:4] for row in runs(app)] == [row[:4] for row in before]
    work(app, evening(1))
    assert len(fetch(app.engine, bases)) == 2


# ---- stopping


def test_told_to_stop_it_ends_after_the_batch_and_goes_on_from_there(app, undisturbed):
    app.on_event = once("forecasts: load", lambda: terminate(signal.SIGTERM))
    work(app, evening(-1))
    assert runs(app) == [(CODE, session(-1), "schedule", "stopped", 1)]
    assert len(outcomes(app.engine, session(-1))) == app.settings.chunk_tickers == 2
    work(app, evening(-1), evening(0))
    assert {row[3:] for row in runs(app)} == {("finished", 1)}
    assert_same(facts(app.engine), undisturbed)


def test_told_twice_it_ends_at_once(app, undisturbed):
    app.on_event = once("forecasts: commit", lambda: terminate(signal.SIGTERM, signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        work(app, evening(-1))
    assert ended.value.code == AT_ONCE
    assert runs(app) == [(CODE, session(-1), "schedule", "running", 1)]
    assert outcomes(app.engine, session(-1)) == {}
    work(app, evening(-1), evening(0))
    assert_same(facts(app.engine), undisturbed)


def test_a_batch_longer_than_the_grace_time_is_broken_off(app, undisturbed):
    app.settings = app.settings.model_copy(update={"stop_grace_seconds": 1})

    def dawdle():
        terminate(signal.SIGTERM)
        time.sleep(60)

    app.on_event = once("forecasts: save", dawdle)
    with pytest.raises(SystemExit) as ended:
        work(app, evening(-1))
    assert ended.value.code == AT_ONCE
    work(app, evening(-1), evening(0))
    assert_same(facts(app.engine), undisturbed)


def test_a_schema_newer_than_the_program_stops_it(app, change):
    clock = Evenings(evening(-1), evening(0))

    def review(app):
        if runs(app):
            change("UPDATE stockbatch.alembic_version SET version_num = '9999'")
        clock.go_on(app)

    with pytest.raises(SchemaTooNew) as ended:
        work(app, care=Care(review=review), clock=clock)
    assert ended.value.exit_code == 5
    assert [row[1] for row in runs(app)] == [session(-1)]


# ---- never two at work


def test_a_second_daemon_waits_and_takes_over_when_the_first_dies(app, daemons, undisturbed):
    first = daemons.start(app, evening(-1), faults=[("forecasts: commit", 1, ["SIGSTOP"])])
    assert daemons.wait(first) == -signal.SIGSTOP
    passive = [("another daemon is at work", 1, ["SIGSTOP"])]
    second = daemons.start(app, evening(-1), evening(0), faults=passive)
    assert daemons.wait(second) == -signal.SIGSTOP
    assert outcomes(app.engine, session(-1)) == {}
    os.kill(first, signal.SIGKILL)
    assert daemons.wait(first) == -signal.SIGKILL
    os.kill(second, signal.SIGCONT)
    assert daemons.wait(second) == 0
    assert_same(facts(app.engine), undisturbed)


@pytest.mark.parametrize("event", ["open", "fetch", "forecasts: save", "forecasts: commit"])
def test_a_suspended_daemon_that_wakes_up_cannot_write(app, daemons, change, undisturbed, event):
    first = daemons.start(app, evening(-1), faults=[(event, 1, ["SIGSTOP"])])
    assert daemons.wait(first) == -signal.SIGSTOP
    change(  # as a server does that is restarted, or has not heard of a machine for long
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    app.engine.dispose()
    assert daemons.run(app, evening(-1), evening(0)) == 0
    assert_same(facts(app.engine), undisturbed)
    after = dump(app.engine)
    os.kill(first, signal.SIGCONT)
    assert daemons.wait(first) == 0
    assert dump(app.engine) == after


# ---- the service


def test_systemd_is_told(settings, tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(60)
        variables = {
            "NOTIFY_SOCKET": address,
            "WATCHDOG_USEC": "100000",
            f"{config.PREFIX}HOME": str(settings.home),
            f"{config.PREFIX}DATABASE_URL": settings.database_url.get_secret_value(),
            f"{config.PREFIX}MONITORING_ADDRESS": "",
        }
        with subprocess.Popen(
            [sys.executable, "-m", "jobs", "daemon"],
            env=os.environ | variables,
            stderr=subprocess.DEVNULL,
        ) as process:
            while (state := manager.recv(100)) == b"WATCHDOG=1":
                pass
            assert state == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            process.terminate()
            while (state := manager.recv(100)) == b"WATCHDOG=1":
                pass
            assert state == b"STOPPING=1"
            assert process.wait(60) == 0


# ---- the commands


@pytest.fixture
def stockbatch(app, monkeypatch):
    """Call the command in this process and in the world of the App."""
    monkeypatch.setattr("jobs.app.running", lambda settings, create=True: nullcontext(app))

    def call(*arguments):
        return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])

    return call


def test_a_paused_exchange_is_left_alone_and_caught_up_later(app, stockbatch, undisturbed):
    assert "paused: XNYS" in stockbatch("pause", "NYSE").output
    work(app, evening(-1))
    assert runs(app) == []
    app.clock = lambda: evening(-1)
    assert "paused: XNYS since" in stockbatch("schedule").output
    assert stockbatch("resume", "XNYS").output == "nothing is paused\n"
    work(app, evening(-1), evening(0))
    assert_same(facts(app.engine), undisturbed)


def test_everything_is_paused_at_once(app, stockbatch):
    stockbatch("pause", "XLON")
    stockbatch("pause")
    with app.transaction() as db:
        assert list(pauses.since(db)) == ["ALL", "XLON"]
    work(app, evening(-1))
    assert runs(app) == []
    assert stockbatch("resume").output == "nothing is paused\n"


def test_the_schedule_shows_firings_and_what_is_due(app, stockbatch):
    app.clock = lambda: evening(0)
    said = stockbatch("schedule").output
    # XNYS closes at 20:00 UTC; 45 minutes later the daemon wakes up
    for offset in (1, 2, 3):
        assert re.search(rf"{session(offset)} 20:45 +XNYS: daily run", said)
    assert re.search(r"Sat 2024-06-08 06:00 +all: base models about to expire", said)
    assert re.search(r"2024-07-01 08:00 +all: maintenance", said)
    assert f"due: XNYS {session(0)}, forecasts live\n" in said
    assert f"due: XNYS {session(-1)}, forecasts late\n" in said


def test_runs_are_listed_and_shown_in_detail(app, stockbatch):
    work(app, evening(-1), evening(0))
    said = stockbatch("runs").output
    (first, second) = fetch(app.engine, "SELECT id, session FROM stockbatch.runs ORDER BY id")
    assert said.index(str(second["session"])) < said.index(str(first["session"]))
    assert str(first["session"]) not in stockbatch("runs", "--limit", 1).output
    detail = stockbatch("runs", first["id"]).output
    assert str(second["session"]) not in detail
    assert re.search(r"trained +no_model +3 +AAA", detail)
    assert isinstance(stockbatch("runs", 4711).exception, UnknownRun)


def test_what_failed_is_run_again_on_request(app, stockbatch):
    app.clock = lambda: evening(-1)

    def fail():
        raise ValueError("a bug")

    app.on_event = once("score", fail)
    assert isinstance(stockbatch("retry").exception, ValueError)
    assert runs(app) == [(CODE, session(-1), "schedule", "failed", 1)]
    assert "a bug" in stockbatch("runs").output
    assert f"XNYS {session(-1)} finished: 3 outcomes" in stockbatch("retry", CODE).output
    assert runs(app) == [(CODE, session(-1), "schedule", "finished", 2)]
    assert stockbatch("retry").output == "nothing is due\n"


def test_a_backfill_runs_what_it_is_asked_for(app, stockbatch, change):
    app.clock = lambda: evening(0)
    span = ("backfill", "--from", session(-3), "--to", session(2))

    def said(*more):
        answer = stockbatch(*span, *more)
        assert answer.exception is None, answer.exception
        return answer.output.splitlines()

    days = [session(offset) for offset in (-3, -2, -1, 0)]  # those to come are left out
    planned = [f"XNYS {day} is missing: would run it" for day in days]
    assert said("--dry-run") == planned
    assert runs(app) == []
    done = said()
    assert [line.split(" finished")[0] for line in done] == [f"XNYS {day}" for day in days]
    assert runs(app) == [(CODE, day, "backfill", "finished", 1) for day in days]
    assert said() == ["XNYS: nothing to run"]

    change("UPDATE stockbatch.runs SET status = 'failed' WHERE session = :day", day=days[1])
    before = facts(app.engine)
    assert f"XNYS {days[1]} is failed: would leave it" in said("--dry-run")
    again = said("--dry-run", "--reprocess", "failed")
    assert [line for line in again if "would run" in line] == [
        f"XNYS {days[1]} is failed: would run it"
    ]
    assert len(said("--reprocess", "failed")) == 1
    assert len(said("--reprocess", "completed")) == 4
    attempts = fetch(app.engine, "SELECT max(attempt) AS n FROM stockbatch.runs GROUP BY session")
    assert attempts == [{"n": 2}] * 4
    for table in ("bars", "forecasts", "scores", "models"):
        assert facts(app.engine)[table].keys() == before[table].keys()
