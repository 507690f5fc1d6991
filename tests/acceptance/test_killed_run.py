"""A run killed with SIGKILL at any phase is finished by the next one with the same final rows."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stockbatch.methods import risk
from tests.support.market import (
    Market,
    assert_same,
    end_leases,
    facts,
    fetch,
    in_chunks,
    run,
    session,
)
from tests.support.places import ROOT

EVENTS = (
    (0, "base: compute", 1),
    (0, "base: save", 1),
    (0, "forecasts: save", 2),
    (1, "fetch", 1),
    (1, "score", 1),
    (1, "forecast", 1),
    (1, "forecasts: load", 1),
    (1, "forecasts: compute", 2),
    (1, "forecasts: commit", 1),
    (1, "forecasts: commit", 2),
    (1, "risk", 1),
    (1, "metrics", 1),
    (1, "finish", 1),
)
"""Every phase: of which session, its name, and how often it has come when the run is killed."""

VICTIMS = """
import json, os, signal, sys, traceback
from datetime import date
from pathlib import Path
from jobs.daily import run as daily
from jobs.app import App
from stockbatch.engine.training import TrainingProcess
from tests.support.market import NOW, PlainTrainer, calendar, in_chunks, run, small
from stockbatch import config, database
from stockbatch.methods import registry, risk

risk.FEWEST = 60  # so that there is risk to tell
calendar(), registry.methods()  # whatever takes long is done once


def victim(order):
    settings = small(config.Settings(home=order["home"], database_url=order["url"]))
    trainer = TrainingProcess(1) if order["trains"] else PlainTrainer()
    left = order["count"]

    def on_event(event):
        nonlocal left
        left -= event == order["event"]
        if event == order["event"] and left == 0:
            Path(order["child"]).write_text(str(trainer.pid))
            os.kill(os.getpid(), signal.SIGKILL)

    engine = database.engine(settings)
    app = App(settings=settings, engine=engine, trainer=trainer, clock=lambda: NOW)
    app.on_event = on_event
    run(in_chunks(app), date.fromisoformat(order["session"]))


for line in sys.stdin:
    process = os.fork()
    if process == 0:
        try:
            victim(json.loads(line))
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    _, status = os.waitpid(process, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def _of_a_short_history():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(risk, "FEWEST", 60)
        yield


@pytest.fixture(scope="module")
def victims():
    """A process with all imports done that forks one to be killed for every order it reads."""
    environment = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", VICTIMS],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def kill(victims, tmp_path):
    """Run a session in a process that kills itself at an event; return its trainer's id."""

    def kill(app, day, event, count=1, *, trains=False):
        order = {
            "home": str(app.settings.home),
            "url": app.settings.database_url.get_secret_value(),
            "session": day.isoformat(),
            "event": event,
            "count": count,
            "trains": trains,
            "child": str(tmp_path / "child"),
        }
        victims.stdin.write(json.dumps(order) + "\n")
        victims.stdin.flush()
        assert victims.stdout.readline() == f"{-signal.SIGKILL}\n"
        end_leases(app.engine)
        return (tmp_path / "child").read_text()

    return kill


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return Market(tmp_path_factory.mktemp("market") / "market.csv")


@pytest.fixture(scope="module")
def begun(make_lasting_app, market):
    """An App that has run the first session, for tests to copy."""
    app = in_chunks(make_lasting_app(market))
    run(app, session(0))
    return app


@pytest.fixture(scope="module")
def undisturbed(make_lasting_app, market, begun):
    """What two sessions leave behind where nobody kills anything."""
    app = make_lasting_app(market, like=begun)
    run(app, session(1))
    left = facts(app.engine)
    assert len(left["risk_forecasts"]) == 8  # of three tickers and their exchange
    return left


@pytest.mark.parametrize(("offset", "event", "count"), EVENTS)
def test_a_run_killed_at_a_phase_is_finished_by_the_next(
    make_app, market, kill, begun, undisturbed, offset, event, count
):
    app = make_app(market, like=begun) if offset else in_chunks(make_app(market))
    for day in (session(0), session(1))[offset:]:
        if day == session(offset):
            kill(app, day, event, count)
            query = "SELECT status FROM stockbatch.runs WHERE session = :day"
            assert fetch(app.engine, query, day=day) == [{"status": "running"}]
        assert not run(app, day).done_before
        assert run(app, day).done_before
    assert_same(facts(app.engine), undisturbed)


def test_a_run_killed_again_and_again_gets_there(make_app, market, kill, undisturbed):
    app = in_chunks(make_app(market))
    for event in ("score", "forecasts: commit", "metrics"):
        kill(app, session(0), event)
    run(app, session(0))
    run(app, session(1))
    assert_same(facts(app.engine), undisturbed)


@pytest.mark.slow
def test_training_is_finished_alike_and_its_process_ends_with_its_parent(
    make_app, market, kill, tensorflow
):
    undisturbed, app = (in_chunks(make_app(market, trainer=tensorflow)) for _ in "ab")
    run(undisturbed)
    child = kill(app, session(0), "forecasts: save", 2, trains=True)
    run(app, session(0))
    assert_same(facts(app.engine), facts(undisturbed.engine))
    for _ in range(500):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.02)
    else:
        raise AssertionError("the training process outlived its parent")
