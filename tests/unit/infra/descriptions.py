"""What infra/ says of the services, read once for the tests."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.services import Service, all_services, client_environment
from infra.local.state import PORT_NAMES, State

INFRA = Path(__file__).parents[3] / "infra"
KUSTOMIZATIONS = ("base", "overlays/self-contained")
SERVICES = ("postgres", "s3", "prefect", "mlflow", "worker-cpu", "worker-gpu")


@cache
def compose() -> dict[str, Any]:
    """compose.yaml with its anchors and merges resolved."""
    return yaml.safe_load((INFRA / "compose.yaml").read_text())


@cache
def kustomized(name: str) -> list[dict[str, Any]]:
    """Every resource that a kustomization makes."""
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("no kubectl on PATH: it renders infra/kubernetes without a cluster")
    command = [kubectl, "kustomize", str(INFRA / "kubernetes" / name)]
    rendered = subprocess.run(command, capture_output=True, text=True)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def of_kind(resources: list[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    """Resources of these kinds by name."""
    return {r["metadata"]["name"]: r for r in resources if r["kind"] in kinds}


def pod_specs(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pod of every workload, by its name."""
    pods = {}
    for name, workload in of_kind(resources, "Deployment", "StatefulSet").items():
        pods[name] = workload["spec"]["template"]["spec"]
    for name, workload in of_kind(resources, "CronJob").items():
        pods[name] = workload["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pods


@cache
def local() -> dict[str, Service]:
    """The services of infra/local, none of them started."""
    return all_services(Path("/stack"), local_state())


def local_state() -> State:
    ports = {name: 20_000 + index for index, name in enumerate(PORT_NAMES)}
    return State("stack", ports, "database-password", "access", "secret", "/stack/postgres")


def client_variables() -> set[str]:
    return set(client_environment(local_state()))


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in a Prometheus expression."""
    without_labels = re.sub(r"\{[^}]*\}|\"[^\"]*\"|\b(by|on)\s*\([^)]*\)", " ", expression)
    words = set(re.findall(r"\b[a-z][a-z0-9_]*\b(?!\s*\()", without_labels))
    return {word for word in words if "_" in word or word == "up"}


@cache
def monitored() -> set[str]:
    """Every metric that an alert or a panel asks for."""
    import json

    groups = yaml.safe_load((INFRA / "monitoring/rules.yaml").read_text())["groups"]
    expressions = [rule["expr"] for group in groups for rule in group["rules"]]
    board = json.loads((INFRA / "monitoring/grafana/dayspring.json").read_text())
    expressions += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(expressions) == 14 + 18
    return {name for expression in expressions for name in metrics_in(expression)}
