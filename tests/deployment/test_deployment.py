"""The files of `deployment` fit the program, and each other, as far as can be told without running
them: no container engine, cluster or service manager is used here."""

import copy
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import kubernetes_validate
import pytest
import typer
import yaml
from sqlalchemy import make_url

from jobs import cli
from jobs.api import listening, stored_routes
from jobs.daemon import health as monitoring
from jobs.daemon.signals import LONGEST_SILENCE, Beat
from stockbatch import config, exceptions
from stockbatch.config import Settings
from tests.support import deployed
from tests.support.deployed import DEPLOYMENT, DOCKER, KUBERNETES, ROOT, SYSTEMD, Process, read

DEFAULTS = Settings()
COMPOSE = read(DOCKER / "compose.yaml")
PROCESSES = deployed.processes()
LOGINS = {"migrate": "owner", "daemon": "daemon", "api": "rest", "dashboard": "dashboard"}
LOGINS |= {"backup": "owner", "worker": "daemon"}
WITHOUT_DATABASE = {"scheduler"}
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
PROGRAMS = Path(sys.executable).parent

every_process = pytest.mark.parametrize("process", PROCESSES, ids=str)


def of(where, name):
    (found,) = (p for p in PROCESSES if (p.where, p.name) == (where, name))
    return found


def port(process, key, default):
    return process.environment.get(key, default).rpartition(":")[2]


# ---- what is started


def test_every_file_starts_the_same_processes():
    names = {where: set() for where in ("compose", "kubernetes", "systemd")}
    for process in PROCESSES:
        names[process.where].add(process.name)
    assert names["compose"] == names["kubernetes"] == names["systemd"]
    assert names["compose"] == set(LOGINS) | WITHOUT_DATABASE


def parse(arguments):
    """Parse a command line without running it; return the values of its options."""
    command = typer.main.get_command(cli.app)
    while isinstance(command, typer.core.TyperGroup):
        name, *arguments = arguments
        command = command.commands[name]
    return command.make_context(name, list(arguments)).params


@every_process
def test_its_command_exists(process):
    parse(process.arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["deamon"], "KeyError"),
        (["dashboard", "--prot", "1"], "NoSuchOption"),
        (["api", "now"], "UsageError"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(arguments, error):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (Typer carries its own copy of Click)
        parse(arguments)
    assert type(caught.value).__name__ == error


def problems(process, secrets, monkeypatch):
    """Return what is wrong with the environment of a process, given the files of `secrets`."""
    for key, value in process.environment.items():
        file = process.secrets.get(value)
        monkeypatch.setenv(key, str(secrets / file) if file else value)
    return [str(problem) for problem in config.problems()]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """Secrets as they are made, for tests that only read them."""
    return deployed.made_secrets(tmp_path_factory.mktemp("made"))


@every_process
def test_its_settings_and_its_login_are_right(process, secrets, monkeypatch):
    assert problems(process, secrets, monkeypatch) == []
    if process.name in WITHOUT_DATABASE:
        assert not {file for file in process.secrets.values() if "cluster" not in file}
        return
    url = make_url(config.load().database_url.get_secret_value())
    assert url.username == f"stockbatch_{LOGINS[process.name]}"
    assert url.password == (secrets / f"{LOGINS[process.name]}_password").read_text()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("STOCKBATCH_MONITORING_ADRESS", "0.0.0.0:1", "MONITORING_ADDRESS"),
        ("STOCKBATCH_MONITORING_ADDRESS", "everywhere", "HOST:PORT"),
        ("STOCKBATCH_DATABASE_URL_FILE", "/run/secrets/forgotten", "No such file"),
        # What Kubernetes sets for a service named stockbatch where enableServiceLinks is left on.
        ("STOCKBATCH_API_PORT_80_TCP_ADDR", "10.0.0.1", "unknown"),
    ],
)
def test_a_wrong_setting_is_noticed(key, value, said, secrets, monkeypatch):
    good = of("compose", "daemon")
    environment = good.environment | {key: value}
    wrong = Process(where="", name="", arguments=[], environment=environment, secrets=good.secrets)
    assert any(said in problem for problem in problems(wrong, secrets, monkeypatch))


@every_process
def test_it_is_given_the_time_and_the_memory_it_takes(process):
    if process.name == "daemon":
        assert process.grace_seconds > DEFAULTS.stop_grace_seconds
        assert process.memory >= (DEFAULTS.training_memory_mib + 1024) * 2**20
    if process.name == "worker":
        several = parse(process.arguments)["processes"]
        assert process.memory >= (DEFAULTS.training_memory_mib + 1024) * 2**20 * several
    if process.name == "api":
        assert process.grace_seconds > listening.WAIT


def test_secrets_are_made_once_and_kept_to_their_owner(tmp_path):
    folder = deployed.made_secrets(tmp_path)
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert {f"secrets/{name}" for name in first} == {s["file"] for s in COMPOSE["secrets"].values()}
    assert folder.stat().st_mode & 0o777 == 0o700
    passwords = [text for name, text in first.items() if name.endswith("_password")]
    assert len(set(passwords)) == len(passwords)
    assert all(re.fullmatch(r"[0-9a-f]{48}", password) for password in passwords)
    assert first["alert_urls"] == ""
    assert "KEY" in first["cluster_key.pem"]
    deployed.made_secrets(tmp_path)
    assert {file.name: file.read_text() for file in folder.iterdir()} == first


def test_nobody_can_make_another_certificate_of_a_cluster(secrets):
    ca, certificate, key = (secrets / f"cluster_{n}.pem" for n in ("ca", "certificate", "key"))
    # As Python asks from 3.13 on.
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca]
    subprocess.run([*command, certificate], check=True, capture_output=True)
    asked = (["pkey", "-in", key, "-pubout"], ["x509", "-in", certificate, "-noout", "-pubkey"])
    of_key, certified = (
        subprocess.run(["openssl", *words], check=True, capture_output=True).stdout
        for words in asked
    )
    assert of_key == certified
    assert [file.name for file in secrets.iterdir() if "PRIVATE" in file.read_text()] == [key.name]


def test_secrets_for_a_server_elsewhere(tmp_path):
    parameters = "sslmode=verify-full&sslrootcert=/run/secrets/stockbatch/ca.pem"
    command = [
        "sh",
        DEPLOYMENT / "secrets.sh",
        tmp_path / "made",
        "db.example.com:5433",
        parameters,
    ]
    subprocess.run(command, check=True, capture_output=True)
    url = make_url((tmp_path / "made" / "daemon_url").read_text())
    assert (url.host, url.port, url.database) == ("db.example.com", 5433, "stockbatch")
    assert url.query["sslmode"] == "verify-full"
    # where the kustomization puts the authority
    assert url.query["sslrootcert"] in of("kubernetes", "daemon").secrets


def test_health_is_answered_to_the_containers_question():
    *_, question = COMPOSE["services"]["daemon"]["healthcheck"]["test"]
    app = SimpleNamespace(
        settings=Settings(monitoring_address="127.0.0.1:0"),
        clock=lambda: datetime(2024, 6, 3, 12, tzinfo=UTC),
        trainer=SimpleNamespace(pid=None),
    )
    for silence, code in ((0.0, 0), (2 * LONGEST_SILENCE, 1)):
        seconds = iter([0.0])  # when it beats; it is asked later
        beat = Beat(app.clock, lambda: next(seconds, silence))  # noqa: B023
        with monitoring.serving(app, beat) as (_, number):
            asked = question.replace("9464", str(number))
            done = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=False)
        assert done.returncode == code


# ---- ports, paths and names are the same everywhere


def test_prometheus_asks_where_the_daemon_listens():
    alone = read(DEPLOYMENT / "prometheus" / "prometheus.yml")
    composed = read(DOCKER / "prometheus.yml")
    for scraped, target in (
        (alone, DEFAULTS.monitoring_address),
        (composed, f"daemon:{port(of('compose', 'daemon'), 'STOCKBATCH_MONITORING_ADDRESS', '')}"),
    ):
        (job,) = scraped["scrape_configs"]
        assert job["static_configs"] == [{"targets": [target]}]
    without = [copy.deepcopy(one) for one in (alone, composed)]
    for one in without:
        del one["scrape_configs"][0]["static_configs"]
    assert without[0] == without[1]
    assert "monitoring" in COMPOSE["services"]["daemon"]["networks"]
    assert "monitoring" in COMPOSE["services"]["prometheus"]["networks"]


def test_grafana_is_given_what_its_data_source_asks_for():
    service = COMPOSE["services"]["grafana"]
    source = (DEPLOYMENT / "grafana/provisioning/datasources/stockbatch.yaml").read_text()
    asked = set(re.findall(r"\$(\w+)", source))
    given = set(service["environment"]) | set(re.findall(r"(\w+)=\$\$\(", service["entrypoint"][2]))
    assert asked == {name for name in given if name.startswith("STOCKBATCH_")}
    assert service["environment"]["STOCKBATCH_USER"] == "stockbatch_grafana"
    (provider,) = read(DEPLOYMENT / "grafana/provisioning/dashboards/stockbatch.yaml")["providers"]
    assert f"../grafana/dashboards:{provider['options']['path']}:ro" in service["volumes"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_of_compose_is_confined(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert all(published.startswith("127.0.0.1:") for published in service.get("ports", []))
    for volume in service.get("volumes", []):
        source, path, *_ = volume.split(":")
        known = (
            (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
        )
        assert known, volume
        assert path.startswith("/")
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    ours = {"data", "cluster"} & set(service["networks"])
    those = {"postgres": {"data", "cluster"}, "daemon": {"data", "cluster"}, "prometheus": set()}
    those |= {"scheduler": {"cluster"}, "worker": {"cluster"}}
    assert ours == those.get(name, {"data"})
    assert COMPOSE["networks"]["data"] == COMPOSE["networks"]["cluster"] == {"internal": True}
    assert ("outside" in service["networks"]) == (
        "ports" in service or name in ("daemon", "backup")
    )


def test_health_is_asked_where_it_is_answered():
    assert "HEALTHCHECK" not in DOCKERFILE  # each image is of more than one process
    asked = {n: str(s.get("healthcheck")) for n, s in COMPOSE["services"].items()}
    urls = {n: re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", text) for n, text in asked.items()}
    assert urls["daemon"] == [(DEFAULTS.monitoring_address.rpartition(":")[2], "/healthz")]
    assert urls["api"] == [(port(of("compose", "api"), "STOCKBATCH_API_ADDRESS", ""), "/health")]
    assert "/health" in {route.path for route in stored_routes.open_router.routes}
    served = of("compose", "dashboard").arguments[-1].rpartition(":")[2]
    assert urls["dashboard"] == [(served, "/_stcore/health")]
    for name, published in (("api", 8765), ("dashboard", 8501), ("grafana", 3000)):
        assert COMPOSE["services"][name]["ports"] == [f"127.0.0.1:{published}:{published}"]


def test_settings_and_state_are_where_the_image_looks_for_them():
    home = re.search(r"STOCKBATCH_HOME=(\S+)", DOCKERFILE)[1]
    volumes = COMPOSE["services"]["daemon"]["volumes"]
    assert volumes == [f"state:{home}", f"../stockbatch.toml:{home}/stockbatch.toml:ro"]
    assert config.load(DEPLOYMENT / "stockbatch.toml").engine_hash() == DEFAULTS.engine_hash()


def test_images_are_pinned():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += re.findall(r"^ARG BASE=(\S+)", DOCKERFILE, re.MULTILINE)
    own = read(KUBERNETES / "kustomization.yaml")["images"]
    assert {image["newTag"] for image in own} == {version}
    named = {
        template["spec"]["containers"][0]["image"]
        for template in map(deployed.template, deployed.workloads())
    }
    assert {image["name"] for image in own} == named
    guide = (DEPLOYMENT / "guides" / "deployment.md").read_text()
    assert set(re.findall(r"/stockbatch[\w$-]*:(\d\S+)", guide)) == {version}
    for image in images:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.?\d*(-\w+)*", image), image
    assert {image for image in images if "stockbatch" in image} == {f"{i}:{version}" for i in named}
    assert re.search(r"pip install --no-cache-dir uv==\d+\.\d+\.\d+$", DOCKERFILE, re.MULTILINE)


def test_what_is_built_is_copied_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in line.split()
    ]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / source).exists() for source in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [project["project"]["readme"], *project["project"]["license-files"]]
    needed += [*wheel["packages"], *wheel["force-include"]]
    assert set(needed) <= set(copied)
    # What its services need: the daemon is given alert_urls, and the workers are of its image; the
    # others are commands of an extra.
    stages = dict(re.findall(r"AS (\w+)-packages\n((?:.+\n)+)", DOCKERFILE))
    extras = {name: re.findall(r"--extra (\w+)", stage) for name, stage in stages.items()}
    assert extras == {"daemon": ["alerts", "cluster"], "api": ["api"], "dashboard": ["dashboard"]}
    named = {one for several in extras.values() for one in several}
    assert named <= set(project["project"]["optional-dependencies"])


def test_a_service_runs_its_own_image():
    targets = re.findall(r"^FROM runtime AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert targets == ["api", "dashboard", "daemon"]  # the last one is built unless told otherwise
    for name in (*LOGINS, *WITHOUT_DATABASE, *targets):
        service = COMPOSE["services"][name]
        target = name if name in targets else "daemon"
        assert service["build"]["target"] == target
        assert service["image"].startswith(f"stockbatch-{target}:")
        assert f'CMD ["{target}"]' in DOCKERFILE


def test_only_what_trains_is_given_tensorflow():
    """What is left out is needed by TensorFlow and Keras alone, and they go with it."""
    together = re.search(r'ENV (WITHOUT_TRAINING)="([^"]+)"', DOCKERFILE)
    written = DOCKERFILE.replace(f"${together[1]}", together[2])
    stages = dict(re.findall(r"AS (\w+)-packages\n((?:.+\n)+)", written))
    left_out = {n: set(re.findall(r"--no-install-package (\S+)", s)) for n, s in stages.items()}
    assert left_out["daemon"] == {"libclang"}
    assert left_out["api"] < left_out["dashboard"]
    locked = {p["name"]: p for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    trains = {"tensorflow", "tensorflow-cpu", "keras"}
    assert trains <= left_out["api"] <= set(locked)
    own = locked["stockbatch"]
    needed, named = set(), [*own["dependencies"]]
    named += [d for extra in ("api", "dashboard") for d in own["optional-dependencies"][extra]]
    while named:
        name = named.pop()["name"]
        if name not in needed | trains:
            needed.add(name)
            named += locked[name].get("dependencies", [])
    assert not left_out["api"] & needed


# ---- Kubernetes


def the(kind, name):
    (found,) = (
        r for r in deployed.resources() if (r["kind"], r["metadata"]["name"]) == (kind, name)
    )
    return found


@pytest.mark.parametrize("workload", deployed.workloads(), ids=lambda w: w["metadata"]["name"])
def test_a_pod_is_confined(workload):
    pod = deployed.template(workload)["spec"]
    (container,) = pod["containers"]
    user = int(re.search(r"^USER (\d+):", DOCKERFILE, re.MULTILINE)[1])
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert set(container["resources"]) == {"requests", "limits"}
    names = {volume["name"] for volume in pod["volumes"]}
    assert names == {mount["name"] for mount in container["volumeMounts"]}
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    home = re.search(r"STOCKBATCH_HOME=(\S+)", DOCKERFILE)[1]
    assert writable - {"/backups", "/scratch"} == {"/tmp", home}
    assert ("/scratch" in writable) == ("--scratch" in container["args"])


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@pytest.mark.parametrize(
    ("name", "key"),
    [("daemon", "MONITORING"), ("api", "API"), ("dashboard", ""), ("scheduler", "")],
)
def test_ports_of_pods_services_and_policies_agree(name, key):
    process = of("kubernetes", name)
    number = int(port(process, f"STOCKBATCH_{key}_ADDRESS", process.arguments[-1]))
    kinds = ("Deployment", "Service", "NetworkPolicy")
    deployment, service, policy = (the(kind, f"stockbatch-{name}") for kind in kinds)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (exposed,) = container["ports"]
    assert exposed["containerPort"] == number
    (forwarded,) = service["spec"]["ports"]
    assert forwarded["targetPort"] == exposed["name"]
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": number}]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        policy["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    for probe in PROBES:
        (asked,) = (container[probe][k] for k in ("httpGet", "tcpSocket") if k in container[probe])
        assert asked["port"] == exposed["name"]


def test_a_daemon_is_not_ended_for_what_may_take_long():
    (container,) = the("Deployment", "stockbatch-daemon")["spec"]["template"]["spec"]["containers"]
    probes = {p: container[f"{p}Probe"] for p in ("startup", "liveness", "readiness")}
    paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_one_daemon_follows_the_other_without_a_deadlock():
    spec = the("Deployment", "stockbatch-daemon")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 1}


def reached(name):
    """Return the rules of what a pod may reach, of all policies that apply to it."""
    name, found = f"stockbatch-{name}", []
    for resource in deployed.resources():
        if resource["kind"] != "NetworkPolicy":
            continue
        selector = resource["spec"]["podSelector"]
        chosen = selector.get("matchLabels", {}).get("app.kubernetes.io/name", name)
        among = [e["values"] for e in selector.get("matchExpressions", [])]
        if chosen == name and all(name in values for values in among):
            found += resource["spec"].get("egress", [])
    return found


@pytest.mark.parametrize("name", sorted(LOGINS))
def test_a_pod_reaches_names_and_the_database_and_no_more_than_it_needs(name):
    rules = reached(name)
    (names,) = [rule for rule in rules if {"protocol": "UDP", "port": 53} in rule["ports"]]
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in names["to"]  # the cache on the node
    assert {"ports": [{"protocol": "TCP", "port": 5432}]} in rules
    outside = [rule for rule in rules if {"protocol": "TCP", "port": 443} in rule["ports"]]
    assert len(outside) == (name in ("daemon", "backup"))


def pods(peers):
    """Return the names of the pods that a rule of a policy chooses, and of nothing else."""
    found = set()
    for peer in peers:
        (selector,) = peer.values()
        assert set(peer) == {"podSelector"}
        labels = selector.get("matchLabels", {})
        found |= {value for key, value in labels.items() if key == "app.kubernetes.io/name"}
        found |= {v for one in selector.get("matchExpressions", []) for v in one["values"]}
    return {name.removeprefix("stockbatch-") for name in found}


def test_only_the_daemon_and_the_workers_reach_the_scheduler():
    (at,) = the("Service", "stockbatch-scheduler")["spec"]["ports"]
    ports = [{"protocol": "TCP", "port": at["port"]}]
    address = f"tls://stockbatch-scheduler:{at['port']}"
    (let_in,) = the("NetworkPolicy", "stockbatch-scheduler")["spec"]["ingress"]
    assert (pods(let_in["from"]), let_in["ports"]) == ({"daemon", "worker"}, ports)
    going = {name: [r for r in reached(name) if "scheduler" in str(r)] for name in LOGINS}
    for name, rules in going.items():
        allowed = [(pods(rule["to"]), rule["ports"]) for rule in rules]
        assert allowed == ([({"scheduler"}, ports)] if name in ("daemon", "worker") else [])
    for name in ("daemon", "worker"):
        assert of("kubernetes", name).environment["STOCKBATCH_CLUSTER"] == address


def test_only_the_scheduler_reaches_the_workers():
    (let_in,) = the("NetworkPolicy", "stockbatch-worker")["spec"]["ingress"]
    every_port = [{"protocol": "TCP"}]
    assert (pods(let_in["from"]), let_in["ports"]) == ({"scheduler"}, every_port)
    (going,) = [rule for rule in reached("scheduler") if rule["ports"] == every_port]
    assert pods(going["to"]) == {"worker"}


@pytest.mark.parametrize("where", ["compose", "kubernetes", "systemd"])
def test_a_worker_has_the_settings_of_the_daemon(where):
    worker, daemon = of(where, "worker"), of(where, "daemon")
    assert worker.environment.items() - daemon.environment.items() <= {("STOCKBATCH_THREADS", "1")}
    assert set(worker.secrets.values()) <= set(daemon.secrets.values())


def test_compose_has_a_cluster_where_its_profile_is_named():
    services = COMPOSE["services"]
    assert {n for n, s in services.items() if "profiles" in s} == {"scheduler", "worker"}
    assert all(services[name]["profiles"] == ["cluster"] for name in ("scheduler", "worker"))
    told = services["daemon"]["environment"]["STOCKBATCH_CLUSTER"]
    served = of("compose", "scheduler").arguments[-1].rpartition(":")[2]
    assert told == f"${{COMPOSE_PROFILES:+tls://scheduler:{served}}}"
    assert of("compose", "worker").environment["STOCKBATCH_CLUSTER"] == deployed.chosen(told)
    toml = "../stockbatch.toml:/var/lib/stockbatch/stockbatch.toml:ro"
    assert toml in services["daemon"]["volumes"]
    assert services["worker"]["volumes"] == [toml]


def test_the_ingress_leads_to_services_with_tls():
    spec = the("Ingress", "stockbatch")["spec"]
    hosts = {rule["host"] for rule in spec["rules"]}
    assert hosts == {host for tls in spec["tls"] for host in tls["hosts"]}
    assert all(tls["secretName"] for tls in spec["tls"])
    for rule in spec["rules"]:
        for path in rule["http"]["paths"]:
            service = path["backend"]["service"]
            ports = the("Service", service["name"])["spec"]["ports"]
            assert service["port"]["name"] in {p["name"] for p in ports}


def test_prometheus_operator_is_told_what_prometheus_is():
    folder = KUBERNETES / "monitoring"
    files = read(folder / "kustomization.yaml")["resources"]
    assert {folder / file for file in files} == {*folder.glob("*.yaml")} - {
        folder / "kustomization.yaml"
    }
    rules, monitor = read(folder / "prometheus-rule.yaml"), read(folder / "service-monitor.yaml")
    known = read(DEPLOYMENT / "prometheus" / "rules.yml")["groups"]
    assert rules["spec"]["groups"][: len(known)] == known
    backups = str(rules["spec"]["groups"][len(known) :])
    assert f'cronjob="{the("CronJob", "stockbatch-backup")["metadata"]["name"]}"' in backups
    service = the("Service", "stockbatch-daemon")
    selected = monitor["spec"]["selector"]["matchLabels"].items()
    assert selected <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {p["name"] for p in service["spec"]["ports"]}
    (labels,) = read(KUBERNETES / "kustomization.yaml")["labels"]
    (job,) = read(DEPLOYMENT / "prometheus" / "prometheus.yml")["scrape_configs"]
    assert labels["pairs"][monitor["spec"]["jobLabel"]] == job["job_name"]
    assert endpoint["path"] == service["metadata"]["annotations"]["prometheus.io/path"]


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed: apt-get install prometheus"
)
def test_prometheus_takes_the_rules_of_the_operator(tmp_path):
    rules = read(KUBERNETES / "monitoring" / "prometheus-rule.yaml")["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    subprocess.run(command, check=True, capture_output=True)


# ---- backups


@pytest.mark.parametrize("where", ["compose", "kubernetes", "systemd"])
def test_backups_are_kept_and_tested_everywhere(where):
    process = of(where, "backup")
    chosen = parse(process.arguments)
    assert process.arguments[:2] == ["db", "backup"]
    assert chosen["keep"] == 14
    assert chosen["scratch"]
    assert "STOCKBATCH_ALERT_URLS_FILE" in process.environment


def test_backups_are_made_at_the_same_time_everywhere(tmp_path):
    cron = the("CronJob", "stockbatch-backup")["spec"]
    timer = deployed.unit(SYSTEMD / "stockbatch-backup.timer")
    assert (cron["schedule"], cron["timeZone"]) == ("30 2 * * *", "Etc/UTC")
    assert timer["OnCalendar"] == ["*-*-* 02:30:00 UTC"]
    *shell, script, name = COMPOSE["services"]["backup"]["entrypoint"]
    (tmp_path / "sleep").write_text('#!/bin/sh\necho "$1" $(($(date +%s) + $1))\n')
    (tmp_path / "sleep").chmod(0o755)
    done = subprocess.run(
        [*shell, script.replace("$$", "$"), name, "echo", "a b"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    (seconds, moment), called = (line.split() for line in done.stdout.splitlines())
    assert 0 < int(seconds) <= 86400
    assert abs((int(moment) - (2 * 60 + 30) * 60) % 86400) in (0, 1)
    assert called == ["a", "b"]


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize(
    "resource", deployed.resources(), ids=lambda r: f"{r['kind']}-{r['metadata']['name']}"
)
def test_a_resource_is_what_kubernetes_takes(resource, version):
    kubernetes_validate.validate(resource, version, strict=True)
    wrong = copy.deepcopy(resource) | {"spce": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="spce"):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("cluster", [False, True], ids=["alone", "cluster"])
def test_kustomize_builds_it(tmp_path, secrets, cluster):
    folder = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, folder, ignore=shutil.ignore_patterns("secrets"))
    command = ["kubectl", "kustomize", str(folder)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0  # no secrets
    shutil.copytree(secrets, folder / "secrets")
    (folder / "secrets" / "ca.pem").touch()
    own = folder / "kustomization.yaml"
    line = "components: [cluster]"
    assert f"\n# {line}\n" in own.read_text()
    if cluster:
        own.write_text(own.read_text().replace(f"# {line}", line))
    built = subprocess.run(command, capture_output=True, check=True, text=True)
    resources = list(yaml.safe_load_all(built.stdout))
    generated = [one for one in resources if one["kind"] in ("ConfigMap", "Secret")]
    assert len(generated) == 9 + cluster
    written = deployed.resources([KUBERNETES, deployed.CLUSTER] if cluster else [KUBERNETES])
    assert len(resources) == len(written) + len(generated)
    told = [one for one in generated if "STOCKBATCH_CLUSTER" in one.get("data", {})]
    assert len(told) == cluster
    names = {resource["metadata"]["name"] for resource in resources}
    for resource in resources:
        kubernetes_validate.validate(resource, "1.37", strict=True)
        assert resource["metadata"]["labels"]["app.kubernetes.io/part-of"] == "stockbatch"
        if template := deployed.template(resource):
            pod = template["spec"]
            (named,) = (v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v)
            assert named in names
            assert re.match(
                r"registry\.example\.com/stockbatch-\w+:", pod["containers"][0]["image"]
            )


# ---- systemd


def verified(folder):
    """Return what systemd finds wrong with the units of a folder, their program being there."""
    for path in folder.glob("*.service"):
        text = path.read_text()
        assert "ExecStart=/opt/stockbatch/bin/stockbatch " in text
        path.write_text(text.replace("/opt/stockbatch/bin/stockbatch", "/bin/true"))
    units = sorted(map(str, [*folder.glob("*.service"), *folder.glob("*.timer")]))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr + done.stdout * (done.returncode != 0)


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"),
    reason="systemd-analyze is not installed: apt-get install systemd",
)
@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        (None, "", "", ""),
        ("stockbatch-daemon.service", "WatchdogSec", "WatchdogSecs", "Unknown key"),
        ("stockbatch-api.service", "Type=exec", "Type=often", "Failed to parse service type"),
        ("stockbatch-backup.timer", "02:30", "26:30", "Failed to parse calendar"),
        ("stockbatch-.service.d/10-common.conf", "=@system-service", "=@sytem-service", "sytem"),
    ],
)
def test_units_are_what_systemd_takes(tmp_path, file, right, wrong, said):
    folder = tmp_path / "units"
    shutil.copytree(SYSTEMD, folder)
    if file is None:
        assert verified(folder) == ""
    else:
        (folder / file).write_text((folder / file).read_text().replace(right, wrong))
        assert said in verified(folder)


def test_systemd_leaves_alone_what_only_a_person_can_mend():
    own = deployed.unit(SYSTEMD / "stockbatch-daemon.service")
    codes = {exceptions.ConfigurationError.exit_code, exceptions.SchemaTooNew.exit_code}
    assert set(map(int, own["RestartPreventExitStatus"][0].split())) == codes
    assert exceptions.DatabaseUnavailable.exit_code not in codes
    assert own["Type"] == ["notify"]
    assert own["SuccessExitStatus"] == ["143"]
    common = deployed.unit(SYSTEMD / "stockbatch-.service.d" / "10-common.conf")
    (line,) = (SYSTEMD / "stockbatch.sysusers.conf").read_text().splitlines()[1:]
    assert line.split()[:2] == ["u", *common["User"]]


# ---- what other programs say to the files


def check(*command):
    """Return the exit status of a program of this environment and what it printed."""
    program = PROGRAMS / command[0]
    if not program.exists():
        pytest.skip(f"{command[0]} has no build for this machine")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("", "", 0),
        ("FROM ${BASE} AS base", "FROM python:latest AS base", 1),
        ("uv==0.13.9", "uv", 1),
        ("USER 10001:10001", "RUN cd /tmp\nMAINTAINER me", 1),
    ],
)
def test_the_dockerfile_has_no_lint(tmp_path, right, wrong, code):
    file = tmp_path / "Dockerfile"
    file.write_text(DOCKERFILE.replace(right, wrong) if right else DOCKERFILE)
    found, said = check("hadolint", "--no-color", str(file))
    assert found == code, said


@pytest.mark.parametrize(
    ("schema", "file", "right", "wrong"),
    [
        ("compose-spec", DOCKER / "compose.yaml", "read_only:", "readonly:"),
        ("github-workflows", ROOT / ".github/workflows/ci.yml", "runs-on:", "run-on:"),
    ],
    ids=["compose", "workflow"],
)
def test_a_file_follows_its_schema(tmp_path, schema, file, right, wrong):
    assert deployed.checked(schema, file) == (0, "ok -- validation done\n")
    broken = tmp_path / file.name
    broken.write_text(file.read_text().replace(right, wrong))
    code, said = deployed.checked(schema, broken)
    assert code == 1
    assert wrong.rstrip(":") in said


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed: apt-get install prometheus"
)
def test_prometheus_takes_the_configuration_of_compose(tmp_path):
    for source in (DOCKER / "prometheus.yml", DEPLOYMENT / "prometheus" / "rules.yml"):
        shutil.copy(source, tmp_path)
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "rules.yml").unlink()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


# ---- continuous integration


def test_the_workflow_runs_the_two_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv \.venv .+$", readme, re.MULTILINE)
    assert len(commands) == 2
    workflow = read(ROOT / ".github" / "workflows" / "ci.yml")
    jobs = workflow["jobs"]
    assert [step["run"] for step in jobs["readme"]["steps"] if "run" in step] == commands
    assert jobs["gate"]["steps"][-1] == {"run": ".ci/run"}
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used)
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert required == ">=3.11,<3.14"
    assert jobs["readme"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
