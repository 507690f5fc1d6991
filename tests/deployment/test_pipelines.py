"""Pipelines start what there is, follow their schemas, and agree with each other; none is run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import typer
import yaml

from jobs import cli
from tests.support import deployed
from tests.support.deployed import DEPLOYMENT, KUBERNETES, read

PIPELINES = DEPLOYMENT / "pipelines"
JOBS = ("daily", "refit", "backtest")
DATES = {"FIRST": "2024-06-03", "LAST": "2024-06-04"}
COMMANDS = {
    "daily": ["run"],
    "refit": ["run", "--retrain"],
    "backtest": ["backtest", "--from", DATES["FIRST"], "--to", DATES["LAST"]],
}
CRON = {"daily": "30 22 * * 1-5", "refit": "0 6 * * 6"}
GITLAB = PIPELINES / "gitlab" / "stockbatch.gitlab-ci.yml"
CRONJOBS = list(yaml.safe_load_all((PIPELINES / "kubernetes/cronjobs.yaml").read_text("utf-8")))


def github(job):
    return read(PIPELINES / "github" / f"{job}.yml")["jobs"][job]


def jenkins(job):
    return (PIPELINES / "jenkins" / f"{job}.Jenkinsfile").read_text("utf-8")


def cronjob(job):
    (found,) = (one for one in CRONJOBS if one["metadata"]["name"] == f"stockbatch-{job}")
    return found


def in_docker(line):
    """Return what is run in a container, and the variables it is given."""
    words = shlex.split(line.replace("\\\n", " "))
    assert words[:3] == ["docker", "run", "--rm"]
    place = words.index("$IMAGE")
    given = {words[n + 1] for n, word in enumerate(words[:place]) if word == "--env"}
    assert {"--read-only", "--cap-drop"} <= set(words[:place])
    return words[place + 1 :], given


def started(where, job):
    """Return the arguments of the command that a pipeline starts, dates filled in."""
    if where == "github":
        ((step,), one) = (github(job)["steps"], github(job))
        words, given = in_docker(step["run"])
        assert given == {key for key in one["env"] if key.startswith("STOCKBATCH_")}
        assert ("FIRST" in one["env"]) == (job == "backtest")
    elif where == "jenkins":
        (line,) = re.findall(r"sh '''(.*?)'''", jenkins(job), re.DOTALL)
        words, given = in_docker(line)
        assert given == set(re.findall(r"^ +(STOCKBATCH_\w+) =", jenkins(job), re.MULTILINE))
    elif where == "gitlab":
        (line,) = read(GITLAB)[job]["script"]
        program, *words = shlex.split(line)
        assert program == "stockbatch"
    else:
        (container,) = deployed.template(cronjob(job))["spec"]["containers"]
        words = container["args"]
    return [DATES.get(word.strip("$()"), word) for word in words]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("where", ["github", "gitlab", "jenkins", "kubernetes"])
def test_a_pipeline_starts_a_command_that_exists(where, job):
    words = started(where, job)
    assert words == COMMANDS[job]
    command = typer.main.get_command(cli.app)
    name, *arguments = words
    command.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("job", CRON)
def test_all_start_at_the_same_time(job):
    # YAML takes the word `on` for true.
    told = read(PIPELINES / "github" / f"{job}.yml")[True]["schedule"]
    assert told == [{"cron": CRON[job]}]
    assert f"cron('TZ=Etc/UTC\\n{CRON[job]}')" in jenkins(job)
    assert f"({CRON[job]}" in GITLAB.read_text("utf-8")
    spec = cronjob(job)["spec"]
    assert (spec["schedule"], spec["timeZone"]) == (CRON[job], "Etc/UTC")
    assert not spec.get("suspend")


def test_a_backtest_is_only_started_by_hand():
    assert set(read(PIPELINES / "github" / "backtest.yml")[True]) == {"workflow_dispatch"}
    assert "triggers" not in jenkins("backtest")
    assert read(GITLAB)["backtest"]["rules"][0]["if"].startswith('$CI_PIPELINE_SOURCE == "web"')
    assert cronjob("backtest")["spec"]["suspend"]


def test_one_at_a_time():
    assert {read(PIPELINES / "github" / f"{j}.yml")["concurrency"]["group"] for j in JOBS} == {
        "stockbatch"
    }
    assert read(GITLAB)[".stockbatch"]["resource_group"] == "stockbatch"
    assert all(read(GITLAB)[job]["extends"] == ".stockbatch" for job in JOBS)
    assert all("disableConcurrentBuilds()" in jenkins(job) for job in JOBS)
    assert {cronjob(job)["spec"]["concurrencyPolicy"] for job in JOBS} == {"Forbid"}


@pytest.mark.parametrize("folder", ["github", "gitlab", "jenkins", "kubernetes"])
def test_there_are_few_files_and_no_secret_in_them(folder):
    files = sorted((PIPELINES / folder).iterdir())
    assert 1 <= len(files) <= 3
    assert not [file for file in files if "postgresql://" in file.read_text("utf-8")]


@pytest.mark.parametrize(
    ("schema", "file", "right", "wrong"),
    [
        *(("github-workflows", f"github/{job}.yml", "runs-on:", "run-on:") for job in JOBS),
        ("gitlab-ci", "gitlab/stockbatch.gitlab-ci.yml", "extends: .stockbatch", "extends: 3"),
    ],
)
def test_a_file_follows_its_schema(tmp_path, schema, file, right, wrong):
    assert deployed.checked(schema, PIPELINES / file)[0] == 0
    broken = tmp_path / Path(file).name
    broken.write_text((PIPELINES / file).read_text("utf-8").replace(right, wrong))
    assert deployed.checked(schema, broken)[0] == 1


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_takes_the_cronjobs(version):
    policy = read(PIPELINES / "kubernetes" / "policy.yaml")
    for resource in (*CRONJOBS, policy):
        kubernetes_validate.validate(resource, version, strict=True)
    chosen = policy["spec"]["podSelector"]["matchLabels"].items()
    daemon = read_all(KUBERNETES / "daemon.yaml")[0]["spec"]["template"]["spec"]
    for one in CRONJOBS:
        template = deployed.template(one)
        assert chosen <= template["metadata"]["labels"].items()
        pod, (container,) = template["spec"], template["spec"]["containers"]
        assert pod["securityContext"] == daemon["securityContext"]
        for same in ("image", "securityContext", "resources", "volumeMounts"):
            assert container[same] == daemon["containers"][0][same]
    outside = next(
        one for one in read_all(KUBERNETES / "network-policies.yaml")
        if one["metadata"]["name"] == "stockbatch-outside"
    )  # fmt: skip
    assert policy["spec"]["egress"] == outside["spec"]["egress"]


def read_all(file):
    return list(yaml.safe_load_all(file.read_text("utf-8")))


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_the_cronjobs_take_the_place_of_the_daemon(tmp_path):
    base, part = tmp_path / "kubernetes", tmp_path / "pipelines" / "kubernetes"
    shutil.copytree(KUBERNETES, base, ignore=shutil.ignore_patterns("secrets"))
    shutil.copytree(PIPELINES / "kubernetes", part)
    shutil.copytree(deployed.made_secrets(tmp_path / "made"), base / "secrets")
    (base / "secrets" / "ca.pem").touch()
    own = base / "kustomization.yaml"
    line = "# components: [../pipelines/kubernetes]"
    assert f"\n{line}\n" in own.read_text("utf-8")
    own.write_text(own.read_text("utf-8").replace(line, line.removeprefix("# ")), "utf-8")
    command = ["kubectl", "kustomize", str(base)]
    built = subprocess.run(command, capture_output=True, check=True, text=True)
    resources = list(yaml.safe_load_all(built.stdout))
    kinds = {(one["kind"], one["metadata"]["name"]) for one in resources}
    assert not kinds & {("Deployment", "stockbatch-daemon"), ("Service", "stockbatch-daemon")}
    assert {("CronJob", f"stockbatch-{job}") for job in JOBS} <= kinds
    names = {one["metadata"]["name"] for one in resources}
    for job in JOBS:
        (found,) = (one for one in resources if one["metadata"]["name"] == f"stockbatch-{job}")
        kubernetes_validate.validate(found, "1.37", strict=True)
        pod, (container,) = (t := deployed.template(found)["spec"]), t["containers"]
        used = {one["configMapRef"]["name"] for one in container["envFrom"]}
        used |= {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        assert used <= names
        assert container["image"].startswith("registry.example.com/stockbatch-daemon:")
