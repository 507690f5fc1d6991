"""Chunks made by workers: the rows are those of a run that makes them itself, whoever dies."""

import os
import signal
import tempfile
import threading
import time
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
from jobs.workers import connection, pool
from jobs.workers.agreement import decisive
from jobs.workers.pool import Workers
from stockbatch.exceptions import RunStopped, WorkNotDone
from stockbatch.records import Action, Reason
from stockbatch.store import runs
from tests.support.evenings import evening, once
from tests.support.market import (
    CODE,
    ORIGIN,
    TICKERS,
    assert_same,
    calendar,
    facts,
    fetch,
    in_chunks,
    outcomes,
    run,
    session,
)
from tests.support.plain import PlainProcess
from tests.support.workers import (
    MORE,
    alone,
    begin,
    fault,
    hoard,
    kill_for,
    met,
    open_counting,
    open_in_the_evening,
    open_otherwise,
    open_training,
    workers_of,
)

TRAINED = Action.TRAINED, Reason.NO_MODEL
slow = pytest.mark.slow


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
    assert workers_of() == []


def _awaited(number):
    """Tell of each worker of this process, once there are so many, whether it hears no Ctrl-C."""
    while len(workers_of()) < number:
        time.sleep(0.01)
    masks = [
        Path(f"/proc/{one.pid}/status").read_text().split("SigBlk:")[1] for one in workers_of()
    ]
    return [bool(int(mask.split()[0], 16) >> (signal.SIGINT - 1) & 1) for mask in masks]


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
def test_a_search_tries_as_many_settings_at_a_time_as_there_areworkers_of(shared):
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
