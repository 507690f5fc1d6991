"""Chunks made by workers: the rows are those of a run that makes them itself, whoever dies."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from jobs import workers
from jobs.daily import forecast, metrics
from jobs.daily.chunk_orders import ChunkOrder, make_chunk
from jobs.models.orders import MaterialOrder, load_part
from jobs.replay.backtest import backtest
from jobs.replay.tune import tune
from jobs.workers import connection, pool, serving
from jobs.workers.agreement import decisive
from jobs.workers.pool import Workers
from stockbatch.config import PREFIX, Address
from stockbatch.exceptions import ConfigurationError, RunStopped, WorkNotDone
from stockbatch.methods import risk
from stockbatch.records import Action, Reason
from stockbatch.store import runs
from tests.support import deployed
from tests.support.evenings import evening, once
from tests.support.market import (
    CODE,
    ORIGIN,
    TICKERS,
    Market,
    assert_same,
    calendar,
    facts,
    fetch,
    in_chunks,
    outcomes,
    run,
    session,
)
from tests.support.places import ROOT
from tests.support.plain import PlainProcess
from tests.support.workers import (
    begin,
    fault,
    hoard,
    kill_for,
    met,
    open_counting,
    open_in_the_evening,
    open_otherwise,
    open_plain,
    open_training,
)

TRAINED = Action.TRAINED, Reason.NO_MODEL
MORE = (*TICKERS, "DDD", "EEE", "FFF")
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def _of_a_short_history(monkeypatch):
    """Let there be risk to tell."""
    monkeypatch.setattr(risk, "FEWEST", 60)


@pytest.fixture
def wide(tmp_path):
    return Market(tmp_path / "wide.csv", MORE)


@pytest.fixture
def undisturbed(make_app, wide):
    """What two sessions leave behind without workers."""
    app = in_chunks(make_app(wide))
    for day in (session(0), session(1)):
        run(app, day)
    left = facts(app.engine)
    assert left["risk_forecasts"]
    return left


@pytest.fixture
def shared(make_app, wide):
    """An App whose chunks two workers make."""
    app = in_chunks(make_app(wide))
    app.settings = app.settings.model_copy(update={"workers": 2})
    app.open_worker = open_plain
    return app


def alone(app):
    """Let an App have no workers any more."""
    app.settings = app.settings.model_copy(update={"workers": 0})


@slow
def test_rows_do_not_tell_who_made_them(shared, undisturbed, monkeypatch):
    monkeypatch.setattr(metrics, "AT_ONCE", 2)
    for day in (session(0), session(1)):
        run(shared, day)
    assert outcomes(shared.engine) == dict.fromkeys(MORE, TRAINED)
    assert_same(facts(shared.engine), undisturbed)


@slow
def test_weights_are_the_same_to_the_last_bit(shared, make_app, wide, tensorflow):
    alone = in_chunks(make_app(wide, trainer=tensorflow))
    shared.trainer, shared.open_worker = tensorflow, open_training
    queries = (
        "SELECT ticker, method, kind, weights_sha256 FROM stockbatch.models AS m"
        " LEFT JOIN stockbatch.instruments AS i ON i.id = instrument_id ORDER BY 1, 2, 3",
        "SELECT ticker, method, q01, q10, q50, q90, q99, raw_q50 FROM stockbatch.forecasts"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id ORDER BY 1, 2",
    )
    for app in (alone, shared):
        run(app)
    for query in queries:
        found, expected = (fetch(app.engine, query) for app in (shared, alone))
        assert found == expected
        assert len(found) > len(MORE)


@slow
@pytest.mark.parametrize("phase", ["load", "compute", "save", "commit"])
def test_a_worker_killed_at_any_phase_loses_nothing(shared, undisturbed, phase):
    fault(shared.settings.home, f"forecasts: {phase}", signal.SIGKILL)
    run(shared)
    met(shared.settings.home)
    alone(shared)
    run(shared, session(1))
    assert_same(facts(shared.engine), undisturbed)


@slow
def test_whose_worker_is_killed_once_is_tried_again_also_alone(shared, undisturbed):
    shared.settings = shared.settings.model_copy(update={"chunk_tickers": 1})
    fault(shared.settings.home, "forecasts: compute", signal.SIGKILL)
    run(shared)
    met(shared.settings.home)
    alone(shared)
    run(shared, session(1))
    assert_same(facts(shared.engine), undisturbed)


@slow
def test_a_ticker_that_kills_every_worker_is_left_out_alone(shared):
    kill_for(shared.settings.home, "CCC")
    run(shared)
    found = outcomes(shared.engine)
    assert found.pop("CCC") == (Action.NONE, Reason.FAILED)
    assert found == dict.fromkeys((one for one in MORE if one != "CCC"), TRAINED)
    said = "SELECT message FROM stockbatch.outcomes WHERE reason = 'failed'"
    assert fetch(shared.engine, said) == [{"message": "the worker that did it died"}]


@slow
def test_what_a_worker_that_hangs_has_not_done_the_run_does(shared, undisturbed, monkeypatch):
    """And what that worker does once it wakes up changes nothing."""
    impatient = lambda client, expected, silence: Workers(client, expected, silence=3)  # noqa: E731
    fault(shared.settings.home, "forecasts: compute", signal.SIGSTOP)
    made = forecast.make

    def make(app, *given):
        made(app, *given)
        os.kill(met(shared.settings.home), signal.SIGCONT)
        time.sleep(1)  # for the worker to do what it was asked before

    with monkeypatch.context() as patch:
        patch.setattr(connection, "Workers", impatient)
        patch.setattr(forecast, "make", make)
        run(shared)
    alone(shared)
    run(shared, session(1))
    assert_same(facts(shared.engine), undisturbed)


@slow
def test_no_worker_is_waited_for_beyond_the_deadline(shared):
    home = shared.settings.home
    due = calendar().deadline(session(1)) - timedelta(minutes=5)
    shared.clock = lambda: due if (home / "fault.met").exists() else evening()
    shared.open_worker = open_in_the_evening
    fault(home, "forecasts: compute", signal.SIGSTOP)
    run(shared)
    found = outcomes(shared.engine)
    untrained = [one for one in found if found[one] == (Action.BASE, Reason.DEADLINE)]
    assert len(untrained) >= 2  # the chunk of the one that hangs, if not more
    assert {found[one] for one in MORE if one not in untrained} <= {TRAINED}
    made = fetch(shared.engine, "SELECT DISTINCT instrument_id, method FROM stockbatch.forecasts")
    assert len(made) == len(MORE) * len({row["method"] for row in made})


@slow
def test_a_worker_of_other_settings_is_refused_by_name(shared, undisturbed, monkeypatch, caplog):
    monkeypatch.setattr(pool, "PATIENCE", 1)
    shared.open_worker = open_otherwise
    run(shared)
    alone(shared)
    run(shared, session(1))
    assert_same(facts(shared.engine), undisturbed)
    refused = [line for line in caplog.messages if "cannot work for this" in line]
    assert len(refused) == 2
    assert all("retrain_after_sessions is 99 there and 5 here" in line for line in refused)
    assert any("there is no worker" in line for line in caplog.messages)


@slow
def test_a_run_that_is_stopped_is_gone_on_with(shared, undisturbed):
    seen = []

    def look():
        seen.append(len(outcomes(shared.engine)))
        if seen[-1]:
            stop()

    shared.checkpoint = look
    with pytest.raises(RunStopped):
        run(shared)
    shared.checkpoint = lambda: None
    alone(shared)
    for day in (session(0), session(1)):
        run(shared, day)
    assert_same(facts(shared.engine), undisturbed)


@slow
def test_a_worker_that_is_told_to_end_saves_nothing_more(shared):
    """Else it would find that a ticker cannot be trained, because its child is gone."""
    model = shared.settings.model.model_copy(update={"epochs": 10_000})
    own = {"model": model, "chunk_tickers": 1}
    shared.settings = shared.settings.model_copy(update=own)
    shared.open_worker = open_counting
    shared.settings.home.mkdir(exist_ok=True)

    def look():
        if (shared.settings.home / "forecasts: compute").exists():
            time.sleep(1)  # for a child to be at it
            stop()

    shared.checkpoint = look
    with pytest.raises(RunStopped):
        run(shared)
    assert outcomes(shared.engine) == {}


@slow
def test_an_order_for_a_worker_that_is_gone_comes_back(shared, monkeypatch):
    monkeypatch.setitem(connection.DASK, "distributed.scheduler.no-workers-timeout", "1s")
    monkeypatch.setattr(connection, "Workers", _patient)
    monkeypatch.setattr(Workers, "_able", lambda self: ["tls://127.0.0.1:9"])
    with workers.opened(shared) as some:
        ((_, found),) = some.do(begin, ["it"], pause=lambda: None)
    assert isinstance(found, WorkNotDone)
    assert "whoever was to do it is gone" in str(found)


@slow
def test_a_worker_that_is_nearly_too_large_goes_on(shared, monkeypatch):
    monkeypatch.setattr(connection, "Workers", _patient)
    own = {"workers": 1, "training_memory_mib": 1024}
    shared.settings = shared.settings.model_copy(update=own)
    with workers.opened(shared) as some:
        found = [answer for _, answer in some.do(hoard, [0.85, 0.85], pause=lambda: None)]
    assert found[0] == found[1]


def _patient(client, expected, **_):
    return Workers(client, expected, silence=20)


@slow
def test_ctrl_c_is_for_the_run_alone(shared):
    """Also while its workers are starting: they end with it, and say nothing."""
    blocked = []

    def interrupt():
        blocked.extend(_awaited(2))
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        watcher = threading.Thread(target=interrupt)
        watcher.start()
        with pytest.raises(KeyboardInterrupt), workers.opened(shared):
            time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, before)
    watcher.join()
    assert blocked == [True, True]
    assert _workers() == []


def _awaited(number):
    """Tell of each worker of this process, once there are so many, whether it hears no Ctrl-C."""
    while len(_workers()) < number:
        time.sleep(0.01)
    masks = [Path(f"/proc/{one.pid}/status").read_text().split("SigBlk:")[1] for one in _workers()]
    return [bool(int(mask.split()[0], 16) >> (signal.SIGINT - 1) & 1) for mask in masks]


def _workers(parent=None):
    found = []
    for one in psutil.Process(parent).children():
        with suppress(psutil.NoSuchProcess):  # what other tests have left may be ending
            if any("spawn_main" in word for word in one.cmdline()):
                found.append(one)
    return found


def test_what_killed_workers_have_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, others = tmp_path / "stockbatch-workers-a_b1c2d3", tmp_path / "stockbatch-workers"
    (left / "worker-1").mkdir(parents=True)
    others.mkdir()
    with connection.scratch() as one, connection.scratch() as two:
        assert set(tmp_path.iterdir()) == {others, Path(one), Path(two)}
    assert list(tmp_path.iterdir()) == [others]


@pytest.fixture
def walked(make_app, wide):
    """What a backtest of two blocks leaves behind without workers."""
    app = in_chunks(make_app(wide))
    list(backtest(app, CODE, ORIGIN, session(6)))
    return facts(app.engine)


@slow
def test_a_backtest_by_workers_is_the_same(shared, walked):
    list(backtest(shared, CODE, ORIGIN, session(6)))
    assert_same(facts(shared.engine), walked)


@slow
@pytest.mark.parametrize("phase", ["compute", "save"])
def test_a_worker_killed_in_a_backtest_loses_nothing(shared, walked, phase):
    fault(shared.settings.home, f"backtest: {phase}", signal.SIGKILL)
    list(backtest(shared, CODE, ORIGIN, session(6)))
    met(shared.settings.home)
    assert_same(facts(shared.engine), walked)


@slow
def test_whose_worker_is_killed_once_in_a_backtest_is_tried_again_also_alone(shared, walked):
    shared.settings = shared.settings.model_copy(update={"chunk_tickers": 1})
    fault(shared.settings.home, "backtest: compute", signal.SIGKILL)
    list(backtest(shared, CODE, ORIGIN, session(6)))
    met(shared.settings.home)
    assert_same(facts(shared.engine), walked)


@slow
def test_a_backtest_brings_its_own_settings(shared, make_app, wide, caplog):
    """Workers of a cluster have those of the daily job."""
    shared.open_worker = open_otherwise
    list(backtest(shared, CODE, ORIGIN, session(6)))
    assert "cannot work for this" not in caplog.text
    alone(shared)
    other = in_chunks(make_app(wide))
    list(backtest(other, CODE, ORIGIN, session(6)))
    assert_same(facts(shared.engine), facts(other.engine))


@slow
def test_a_search_tries_as_many_settings_at_a_time_as_there_are_workers(shared):
    alone(shared)
    run(shared, session(25))
    options = {"trials": 4, "judging": 20, "most_tickers": 10}
    by_one, by_two = [], []
    tune(shared, CODE, session(21), **options, on_trial=by_one.append)
    shared.settings = shared.settings.model_copy(update={"workers": 2})
    tune(shared, CODE, session(21), **options, on_trial=by_two.append)
    assert len(by_one) == len(by_two) == 1 + 4
    # The first few are drawn by lot: nothing that came of others has a say.
    assert by_two == by_one


@pytest.fixture
def cluster(shared, tmp_path):
    """A scheduler that speaks TLS, and two workers of it, in processes of their own."""
    made = deployed.made_secrets(tmp_path)
    names = ("cluster_ca", "cluster_certificate", "cluster_key")
    files = {f"{name}_file": made / f"{name}.pem" for name in names}
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    own = {"workers": 0, "cluster": f"tls://{address}", **files}
    shared.settings = shared.settings.model_copy(update=own)
    shared.settings.home.mkdir(exist_ok=True)
    environment = _environment(shared.settings)
    with (
        _process(["-m", "jobs", "cluster", "scheduler", "--address", address], environment) as one,
        _process(["-m", "tests.support.workers"], environment) as two,
    ):
        yield one, two


NEWS = {"news_sources", "news_feeds"}
"""Settings that a variable cannot have empty."""


def _environment(settings):
    """Return the variables by which a process has these settings."""
    aside = {"model", "alert_urls", "exchanges", *NEWS}
    given = settings.model_dump(mode="json", exclude=aside)
    given |= {f"model__{k}": v for k, v in settings.model.model_dump(mode="json").items()}
    given["database_url"] = settings.database_url.get_secret_value()
    given["event_sources"] = "none"
    variables = {f"{PREFIX}{k}".upper(): str(v) for k, v in given.items() if v not in (None, "")}
    return {**os.environ, **variables, "PYTHONPATH": str(ROOT)}


@contextmanager
def _process(arguments, environment):
    """Run Python until the end, once it has said its first line."""
    made = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert "127.0.0.1" in made.stdout.readline()
        yield made
    finally:
        made.terminate()
        made.communicate(timeout=60)


@slow
def test_a_cluster_over_tls_does_the_work(cluster, shared, undisturbed, monkeypatch, caplog):
    monkeypatch.setattr(forecast, "make", None)  # nothing is left for the run itself
    for day in (session(0), session(1)):
        run(shared, day)
    assert_same(facts(shared.engine), undisturbed)
    assert "worker" not in caplog.text
    left = psutil.Process(cluster[1].pid).children(recursive=True)
    assert not [one for one in left if "tests.support.plain" in one.cmdline()]


@slow
def test_a_scheduler_that_is_suspended_is_as_good_as_gone(
    cluster, shared, undisturbed, monkeypatch, caplog
):
    monkeypatch.setattr(pool, "ANSWER", 0.5)
    monkeypatch.setattr(pool, "PATIENCE", 2)
    scheduler, _ = cluster
    suspended = []

    def suspend():
        if not suspended and outcomes(shared.engine):
            suspended.append(scheduler.send_signal(signal.SIGSTOP))

    shared.checkpoint = suspend
    try:
        run(shared)
    finally:
        scheduler.send_signal(signal.SIGCONT)
    assert suspended
    assert "the scheduler is gone" in caplog.text
    alone(shared)
    shared.settings = shared.settings.model_copy(update={"cluster": ""})
    run(shared, session(1))
    assert_same(facts(shared.engine), undisturbed)


@slow
def test_what_a_cluster_that_is_gone_has_not_done_the_run_does(
    cluster, shared, undisturbed, caplog
):
    scheduler, _ = cluster

    def kill():
        if scheduler.poll() is None and outcomes(shared.engine):
            scheduler.kill()

    shared.checkpoint = kill
    run(shared)
    assert scheduler.wait(10) == -signal.SIGKILL
    assert "the scheduler is gone" in caplog.text
    run(shared, session(1))  # there is none to begin with
    assert_same(facts(shared.engine), undisturbed)
    assert f"The cluster at {shared.settings.cluster} does not answer" in caplog.text
    assert "without it" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cluster_ca", None, "cluster_ca_file: .*cluster_ca.pem: No such file or directory"),
        ("cluster_key", None, "cluster_key_file: .*cluster_key.pem: No such file or directory"),
        ("cluster_ca", b"none", "cluster_ca_file: .*cluster_ca.pem: .*no certificate"),
        ("cluster_key", b"none", "cluster_certificate_file: .*cluster_certificate.pem: "),
    ],
)
def test_a_certificate_that_is_none_is_named(shared, tmp_path, caplog, name, content, reason):
    made = deployed.made_secrets(tmp_path)
    files = {key: made / f"{key.removesuffix('_file')}.pem" for key in connection.CERTIFICATES}
    (made / f"{name}.pem").unlink()
    if content is not None:
        (made / f"{name}.pem").write_bytes(content)
    own = {"workers": 0, "cluster": "tls://127.0.0.1:9", **files}
    settings = shared.settings.model_copy(update=own)
    with pytest.raises(ConfigurationError, match=reason):
        connection.security(settings)
    shared.settings = settings
    with workers.opened(shared) as some:
        assert some is None
    assert re.search(reason, caplog.text)


def test_a_scheduler_listens_on_ipv6_and_says_where_it_cannot(app):
    settings = app.settings

    async def listen(address):
        def ready(at):
            said.append(at)
            os.kill(os.getpid(), signal.SIGTERM)

        await serving.scheduler(settings, Address.parse(address), ready)

    said = []
    asyncio.run(listen("[::1]:0"))
    assert said[0].startswith("tcp://[::1]:")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = ["cluster", "scheduler", "--address", f"127.0.0.1:{taken.getsockname()[1]}"]
        done = subprocess.run(
            [sys.executable, "-m", "jobs", *arguments],
            env=_environment(settings),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert re.fullmatch(r"error: options: --address: .*Address already in use\n", done.stderr)


class _Slow:
    """A nanny whose process needs a while to start."""

    status = "running"

    def __init__(self, *given, **options):
        pass

    async def __aenter__(self):
        await asyncio.sleep(0.2)

    async def __aexit__(self, *error):
        pass


def test_many_workers_take_as_long_to_start_as_they_need(shared, monkeypatch):
    monkeypatch.setattr(serving, "Nanny", _Slow)
    monkeypatch.setattr(serving, "CONNECTING", 0.15)
    own = {"workers": 0, "cluster": "tcp://127.0.0.1:8786"}
    settings, said = shared.settings.model_copy(update=own), []

    def ready(at):
        said.append(at)
        os.kill(os.getpid(), signal.SIGTERM)

    asyncio.run(serving.workers(settings, 5, ready))
    assert said == [settings.cluster]


def doctor(settings):
    """Return what the doctor says of the cluster, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "doctor", "--format", "json"],
        env=_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    (said,) = [one for one in json.loads(done.stdout) if one["check"] == "cluster"]
    return said["state"], said["message"]


@slow
def test_the_doctor_names_who_would_be_refused(cluster, shared):
    at = shared.settings.cluster
    assert doctor(shared.settings) == ("ok", f"2 workers at {at}")
    other = shared.settings.model_copy(update={"retrain_after_sessions": 7})
    state, said = doctor(other)
    assert (state, said.count("cannot work for this")) == ("wrong", 2)
    for number in (1, 2):
        assert f"Worker {socket.gethostname()}-{number} at tls://" in said
    assert "retrain_after_sessions is 5 there and 7 here" in said
    scheduler, workers = cluster
    one = next(child for child in _workers(workers.pid))
    one.suspend()
    state, said = doctor(shared.settings)
    one.resume()
    assert state == "wrong"
    assert "of 2 workers, 1 refused" in said
    assert "it has not answered for 10 s" in said
    workers.terminate()
    workers.wait(60)
    state, said = doctor(shared.settings)
    assert state == "wrong"
    assert "it has no worker: 'stockbatch cluster worker'" in said
    scheduler.terminate()
    scheduler.wait(60)
    state, said = doctor(shared.settings)
    assert state == "wrong"
    assert said.startswith(f"The cluster at {at} does not answer: ")


def test_the_doctor_says_how_many_workers_this_machine_has(shared):
    assert doctor(shared.settings) == ("ok", "2 workers of this machine")


def test_two_copies_of_an_order_leave_one_model_and_one_promotion(make_app, market):
    app = make_app(market)
    app.on_event = once("forecasts: load", stop)
    with pytest.raises(RunStopped):
        run(app)
    with app.transaction() as db:
        again = runs.open_run(
            db, CODE, ORIGIN, trigger="manual", reprocess=False, code_version="", engine_hash=""
        )
        since = runs.newest_outcome(db)
    order = ChunkOrder(
        run=again,
        demo=False,
        ids=_ids(app),
        problems={},
        failures={},
        retrain=False,
        train_until=None,
        since=since,
    )
    both = threading.Barrier(2, timeout=30)
    app.on_event = lambda event: both.wait() if event == "forecasts: save" else None
    answers = []
    copies = [
        threading.Thread(target=lambda: answers.append(make_chunk(_Desk(app), order)))
        for _ in range(2)
    ]
    for copy in copies:
        copy.start()
    for copy in copies:
        copy.join(60)
    assert [answer.left_out for answer in answers] == [{}, {}]
    counts = """
        SELECT (SELECT count(*) FROM stockbatch.models WHERE method = 'lstm' AND kind = 'ticker'),
            (SELECT count(*) FROM stockbatch.outcomes), (SELECT count(*) FROM stockbatch.promotions)
    """
    with app.engine.connect() as connection:
        assert connection.exec_driver_sql(counts).one() == (3, 3, 3)


def test_a_worker_that_has_loaded_for_a_base_has_a_child_to_train_with(make_app, market):
    with PlainProcess(1) as trainer:
        app = make_app(market)
        app.on_event = once("base: compute", stop)
        with pytest.raises(RunStopped):
            run(app)
        app.trainer = trainer
        with app.transaction() as db:
            again = runs.open_run(
                db, CODE, ORIGIN, trigger="manual", reprocess=False, code_version="", engine_hash=""
            )
        order = MaterialOrder(
            run=again, ids=_ids(app), last=ORIGIN, sessions=100, settings=decisive(app.settings)
        )
        material = load_part(_Desk(app), order)
        assert [one.ticker for one in material.instruments] == list(TICKERS)
        assert psutil.Process(trainer.pid).is_running()


def _ids(app):
    return tuple(row["id"] for row in fetch(app.engine, "SELECT id FROM stockbatch.instruments"))


def stop():
    raise RunStopped(reason="somebody likes")


class _Desk:
    """A desk that keeps nothing."""

    def __init__(self, app):
        self.app = app

    def kept(self, name, key, make):
        return make()

    def with_settings(self, settings):
        return replace(self.app, settings=self.app.settings.model_copy(update=settings))


def test_without_the_extra_a_run_says_what_to_install(app, monkeypatch):
    app.settings = app.settings.model_copy(update={"workers": 2})
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(workers.MissingExtra, match="--extra all"):
        run(app)
    assert fetch(app.engine, "SELECT * FROM stockbatch.runs") == []
