"""A cluster of one's own: the rows are those of a run without, whoever is gone or refused."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest

from jobs import workers
from jobs.daily import forecast
from jobs.workers import connection, pool, serving
from stockbatch.config import PREFIX, Address
from stockbatch.exceptions import ConfigurationError
from tests.support import deployed
from tests.support.market import (
    assert_same,
    facts,
    outcomes,
    run,
    session,
)
from tests.support.places import ROOT
from tests.support.workers import (
    alone,
    workers_of,
)

slow = pytest.mark.slow


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
def test_the_doctor_names_who_would_be_refused(cluster, shared, monkeypatch):
    at = shared.settings.cluster
    assert doctor(shared.settings) == ("ok", f"2 workers at {at}")
    other = shared.settings.model_copy(update={"retrain_after_sessions": 7})
    state, said = doctor(other)
    assert (state, said.count("cannot work for this")) == ("wrong", 2)
    for number in (1, 2):
        assert f"Worker {socket.gethostname()}-{number} at tls://" in said
    assert "retrain_after_sessions is 5 there and 7 here" in said
    scheduler, workers = cluster
    one = next(child for child in workers_of(workers.pid))
    one.suspend()
    monkeypatch.setattr(connection, "CONNECTING", 1.0)
    refused = connection.introductions(shared.settings, shared.engine)
    one.resume()
    assert len(refused) == 2
    assert [one.values["reason"] for one in refused if one] == ["it has not answered for 1 s"]
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
