"""Trainings in MLflow, asked of a real server on the loopback."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from jobs import cli
from jobs.models import promote
from stockbatch import config, database
from stockbatch.exceptions import NotPublished
from tests.support.market import RETRAIN_AFTER, TICKERS, Market, fetch, run, session

config.choose_mlflow()
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
TAG = "stockbatch.model"
BASE = "stockbatch.lstm.base.XNYS"
LEDGER = """
SELECT m.id, m.weights IS NULL AS pruned, m.seed, m.best_epoch, m.parameters, m.weights_sha256,
    coalesce('stockbatch.lstm.ticker.' || ticker, 'stockbatch.lstm.base.' || m.calendar) AS name
FROM stockbatch.models AS m LEFT JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
WHERE m.method = 'lstm' ORDER BY m.id"""
IN_USE = """
SELECT DISTINCT ON (ticker) 'stockbatch.lstm.ticker.' || ticker AS name, model_id
FROM stockbatch.promotions JOIN stockbatch.models AS m ON m.id = model_id
JOIN stockbatch.instruments AS i ON i.id = promotions.instrument_id
WHERE method = 'lstm' ORDER BY ticker, from_session DESC, promotions.id DESC"""

PRUNE = """
UPDATE stockbatch.models SET weights = NULL WHERE id = (
    SELECT min(m.id) FROM stockbatch.models AS m
    JOIN stockbatch.instruments AS i ON i.id = m.instrument_id WHERE ticker = 'CCC')"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    """The address of an MLflow server whose store is a file of SQLite."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///store.db", "--artifacts-destination", "artefacts"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **QUIET}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not answers(f"{address}/health"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 15)  # its own session: the server and what it started
        process.wait(60)


def answers(address):
    try:
        return httpx2.get(address, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="module")
def app(make_lasting_app, tmp_path_factory):
    """An App whose tickers were trained twice; of one the first model was pruned."""
    app = make_lasting_app(Market(tmp_path_factory.mktemp("market") / "market.csv"))
    for offset in (0, RETRAIN_AFTER):
        run(app, session(offset))
    owner = database.engine(app.settings, role="owner")
    with owner.begin() as connection:
        connection.execute(text(PRUNE))
    owner.dispose()
    return app


@pytest.fixture
def client(mlflow):
    """Someone who looks at the server."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=mlflow, registry_uri=mlflow)


@pytest.fixture
def publish(app, mlflow, tensorflow):
    """Publish, and return how many runs and versions were added, and champions changed."""
    from jobs.models import publish as job

    def call():
        done = job.publish(app, mlflow)
        return done.runs, done.versions, done.champions

    return call


def versions(client):
    """Return name and number of the model of every version, and those with the alias."""
    listed = {
        (one.name, int(one.tags[TAG])): one.version for one in client.search_model_versions("")
    }
    champions = {
        one.name: int(client.get_model_version_by_alias(one.name, "champion").tags[TAG])
        for one in client.search_registered_models()
        if "champion" in one.aliases
    }
    return listed, champions


def ledger_versions(app):
    """Return plainly what there is to be: every model that is left, and what tickers use."""
    own = {(row["name"], row["id"]) for row in fetch(app.engine, LEDGER) if not row["pruned"]}
    used = {row["name"]: row["model_id"] for row in fetch(app.engine, IN_USE)}
    bases = [number for name, number in own if name == BASE]
    return own | set(used.items()), used | {BASE: max(bases)}


def run_of(client, number):
    experiment = client.get_experiment_by_name("stockbatch")
    asked = f"tags.`{TAG}` = '{number}'"
    (found,) = client.search_runs([experiment.experiment_id], asked)
    return found


@pytest.mark.slow
def test_mlflow_lists_a_version_of_every_model_and_the_champions(app, client, publish):
    trainings = fetch(app.engine, LEDGER)
    assert len(trainings) == 2 * len(TICKERS) + 1
    expected, used = ledger_versions(app)
    assert publish() == (len(trainings), len(expected), len(used))
    listed, champions = versions(client)
    for (name, number), version in sorted(listed.items()):  # seen by `pytest -s`
        alias = "champion" if champions.get(name) == number else ""
        print(f"{name:32} version {version}  model {number:3}  {alias}")
    assert (set(listed), champions) == (expected, used)


@pytest.mark.slow
def test_a_run_says_what_the_ledger_says(app, client, publish, tmp_path):
    publish()
    for row in fetch(app.engine, LEDGER):
        shown = run_of(client, row["id"])
        assert shown.info.status == "FINISHED"
        params = {name: json.loads(value) if name in ("units", "seed", "best_epoch") else value
                  for name, value in shown.data.params.items()}  # fmt: skip
        assert params["units"] == row["parameters"]["units"]
        assert (params["seed"], params["best_epoch"]) == (row["seed"], row["best_epoch"])
        curve = fetch(
            app.engine,
            "SELECT epoch, training_loss, validation_loss FROM bi.training_history"
            " WHERE model_id = :id ORDER BY epoch",
            id=row["id"],
        )
        assert curve
        for name in ("training_loss", "validation_loss"):
            history = client.get_metric_history(shown.info.run_id, name)
            found = {metric.step: metric.value for metric in history}
            assert found == {one["epoch"]: pytest.approx(one[name]) for one in curve}
        files = {one.path for one in client.list_artifacts(shown.info.run_id, "model")}
        names = ("model.json", "model.keras", "model.md", "predict.py")
        assert files == (set() if row["pruned"] else {f"model/{name}" for name in names})


@pytest.mark.slow
def test_the_files_of_a_run_are_those_of_an_export(app, client, publish, tmp_path):
    import keras

    publish()
    for row in fetch(app.engine, LEDGER):
        if row["pruned"]:
            continue
        shown = run_of(client, row["id"])
        folder = Path(client.download_artifacts(shown.info.run_id, "model", str(tmp_path)))
        card = json.loads((folder / "model.json").read_text())
        owner = row["name"].rpartition(".")[2]
        assert card["origin"]["weights_sha256"] == row["weights_sha256"]
        assert (card["model"]["id"], card["model"]["ticker"]) == (
            row["id"], None if owner == "XNYS" else owner
        )  # fmt: skip
        page = (folder / "model.md").read_text()
        assert page.startswith(f"# Model {row['id']} of {owner}\n")
        assert "None" not in page
        network = keras.saving.load_model(folder / "model.keras", compile=False)
        assert network.input_shape[-1] == card["shape"][-1]


@pytest.mark.slow
def test_publishing_again_adds_nothing(app, mlflow, client, publish, monkeypatch):
    publish()
    before = versions(client)
    monkeypatch.setattr("jobs.app.running", lambda settings, create=True: nullcontext(app))
    answer = CliRunner().invoke(cli.app, ["models", "publish", "--to", mlflow])
    assert answer.output == "0 runs and 0 versions added, 0 champions changed\n"
    assert versions(client) == before


@pytest.mark.slow
def test_another_champion_gets_the_alias(app, client, publish):
    publish()
    listed, champions = versions(client)
    name = "stockbatch.lstm.ticker.BBB"
    other = max({number for of, number in listed if of == name} - {champions[name]})
    assert promote.promote(app, "BBB", other) > session(RETRAIN_AFTER)
    assert publish() == (0, 0, 1)
    assert versions(client) == (listed, {**champions, name: other})


@pytest.mark.slow
def test_what_was_broken_off_is_taken_away(app, client, publish):
    publish()
    number = ledger_versions(app)[1][BASE]
    whole = run_of(client, number)
    tags = {name: whole.data.tags[name] for name in (TAG, "stockbatch.weights_sha256")}
    half = client.create_run(whole.info.experiment_id, tags=tags)
    stranger = client.create_run(whole.info.experiment_id)
    assert publish() == (0, 0, 0)
    assert run_of(client, number).info.run_id == whole.info.run_id
    states = [client.get_run(one.info.run_id).info.lifecycle_stage for one in (half, stranger)]
    assert states == ["deleted", "active"]


@pytest.mark.slow
def test_a_run_that_is_hardly_begun_is_taken_away_too(app, client, publish, monkeypatch):
    from jobs.models import publish as job

    publish()
    number = ledger_versions(app)[1][BASE]
    whole = run_of(client, number)
    client.delete_run(whole.info.run_id)

    def killed(*_, **__):
        raise SystemExit  # as the process would end, whatever it is in

    with monkeypatch.context() as patch:
        patch.setattr(job.MlflowClient, "log_batch", killed)
        with pytest.raises(SystemExit):
            publish()
    publish()
    left = client.search_runs([whole.info.experiment_id], "attributes.status = 'RUNNING'")
    assert [one for one in left if one.info.run_name == whole.info.run_name] == []
    assert run_of(client, number).info.status == "FINISHED"


def test_a_server_that_is_down_is_one_line(app, monkeypatch, caplog):
    from jobs.models import publish as job

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    place = f"127.0.0.1:{free_port()}"
    with pytest.raises(NotPublished) as caught:
        job.publish(app, f"http://me:s3cret@{place}")
    assert str(caught.value).startswith(
        f"http://…@{place} did not take all models: it does not answer"
    )
    assert caplog.messages == []


@pytest.mark.parametrize("uri", ["mlruns", "sqlite:///x.db", "databricks"])
def test_only_a_server_is_published_to(uri):
    answer = CliRunner().invoke(cli.app, ["models", "publish", "--to", uri])
    assert answer.exit_code == 2
    assert "write the server's address" in answer.output
