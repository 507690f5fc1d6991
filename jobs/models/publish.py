"""Show the trainings of the ledger in MLflow: a run for each, versions of models, their champions.

The ledger stays the truth: nothing is ever read back. What was published is known by its number and
the digest of its weights, so that publishing again adds only what is new. A run that was broken off
is made anew.
"""

import json
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunStatus
from mlflow.exceptions import MlflowException
from requests import RequestException

from jobs.app import App
from jobs.models import takeaway
from stockbatch.exceptions import NotPublished
from stockbatch.records import ModelKind
from stockbatch.store import instruments, models
from stockbatch.text import without_secrets

EXPERIMENT = "stockbatch"
FOLDER = "model"
CHAMPION = "champion"
MODEL_TAG, WEIGHTS_TAG = "stockbatch.model", "stockbatch.weights_sha256"
FILES_TAG = "stockbatch.files"
FINISHED = RunStatus.to_string(RunStatus.FINISHED)
LOSSES = ("initial_loss", "comparison_loss", "base_loss", "champion_loss", "gain", "gain_error")
"""What is one number of a training, beside its curves."""
FACTS = ("first_session", "last_session", "seed", "tickers", "best_epoch")
"""What becomes a parameter, beside the settings of the network."""
TOLD = ("kind", "calendar", "ticker", "parent_id", "fingerprint", "reason", "verdict", "demo")
"""What becomes a tag."""
MOST_METRICS, PAGE = 1000, 1000
"""In one request."""
Key = tuple[str, str]
"""A training: its number and the digest of its weights."""


class Shown(NamedTuple):
    """The run of a training, and whether the model itself is in it."""

    run_id: str
    has_model: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """How many runs and versions were added, and how many champions changed."""

    runs: int
    versions: int
    champions: int


def publish(app: App, uri: str) -> Published:
    """Add to an MLflow server what it lacks of the trainings of the network in use.

    Raises NotPublished.
    """
    network = app.settings.model.network
    with app.transaction() as db:
        trainings = models.trainings(db, network)
        in_use = {row.ticker: row.id for row in models.summaries(db, network)}
    with _explained(uri):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment, shown = _shown(client)
        lacking = [one for one in trainings if _key(one) not in shown]
        with app.progress() as progress:
            for training in progress.track(lacking, description="trainings"):
                shown[_key(training)] = _add(app, client, experiment, training)
        run_of = {
            one.id: shown[_key(one)].run_id for one in trainings if shown[_key(one)].has_model
        }
        own = [(_name(network, one.kind, _owner(one)), one.id) for one in trainings]
        champions = {
            **{_name(network, ModelKind.TICKER, ticker): id_ for ticker, id_ in in_use.items()},
            **_newest_bases(network, trainings),
        }
        versions, moved = _register(client, own, champions, run_of)
    return Published(runs=len(lacking), versions=versions, champions=moved)


def _owner(training: Any) -> str:
    return str(training.ticker if training.kind == ModelKind.TICKER else training.calendar)


def _name(network: str, kind: str, owner: str) -> str:
    """Return the name of a registered model; in one, a slash or a colon is not allowed."""
    return f"stockbatch.{network}.{kind}.{quote(owner, safe='^=')}"


def _newest_bases(network: str, trainings: Iterable[Any]) -> dict[str, int]:
    """Return the base in use of each calendar: no promotion is needed, the newest one serves."""
    bases = [one for one in trainings if one.kind == ModelKind.BASE and not one.pruned]
    bases.sort(key=lambda one: (not one.demo, one.last_session, one.id))
    return {_name(network, one.kind, one.calendar): one.id for one in bases}


def _key(training: Any) -> Key:
    return str(training.id), training.weights_sha256


def _shown(client: MlflowClient) -> tuple[str, dict[Key, Shown]]:
    """Return the experiment and the whole runs in it; what was broken off is deleted."""
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    shown: dict[Key, Shown] = {}
    for run in _pages(lambda **page: client.search_runs([experiment], **page)):
        tags = run.data.tags
        if MODEL_TAG not in tags:
            continue  # somebody else's
        if run.info.status == FINISHED:
            key = tags[MODEL_TAG], tags.get(WEIGHTS_TAG, "")
            shown[key] = Shown(run.info.run_id, FILES_TAG in tags)
        else:
            client.delete_run(run.info.run_id)
    return experiment, shown


def _pages(ask: Callable[..., Any]) -> Iterator[Any]:
    """Yield what a search finds, page after page."""
    token = None
    while True:
        page = ask(max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _add(app: App, client: MlflowClient, experiment: str, training: Any) -> Shown:
    """Add the run of a training; it is finished when all of it is there."""
    instant = int(training.trained_at.timestamp() * 1000)
    tags = {f"stockbatch.{name}": str(getattr(training, name)) for name in TOLD}
    tags |= {MODEL_TAG: str(training.id), WEIGHTS_TAG: training.weights_sha256}
    name = f"{_owner(training)} {training.last_session}"
    # With its tags from the first: without them, nobody would know what was broken off as ours.
    run: Run = client.create_run(experiment, start_time=instant, run_name=name, tags=tags)
    run_id: str = run.info.run_id
    settings = {**training.parameters, **{fact: getattr(training, fact) for fact in FACTS}}
    client.log_batch(run_id, params=[Param(key, _word(value)) for key, value in settings.items()])
    metrics = list(_metrics(training, instant))
    for first in range(0, len(metrics), MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[first : first + MOST_METRICS])
    has_model = _add_files(app, client, run_id, training)
    client.set_terminated(run_id, end_time=instant)
    return Shown(run_id, has_model)


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _metrics(training: Any, instant: int) -> Iterator[Metric]:
    """Yield the losses: of each epoch, the first being 1, and those that are one number."""
    curves = {
        "training_loss": training.training_losses,
        "validation_loss": training.validation_losses,
    }
    for name, values in curves.items():
        for epoch, value in enumerate(values or (), 1):
            if value is not None and math.isfinite(value):
                yield Metric(name, value, instant, epoch)
    for name in LOSSES:
        value = getattr(training, name)
        if value is not None:
            yield Metric(name, value, instant, 0)


def _add_files(app: App, client: MlflowClient, run_id: str, training: Any) -> bool:
    """Add what `models export` writes; False where the model was pruned, and nothing is left."""
    with app.transaction() as db:
        found = models.trained(db, training.id)
        if found is None:
            return False
        model, facts = found
        instrument = None if model.ticker is None else instruments.known(db, model.ticker)
        told = takeaway.card_of_training(db, app, instrument, model, facts, {})
    with tempfile.TemporaryDirectory(prefix="stockbatch-") as folder:
        takeaway.write(model, told, Path(folder) / "model.keras")
        client.log_artifacts(run_id, folder, FOLDER)
    client.set_tag(run_id, FILES_TAG, FOLDER)
    return True


def _register(
    client: MlflowClient,
    own: Iterable[tuple[str, int]],
    champions: Mapping[str, int],
    run_of: Mapping[int, str],
) -> tuple[int, int]:
    """Add versions that are lacking, give each champion its alias; return how many of both.

    A ticker that uses a base has a version of it. What is in no run is no version.
    """
    aliases = {one.name: dict(one.aliases) for one in _pages(client.search_registered_models)}
    found = _pages(client.search_model_versions)
    versions = {(one.name, one.run_id): str(one.version) for one in found}
    added = moved = 0
    for name, id_ in dict.fromkeys((*own, *champions.items())):
        if id_ not in run_of or (name, run_of[id_]) in versions:
            continue
        if name not in aliases:
            client.create_registered_model(name)
            aliases[name] = {}
        source = f"runs:/{run_of[id_]}/{FOLDER}"
        made = client.create_model_version(
            name, source, run_of[id_], tags={MODEL_TAG: str(id_)}, await_creation_for=0
        )
        versions[name, run_of[id_]] = str(made.version)
        added += 1
    for name, id_ in champions.items():
        version = versions.get((name, run_of.get(id_, "")))
        if version is not None and str(aliases[name].get(CHAMPION)) != version:
            client.set_registered_model_alias(name, CHAMPION, version)
            moved += 1
    return added, moved


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Raise NotPublished for what the server says or does not say, secrets left out."""
    # It would warn of each try, where one line says that nobody answers.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        yield
    except (MlflowException, RequestException) as error:
        reason = str(error).partition("\n")[0]
        if "Max retries exceeded" in reason or isinstance(error, RequestException):
            reason = "it does not answer"
        shown = without_secrets(uri)
        raise NotPublished(url=shown, reason=reason.replace(uri, shown)) from None
