"""What the files of `deployment` start: every process with its arguments, settings and secrets."""

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.places import ROOT

DEPLOYMENT = ROOT / "deployment"
DOCKER = DEPLOYMENT / "docker"
KUBERNETES = DEPLOYMENT / "kubernetes"
CLUSTER = KUBERNETES / "cluster"
SYSTEMD = DEPLOYMENT / "systemd"


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of ours in one of the files."""

    where: str
    name: str
    arguments: list[str]
    environment: dict[str, str]
    secrets: dict[str, str]
    """By path in the process: the file that ops keep."""
    memory: float | None = None
    grace_seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.where}-{self.name}"


def read(path: Path) -> Any:
    """Return what a YAML file says."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def processes() -> list[Process]:
    """Return every process of ours in any of the files."""
    return [*in_compose(), *in_kubernetes(), *in_systemd()]


def in_compose() -> list[Process]:
    compose = read(DOCKER / "compose.yaml")
    return [
        Process(
            where="compose",
            name=name,
            arguments=[word for word in service["command"] if word != "stockbatch"],
            environment={key: chosen(str(value)) for key, value in service["environment"].items()},
            secrets={
                f"/run/secrets/{secret}": Path(compose["secrets"][secret]["file"]).name
                for secret in service["secrets"]
            },
            memory=quantity(service["deploy"]["resources"]["limits"]["memory"]),
            grace_seconds=seconds(service.get("stop_grace_period", "10s")),
        )
        for name, service in compose["services"].items()
        if service["image"].startswith("stockbatch")
    ]


def chosen(text: str) -> str:
    """Return what Compose makes of a value where of variables the profile alone is set."""
    return re.sub(r"\$\{(?:\w+:-|COMPOSE_PROFILES:\+)([^}]*)\}", r"\1", text)


def in_kubernetes() -> list[Process]:
    kustomization = read(KUBERNETES / "kustomization.yaml")
    component = read(CLUSTER / "kustomization.yaml")
    variables: dict[str, dict[str, str]] = {}
    for generated in kustomization["configMapGenerator"] + component["configMapGenerator"]:
        own = dict(literal.split("=", 1) for literal in generated["literals"])
        variables[generated["name"]] = variables.get(generated["name"], {}) | own
    files = {
        generated["name"]: dict(file.split("=", 1) for file in generated["files"])
        for generated in kustomization["secretGenerator"]
    }
    found = []
    for workload in workloads():
        pod = template(workload)["spec"]
        (container,) = pod["containers"]
        environment: dict[str, str] = {}
        for source in container.get("envFrom", []):
            environment |= variables[source["configMapRef"]["name"]]
        environment |= {one["name"]: one["value"] for one in container.get("env", [])}
        secret = next(v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v)
        mount = next(m["mountPath"] for m in container["volumeMounts"] if m["name"] == "secrets")
        found.append(
            Process(
                where="kubernetes",
                name=container["name"],
                arguments=container["args"],
                environment=environment,
                secrets={f"{mount}/{key}": Path(f).name for key, f in files[secret].items()},
                memory=quantity(container["resources"]["limits"]["memory"]),
                grace_seconds=pod.get("terminationGracePeriodSeconds", 30),
            )
        )
    return found


def resources(folders: Sequence[Path] = (KUBERNETES, CLUSTER)) -> list[dict[str, Any]]:
    """Return every resource that the kustomization names, and the part of it for a cluster."""
    return [
        resource
        for folder in folders
        for file in read(folder / "kustomization.yaml")["resources"]
        for resource in yaml.safe_load_all((folder / file).read_text(encoding="utf-8"))
    ]


def workloads() -> list[dict[str, Any]]:
    """Return those of the resources that have pods."""
    return [resource for resource in resources() if template(resource)]


def template(resource: dict[str, Any]) -> dict[str, Any]:
    """Return what a resource makes its pods of, nothing where it has none."""
    spec = resource.get("spec", {})
    found: dict[str, Any] = spec.get("jobTemplate", {"spec": spec})["spec"].get("template", {})
    return found


def in_systemd() -> list[Process]:
    common = unit(SYSTEMD / "stockbatch-.service.d" / "10-common.conf")
    found = []
    for path in sorted(SYSTEMD.glob("*.service")):
        own = unit(path)
        pairs = [one.split("=", 1) for one in common["Environment"] + own["Environment"]]
        (command,) = own["ExecStart"]
        loaded = dict(one.split(":", 1) for one in own["LoadCredential"])
        found.append(
            Process(
                where="systemd",
                name=path.stem.removeprefix("stockbatch-"),
                arguments=shlex.split(command)[1:],
                environment=dict(pairs),
                secrets={f"%d/{key}": Path(file).name for key, file in loaded.items()},
                memory=quantity(own["MemoryMax"][0]) if "MemoryMax" in own else None,
                grace_seconds=float(own.get("TimeoutStopSec", ["90"])[0]),
            )
        )
    return found


def unit(path: Path) -> dict[str, list[str]]:
    """Return the values of each key of a unit file, whatever its section."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def quantity(text: str) -> float:
    """Return bytes."""
    units = {"Mi": 2**20, "Gi": 2**30, "m": 2**20, "g": 2**30, "M": 2**20, "G": 2**30}
    suffix = text.lstrip("0123456789")
    return int(text.removesuffix(suffix)) * units[suffix]


def seconds(text: str) -> float:
    """Return seconds."""
    return float(text.removesuffix("s"))


def made_secrets(folder: Path) -> Path:
    """Run `secrets.sh` as compose.yaml says; return the folder it made."""
    made = folder / "secrets"
    script = DEPLOYMENT / "secrets.sh"
    subprocess.run(["sh", str(script), str(made)], check=True, capture_output=True)
    return made


def checked(schema: str, file: Path) -> tuple[int, str]:
    """Return the status and the words of `check-jsonschema`, with a schema that it carries."""
    from check_jsonschema import main  # takes a second: not in every worker
    from click.testing import CliRunner

    done = CliRunner().invoke(main, ["--builtin-schema", f"vendor.{schema}", str(file)])
    return done.exit_code, done.output
