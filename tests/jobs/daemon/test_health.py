"""What the daemon serves to those who watch it, and that a real Prometheus reads it."""

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from jobs.daemon import health as monitoring
from jobs.daemon.signals import LONGEST_SILENCE, Beat
from stockbatch import database
from stockbatch.exceptions import ConfigurationError
from stockbatch.store import event_refreshes, instruments
from stockbatch.store.event_refreshes import Asked
from tests.support.market import CODE, NOW, ORIGIN, Market, PlainTrainer, calendar, run, session
from tests.support.places import ROOT

FOLDER = ROOT / "deployment" / "prometheus"
EVENING = calendar().close(session(1)) + timedelta(hours=1)

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus is not installed: apt-get install prometheus",
)


@pytest.fixture(scope="module")
def watched(make_lasting_app, tmp_path_factory):
    """An App that has run two sessions, filled on the day of the first; its tests only read."""
    market = Market(tmp_path_factory.mktemp("market") / "market.csv")
    app = make_lasting_app(market)
    app.settings = app.settings.model_copy(update={"monitoring_address": "127.0.0.1:0"})
    owner = database.engine(app.settings, role="owner")
    with owner.begin() as connection:
        since = datetime(2024, 6, 3, 14, tzinfo=UTC)
        connection.execute(
            text("UPDATE stockbatch.instruments SET active_since = :t"), {"t": since}
        )
        connection.execute(
            text(
                "INSERT INTO stockbatch.instruments (ticker, symbol, provider, calendar,"
                " asset_class, demo) VALUES ('DEMO', 'DEMO', 'demo', 'XTKS', 'index', true)"
            )
        )
    owner.dispose()
    for day in (ORIGIN, session(1)):
        run(app, day)
    app.settings = app.settings.model_copy(update={"event_sources": ("yahoo", "edgar")})
    with app.transaction() as db:
        aaa, bbb, *_ = instruments.active(db)
        for source, one, answered, at in (
            ("yahoo", aaa, True, EVENING - timedelta(days=9)),
            ("yahoo", bbb, False, EVENING - timedelta(days=2)),
            ("edgar", aaa, False, EVENING),
            ("left out", aaa, True, EVENING),  # of the settings
        ):
            problem = None if answered else "no route"
            asked = Asked(instrument_id=one.id, answered=answered, problem=problem)
            event_refreshes.record(db, source, [asked], at)
    return app


def get(address, path):
    """Return status and body of an answer."""
    try:
        with urllib.request.urlopen(
            f"http://{address[0]}:{address[1]}{path}", timeout=30
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def key(name, *labels):
    """Return what identifies a sample, in whatever order its labels are written."""
    return name, frozenset(labels)


def beat():
    return Beat(lambda: EVENING)


def scraped(app):
    with monitoring.serving(app, beat()) as address:
        status, body = get(address, "/metrics")
    assert status == 200
    return {
        key(sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


@pytest.fixture
def at(watched, monkeypatch):
    """Set the clock of `watched`."""

    def set_clock(now):
        monkeypatch.setattr(watched, "clock", lambda: now)

    set_clock(EVENING)
    return set_clock


def test_metrics_are_what_the_ledger_says(watched, at):
    seen = scraped(watched)
    assert seen[key("stockbatch_database_up")] == 1
    assert seen[key("stockbatch_heartbeat_timestamp_seconds")] == EVENING.timestamp()
    assert seen[key("stockbatch_due_sessions", CODE)] == 0
    assert seen[key("stockbatch_data_age_seconds", CODE)] == 3600
    assert seen[key("stockbatch_bars_ratio", CODE)] == 1
    assert seen[key("stockbatch_outcomes", CODE, "reused", "fresh")] == 3
    for method in ("ewma", "lstm", "naive", "rolling_quantile"):
        assert seen[key("stockbatch_forecasts", CODE, method, "late")] == 3
    assert key("stockbatch_skill_ratio", CODE, "lstm", "late", "20", "pinball") in seen
    coverage = seen[key("stockbatch_interval_coverage_ratio", CODE, "lstm", "late", "20", "80")]
    assert 0 <= coverage <= 1
    assert seen[key("stockbatch_last_success_timestamp_seconds", CODE)] > NOW.timestamp()
    assert seen[key("stockbatch_last_run_seconds", CODE)] > 0
    assert seen[key("stockbatch_step_seconds_count", CODE, "fetch")] >= 2
    assert seen[key("process_resident_memory_bytes")] > 1e6
    age = "stockbatch_event_source_age_seconds"
    assert seen[key(age, "yahoo")] == 9 * 86400
    assert key(age, "edgar") not in seen  # it has never answered
    assert seen[key("stockbatch_event_source_unanswered", "yahoo")] == 1
    assert seen[key("stockbatch_event_source_unanswered", "edgar")] == 1
    assert not any("left out" in labels for _, labels in seen)
    assert not any("XTKS" in labels for _, labels in seen)


def test_the_queue_grows_with_the_sessions_not_run(watched, at):
    at(calendar().close(session(4)) + timedelta(hours=1))
    assert scraped(watched)[key("stockbatch_due_sessions", CODE)] == 3
    at(calendar().close(session(4)) + timedelta(minutes=1))
    assert scraped(watched)[key("stockbatch_due_sessions", CODE)] == 2  # its bars are not out yet
    at(NOW)
    assert scraped(watched)[key("stockbatch_due_sessions", CODE)] == 11


def test_the_memory_of_the_training_child_is_seen(watched, at, monkeypatch):
    name = "stockbatch_child_process_resident_memory_bytes"
    assert key(name) not in scraped(watched)
    monkeypatch.setattr(PlainTrainer, "pid", os.getpid())
    assert scraped(watched)[key(name)] > 1e6


def test_health_follows_the_heart(watched, at):
    assert LONGEST_SILENCE == 15 * 60
    seconds = [0.0]
    heart = Beat(lambda: EVENING, timer=lambda: seconds[0])
    with monitoring.serving(watched, heart) as address:
        seconds[0] = 15 * 60
        assert get(address, "/healthz") == (200, '{"status": "ok", "problems": []}')
        at(EVENING + timedelta(days=65))  # whoever sets the clock makes nobody sick
        assert get(address, "/healthz")[0] == 200
        seconds[0] += 60
        status, body = get(address, "/healthz")
        assert status == 503
        assert json.loads(body)["problems"] == ["the loop has stalled (for 16 minutes)"]
        heart.trouble = "the embedded PostgreSQL failed: no space left"
        assert "no space left (for 16 minutes)" in get(address, "/healthz")[1]
        heart()
        assert get(address, "/healthz")[0] == 200
        assert get(address, "/elsewhere")[0] == 404
        assert get(address, "/metrics")[0] == 200


def test_ready_means_nothing_past_its_deadline_is_undone(watched, at):
    with monitoring.serving(watched, beat()) as address:
        at(calendar().open(session(3)) - timedelta(minutes=1))
        assert get(address, "/readyz")[0] == 200
        at(calendar().open(session(3)))
        status, body = get(address, "/readyz")
        assert status == 503
        assert json.loads(body)["problems"] == [
            "XNYS 2024-06-05: not finished by 2024-06-06 13:30:00+00:00"
        ]


def test_a_database_out_of_reach_is_said_and_nothing_else_breaks(watched, at, monkeypatch):
    url = "postgresql://nobody:hunter22@127.0.0.1:1/none"
    settings = watched.settings.model_copy(update={"database_url": None})
    settings = type(settings)(database_url=url, home=settings.home)
    broken = database.engine(settings)
    monkeypatch.setattr(watched, "engine", broken)
    seen = scraped(watched)
    assert seen[key("stockbatch_database_up")] == 0
    assert key("stockbatch_due_sessions", CODE) not in seen
    with monitoring.serving(watched, beat()) as address:
        assert get(address, "/healthz")[0] == 200
        status, body = get(address, "/readyz")
    assert status == 503
    assert "No connection" in body
    assert "hunter22" not in body
    broken.dispose()


def test_an_outdated_schema_is_not_ready(watched, at, monkeypatch):
    monkeypatch.setattr("stockbatch.database.migration.head", lambda: "9999")
    with monitoring.serving(watched, beat()) as address:
        status, body = get(address, "/readyz")
    assert status == 503
    assert "stockbatch migrate" in body


def test_a_client_that_hangs_up_leaves_no_traceback(watched, at, capfd, caplog):
    reset = struct.pack("ii", 1, 0)
    with monitoring.serving(watched, beat()) as address:
        for path in ("/metrics", "/healthz", "/readyz", "/elsewhere"):
            for sent in (f"GET {path} HTTP/1.1\r\n\r\n", f"GET {path}", ""):
                with socket.create_connection(address) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                    client.sendall(sent.encode())
        assert get(address, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_half_sent_requests_lock_nobody_out_and_take_few_threads(watched, at):
    before = threading.active_count()
    with monitoring.serving(watched, beat()) as address, ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(500)]
        for client in clients:
            with suppress(OSError):  # turned away in between
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        assert get(address, "/healthz")[0] == get(address, "/metrics")[0] == 200
        assert threading.active_count() <= before + monitoring.MOST + 5


def test_a_request_in_small_pieces_ends_in_time(watched, at, monkeypatch):
    monkeypatch.setattr(monitoring, "HEAD_SECONDS", 0.5)
    begun = time.monotonic()
    with monitoring.serving(watched, beat()) as address:
        with socket.create_connection(address) as client, suppress(OSError):
            while time.monotonic() - begun < 20:
                client.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - begun < 10
        assert get(address, "/healthz")[0] == 200


def test_nothing_is_served_where_nobody_asked(watched, monkeypatch):
    off = watched.settings.model_copy(update={"monitoring_address": ""})
    monkeypatch.setattr(watched, "settings", off)
    with monitoring.serving(watched, beat()) as address:
        assert address is None


def test_an_address_in_use_is_taken_over(watched, at, monkeypatch, caplog):
    monkeypatch.setattr(monitoring, "AGAIN", 0.05)
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    busy = watched.settings.model_copy(update={"monitoring_address": f"127.0.0.1:{port}"})
    monkeypatch.setattr(watched, "settings", busy)
    with monitoring.serving(watched, beat()) as address:
        assert address is None
        assert f"{port} is in use" in caplog.text
        taken.close()
        for _ in range(200):
            try:
                status, _ = get(("127.0.0.1", port), "/healthz")
                break
            except OSError:
                time.sleep(0.05)
        assert status == 200
    with pytest.raises(OSError, match="refused"):
        get(("127.0.0.1", port), "/healthz")


def test_a_wait_for_an_address_ends_with_the_daemon(watched, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        busy = watched.settings.model_copy(update={"monitoring_address": where})
        monkeypatch.setattr(watched, "settings", busy)
        with monitoring.serving(watched, beat()) as address:
            assert address is None


@pytest.mark.parametrize("where", ["nowhere.invalid:9464", "192.0.2.1:9464"])
def test_an_address_of_another_machine_is_refused(watched, monkeypatch, where):
    wrong = watched.settings.model_copy(update={"monitoring_address": where})
    monkeypatch.setattr(watched, "settings", wrong)
    with (
        pytest.raises(ConfigurationError, match=f"monitoring_address: {where}: "),
        monitoring.serving(watched, beat()),
    ):
        pass


def test_every_metric_in_the_rules_is_served(watched, at, monkeypatch):
    monkeypatch.setattr(PlainTrainer, "pid", os.getpid())
    with monitoring.serving(watched, beat()) as address:
        _, body = get(address, "/metrics")
    rules = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"][0]["rules"]
    used = {name for rule in rules for name in re.findall(r"stockbatch_\w+", rule["expr"])}
    served = {line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")}
    assert used <= served
    assert len(used) >= 6


@needs_prometheus
def test_promtool_agrees_with_metrics_configuration_and_rules(watched, at):
    with monitoring.serving(watched, beat()) as address:
        _, body = get(address, "/metrics")
    for command, given in (
        (["check", "metrics"], body),
        (["check", "config", "prometheus.yml"], ""),
        (["test", "rules", "rules_test.yml"], ""),
    ):
        done = subprocess.run(
            ["promtool", *command],
            cwd=FOLDER,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout


@pytest.mark.slow
@needs_prometheus
def test_a_real_prometheus_scrapes_it(watched, at, tmp_path):
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    shutil.copy(FOLDER / "rules.yml", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with monitoring.serving(watched, beat()) as address:
        (job,) = configuration["scrape_configs"]
        job["static_configs"][0]["targets"] = [f"{address[0]}:{address[1]}"]
        configuration["global"]["scrape_interval"] = "1s"
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        with (tmp_path / "log").open("w") as log:
            server = subprocess.Popen(
                ["prometheus", f"--config.file={tmp_path}/prometheus.yml",
                 f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            found = answer_of(port, 'stockbatch_outcomes{reason="fresh"}')
            assert found["value"][1] == "3"
            assert found["metric"]["calendar"] == CODE
            assert answer_of(port, 'up{job="stockbatch"}')["value"][1] == "1"
        finally:
            server.terminate()
            server.wait(30)


def answer_of(port, query):
    """Return what Prometheus says to a query, once it says something."""
    encoded = urllib.parse.quote(query)
    for _ in range(120):
        try:
            status, body = get(("127.0.0.1", port), f"/api/v1/query?query={encoded}")
        except OSError:
            status, body = 0, ""
        if status == 200 and (results := json.loads(body)["data"]["result"]):
            return results[0]
        time.sleep(0.25)
    raise AssertionError("Prometheus has no answer after half a minute")
