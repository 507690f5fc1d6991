"""The daemon on the real server: what it does, in which order, when it stops, what it is told."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from jobs.care import prune
from jobs.clock import Clock
from jobs.daemon import alerts
from jobs.daemon import loop as daemon
from jobs.daemon.chores import Chores, due
from jobs.daemon.loop import Care, work_off
from jobs.daemon.maintenance import refit_base
from jobs.daemon.signals import AT_ONCE
from jobs.daily.ledger import skip_session
from stockbatch import config
from stockbatch.events.base import FetchedEvents
from stockbatch.exceptions import (
    ClocksApart,
    ProviderUnavailable,
    SchemaTooNew,
    TrainingOverdue,
)
from stockbatch.records import Action, Chore, Event, Reason
from stockbatch.store import chores as chore_store
from stockbatch.store import pauses
from stockbatch.store import runs as runs_store
from tests.support.evenings import Evenings, evening, once, runs, since, work
from tests.support.market import (
    CODE,
    TICKERS,
    Market,
    PlainTrainer,
    assert_same,
    calendar,
    dump,
    end_leases,
    facts,
    fetch,
    in_chunks,
    outcomes,
    session,
)

SKIPPED = Action.NONE, Reason.SKIPPED


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
    assert why["message"] == "older than what is caught up: 2 sessions"
    for offset in (1, 2, 3):
        assert {action for action, _ in outcomes(app.engine, session(offset)).values()} <= {
            Action.TRAINED,
            Action.REUSED,
        }
    before = facts(app.engine)
    work(app, evening(3))
    assert_same(facts(app.engine), before)


@pytest.mark.slow  # weeks of wakes
def test_a_clock_that_was_ahead_for_a_minute_ends_nothing(app, change):
    work(app, evening(-1), evening(-1) + timedelta(days=20))
    skipped = [row for row in runs(app) if row[3] == "skipped"]
    assert len(skipped) >= 2, runs(app)
    # The embedded server has the same clock: what it stamped then is yet to come.
    ahead = datetime.now(UTC) + timedelta(days=65)
    change("UPDATE stockbatch.runs SET tried_at = :t WHERE status = 'skipped'", t=ahead)
    for offset in (0, 1):
        work(app, evening(offset))
        assert (CODE, session(offset), "catch_up", "finished", 2) in runs(app)
        found = outcomes(app.engine, session(offset))
        assert {action for action, _ in found.values()} <= {Action.TRAINED, Action.REUSED}
    assert len([row for row in runs(app) if row[3] == "skipped"]) == len(skipped) - 2
    query = "SELECT DISTINCT target_session AS day FROM stockbatch.forecasts ORDER BY day"
    assert [row["day"] for row in fetch(app.engine, query)][:3] == [session(n) for n in (0, 1, 2)]
    shown = "SELECT DISTINCT session FROM bi.{} WHERE {} = 'skipped'"
    for view, column in (("outcomes", "reason"), ("run_history", "status")):
        assert fetch(app.engine, shown.format(view, column)) == []


def test_nothing_is_skipped_or_pruned_where_the_clocks_are_far_apart(app):
    app.settings = app.settings.model_copy(update={"catch_up_sessions": 0})
    offset = [timedelta(days=65)]
    app.clock = Clock(lambda: datetime.now(UTC) + offset[0])
    since(app, datetime.now(UTC) - timedelta(days=9))
    work_off(app)
    assert "skipped" not in {row[3] for row in runs(app)}
    assert abs(app.clock() - datetime.now(UTC)) < timedelta(minutes=1)
    with pytest.raises(ClocksApart, match="93600 minutes apart"):
        prune.prune_calendar(app, CODE)
    with pytest.raises(ClocksApart):
        skip_session(app, CODE, session(-1))
    alerts.review(app)
    query = "SELECT condition FROM bi.alerts WHERE is_open AND subject = 'clocks'"
    assert fetch(app.engine, query) == [{"condition": "clocks_apart"}]
    offset[0] = timedelta(minutes=4)
    work_off(app)
    assert "skipped" in {row[3] for row in runs(app)}
    alerts.review(app)
    assert fetch(app.engine, query) == []


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


# ---- chores


def chores(app, **care):
    """Do the chores that are due; return which were done."""
    done = []
    tasks = {
        "prune": lambda app, code: done.append(("maintenance", code)),
        "vacuum": lambda app: done.append(("maintenance", "ALL")),
    }
    made = Chores(app=app, **tasks | care)
    made.work_off()
    return made, done


def test_chores_are_due_by_the_database_and_not_by_a_wake_up(app, monkeypatch):
    refitted = []
    monkeypatch.setattr(
        "jobs.daemon.chores.refit_base", lambda app, code: not refitted.append(code)
    )
    work(app, evening(-1))
    saturday = datetime(2024, 6, 1, 9, tzinfo=UTC)
    done = [(Chore.BASE_REFIT, CODE), (Chore.MAINTENANCE, CODE), (Chore.MAINTENANCE, "ALL")]
    for instant, expected in (
        (saturday - timedelta(hours=4), []),
        (saturday + timedelta(days=3), done),  # nobody was awake meanwhile
        (saturday + timedelta(days=6), []),
        (saturday + timedelta(days=7), done[:1]),
        (saturday + timedelta(days=32), done),
        (saturday + timedelta(days=20), done),  # the clock was set back
    ):
        app.clock = lambda instant=instant: instant
        assert due(app) == expected
        _, found = chores(app)
        assert [(Chore.BASE_REFIT, code) for code in refitted] + found == expected
        refitted.clear()


class Reports:
    """A source that states one report of every ticker, or that it is out of reach."""

    def __init__(self):
        self.asked = []
        self.reachable = True

    def events(self, requests):
        for request in requests:
            self.asked.append(request.symbol)
            if self.reachable:
                event = Event(symbol=request.symbol, date=date(2024, 8, 1))
                yield FetchedEvents(symbol=request.symbol, events=(event,))
            else:
                yield ProviderUnavailable(provider="x", ticker=request.symbol, reason="no route")

    def close(self):
        pass


def with_reports(app, change):
    """Let Yahoo know two tickers of the watchlist; return the source that is asked instead."""
    change(
        "INSERT INTO stockbatch.fallbacks (instrument_id, position, provider, symbol)"
        " SELECT id, 1, 'yfinance', ticker FROM stockbatch.instruments WHERE ticker <> 'CCC'"
    )
    app.event_sources["yahoo"] = source = Reports()
    return source


def test_dates_of_reports_are_asked_for_at_once_and_then_once_a_week(app, change):
    saturday = datetime(2024, 6, 1, 12, tzinfo=UTC)
    work(app, evening(-1))
    reports = with_reports(app, change)
    for instant, expected in (
        (saturday, ["AAA", "BBB"]),  # nobody was asked about them before
        (saturday + timedelta(hours=18), []),
        (saturday + timedelta(hours=20), ["AAA", "BBB"]),  # Sunday, 7:00 is over
        (saturday + timedelta(days=7), []),
        (saturday + timedelta(days=20), ["AAA", "BBB"]),
    ):
        app.clock = lambda instant=instant: instant
        assert ((Chore.EVENT_REFRESH, "ALL") in due(app)) == bool(expected)
        with app.transaction() as db:  # whatever else is due is another test's
            [
                chore_store.record(db, *key, instant)
                for key in due(app)
                if key[0] != Chore.EVENT_REFRESH
            ]
        chores(app)
        assert reports.asked == expected
        reports.asked.clear()
    dates = fetch(app.engine, "SELECT date, known_at, session FROM stockbatch.events ORDER BY id")
    assert [row["date"] for row in dates] == [date(2024, 8, 1)] * 2
    assert {row["known_at"] for row in dates} == {saturday}
    done = "SELECT done_at FROM stockbatch.chores WHERE chore = 'event_refresh'"
    assert [row["done_at"] for row in fetch(app.engine, done)] == [saturday + timedelta(days=20)]


def test_a_source_out_of_reach_is_asked_again_after_a_while(app, change):
    reports = with_reports(app, change)
    reports.reachable = False
    app.clock = lambda: evening(-2)  # nothing is due
    made, _ = chores(app)
    made.work_off()
    assert reports.asked == ["AAA", "BBB"]  # not at once
    assert (Chore.EVENT_REFRESH, "ALL") in due(app)
    app.clock = lambda: evening(-2) + timedelta(minutes=5)
    reports.reachable = True
    made.work_off()
    assert reports.asked == ["AAA", "BBB"] * 2
    assert (Chore.EVENT_REFRESH, "ALL") not in due(app)


def test_dates_of_reports_hold_no_run_up(app, change, monkeypatch):
    monkeypatch.setattr("jobs.refresh.COMMIT_ANSWERS", 1)
    reports = with_reports(app, change)
    app.clock = lambda: evening(-1)  # its run is due
    chores(app)
    assert reports.asked == ["AAA"]
    work(app, evening(-1))
    app.clock = lambda: evening(-1) + timedelta(minutes=5)
    chores(app)
    assert reports.asked == ["AAA", "BBB"]


def test_chores_wait_for_the_end_of_a_pause(app):
    work(app, evening(-1))
    app.clock = lambda: evening(2)
    with app.transaction() as db:
        pauses.begin(db, CODE)
    assert due(app) == [(Chore.MAINTENANCE, "ALL")]
    with app.transaction() as db:
        pauses.begin(db, pauses.ALL)
    assert due(app) == []
    with app.transaction() as db:
        pauses.end(db, pauses.ALL)
    assert len(due(app)) == 3


def test_an_exchange_at_work_keeps_no_other_from_its_chores(app, change):
    work(app, evening(-1), evening(0))
    change("UPDATE stockbatch.instruments SET calendar = 'XLON' WHERE ticker = 'BBB'")
    change("UPDATE stockbatch.models SET calendar = 'XLON' WHERE kind = 'ticker'")
    change("DELETE FROM stockbatch.chores")
    app.clock = lambda: evening(0)
    with runs_store.exclusive(app.engine, CODE):
        made, _ = chores(app, prune=prune.prune_calendar)
        left = {(Chore.BASE_REFIT, "XLON"), (Chore.BASE_REFIT, CODE), (Chore.MAINTENANCE, CODE)}
        assert set(due(app)) == left
        made.work_off()
    assert set(due(app)) == left  # tried again after a while only
    app.clock = lambda: evening(0) + timedelta(minutes=5)
    made.work_off()
    assert due(app) == [(Chore.BASE_REFIT, "XLON")]  # its own run comes first


def test_a_base_about_to_expire_is_refitted_when_there_is_time(app):
    app.settings = app.settings.model_copy(update={"base_after_sessions": 6})
    work(app, evening(-1), evening(0))
    app.clock = lambda: evening(0)
    assert (Chore.BASE_REFIT, CODE) in due(app)
    chores(app)
    bases = "SELECT last_session FROM stockbatch.models WHERE kind = 'base' ORDER BY id"
    assert [row["last_session"] for row in fetch(app.engine, bases)] == [session(-1), session(0)]
    assert {row[3] for row in runs(app)} == {"finished"}
    work(app, evening(1))
    assert len(fetch(app.engine, bases)) == 2


def test_a_base_that_lasts_leaves_the_run_alone(app):
    work(app, evening(-1), evening(0))
    app.clock = lambda: evening(0)
    before = dump(app.engine)["runs"]
    assert refit_base(app, CODE)
    assert dump(app.engine)["runs"] == before


# ---- what it says


def test_an_idle_daemon_says_once_what_it_waits_for(app, caplog):
    caplog.set_level("INFO", "jobs.daemon.loop")
    looks = []

    def review(app):
        looks.append(1)
        if len(looks) > 4:
            terminate(signal.SIGTERM)

    work(app, clock=Evenings(evening(-1)), care=Care(review=review))
    idle = [message for message in caplog.messages if "nothing is due" in message]
    assert idle == ["nothing is due; the next session: XNYS 2024-06-03, at 2024-06-03 20:45 UTC"]


# ---- stopping


def test_told_to_stop_it_ends_after_the_batch_and_goes_on_from_there(app, undisturbed):
    in_chunks(app).on_event = once("forecasts: load", lambda: terminate(signal.SIGTERM))
    work(app, evening(-1))
    assert runs(app) == [(CODE, session(-1), "schedule", "stopped", 1)]
    assert len(outcomes(app.engine, session(-1))) == app.settings.chunk_tickers == 2
    work(app, evening(-1), evening(0))
    assert {row[3:] for row in runs(app)} == {("finished", 1)}
    assert_same(facts(app.engine), undisturbed)


def test_told_to_stop_while_it_waits_it_speaks_of_no_run(app, monkeypatch):
    said = []
    monkeypatch.setattr(daemon.log, "info", lambda message, *values: said.append(message % values))
    timer = threading.Timer(0.5, terminate, [signal.SIGTERM])

    def review(app):
        monkeypatch.setattr(daemon, "MINUTE", 60)
        timer.start()

    with app.transaction() as db:
        pauses.begin(db, pauses.ALL)
    work(app, evening(-1), care=Care(review=review))
    waits = "nothing is due; all exchanges are paused: 'stockbatch resume' ends it"
    assert said == ["this daemon is at work", waits, "stopped"]


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
    end_leases(app.engine)
    os.kill(second, signal.SIGCONT)
    assert daemons.wait(second) == 0
    assert_same(facts(app.engine), undisturbed)


@pytest.mark.parametrize("event", ["open", "fetch", "forecasts: save", "forecasts: commit"])
def test_a_suspended_daemon_that_wakes_up_cannot_write(app, daemons, change, undisturbed, event):
    first = daemons.start(app, evening(-1), faults=[(event, 1, ["SIGSTOP"])])
    assert daemons.wait(first) == -signal.SIGSTOP
    change(  # as the server does after minutes: what waits in a transaction keeps rows locked
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    end_leases(app.engine)
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
