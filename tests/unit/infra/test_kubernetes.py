"""infra/kubernetes, rendered by kubectl and held against Kubernetes' own schemas, without a cluster."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import kubernetes_validate
import pytest
import yaml
from unit.infra.descriptions import INFRA, KUSTOMIZATIONS, kustomized, of_kind, pod_specs

KUBERNETES = "1.34"
SECRETS = {
    "dayspring-database": {"prefect-url", "mlflow-url"},
    "dayspring-object-store": None,  # all of it becomes the environment
    "dayspring-postgres": {"password"},
}
"""Secrets that the operator makes, and the keys that are asked of each."""


def test_every_yaml_file_is_tidy() -> None:
    from yamllint import linter
    from yamllint.config import YamlLintConfig

    config = YamlLintConfig(file=str(INFRA.parent / ".yamllint.yaml"))
    files = sorted(INFRA.rglob("*.yaml"))
    assert len(files) == 21
    for file in files:
        assert [str(problem) for problem in linter.run(file.read_text(), config)] == [], file


@pytest.mark.parametrize(("name", "count"), zip(KUSTOMIZATIONS, (20, 28), strict=True))
def test_every_resource_keeps_to_the_schema(name: str, count: int) -> None:
    resources = kustomized(name)
    assert len(resources) == count
    for resource in resources:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_the_schema_refuses_a_wrong_key() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"prots": []},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_pods_keep_to_the_restricted_standard(name: str) -> None:
    pods = pod_specs(kustomized(name))
    assert len(pods) == (6 if name == "base" else 9)
    for pod in pods.values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


def test_what_serves_is_probed() -> None:
    resources = kustomized("overlays/self-contained")
    for name in (*of_kind(resources, "Deployment"), *of_kind(resources, "StatefulSet")):
        container = pod_specs(resources)[name]["containers"][0]
        probes = {probe for probe in container if probe.endswith("Probe")}
        serves = name in of_kind(resources, "Service")
        assert probes == {"startupProbe", "livenessProbe"} | (
            {"readinessProbe"} if serves else set()
        )


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_secrets_are_named_and_never_carried(name: str) -> None:
    resources = kustomized(name)
    assert not of_kind(resources, "Secret")
    maps = of_kind(resources, "ConfigMap")
    references = [
        reference for pod in pod_specs(resources).values() for reference in _references(pod)
    ]
    assert len(references) >= 14
    for kind, referred, key in references:
        if kind == "secret":
            keys = SECRETS[referred]
            assert key is None or (keys and key in keys)
        else:
            assert key is None or key in maps[referred]["data"]
            assert referred in maps
    for pod in pod_specs(resources).values():
        literal = [e["name"] for c in pod["containers"] for e in c.get("env", []) if "value" in e]
        assert not [
            name for name in literal if "PASSWORD" in name or "SECRET" in name or "KEY" in name
        ]


def _references(pod: dict[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """What a pod takes from Secrets and ConfigMaps: kind, name, key (None for all of it)."""
    for container, kind in product(pod["containers"], ("secret", "configMap")):
        for whole in container.get("envFrom", []):
            if f"{kind}Ref" in whole:
                yield kind, whole[f"{kind}Ref"]["name"], None
        for one in container.get("env", []):
            reference = one.get("valueFrom", {}).get(f"{kind}KeyRef")
            if reference:
                yield kind, reference["name"], reference["key"]


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_services_budgets_and_policies_select_pods_that_exist(name: str) -> None:
    resources = kustomized(name)
    names = set(pod_specs(resources))
    selectors = {s: r["spec"]["selector"] for s, r in of_kind(resources, "Service").items()}
    for kind, where in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for found in of_kind(resources, kind).values():
            selectors[f"{kind} {found['metadata']['name']}"] = found["spec"][where].get(
                "matchLabels"
            )
    assert len(selectors) == (8 if name == "base" else 12)
    for labels in selectors.values():
        assert not labels or labels["app.kubernetes.io/name"] in names
    scaled = of_kind(resources, "HorizontalPodAutoscaler")["serving"]["spec"]["scaleTargetRef"]
    assert scaled["name"] in of_kind(resources, "Deployment")
    assert "replicas" not in of_kind(resources, "Deployment")["serving"]["spec"]


def test_only_gpu_workers_hold_a_gpu_and_the_window_takes_it_from_the_all_day_worker() -> None:
    for name in KUSTOMIZATIONS:
        holders = {
            pod
            for pod, spec in pod_specs(kustomized(name)).items()
            if spec["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
        }
        window = {"worker-gpu-window"} if name != "base" else set()
        assert holders == {"worker-gpu"} | window
    all_day = of_kind(kustomized("overlays/self-contained"), "Deployment")["worker-gpu"]
    assert all_day["spec"]["replicas"] == 0


def test_the_readme_says_how_each_secret_is_made() -> None:
    readme = (INFRA / "README.md").read_text()
    for secret, keys in SECRETS.items():
        assert f"create secret generic {secret} " in readme
        assert all(f"--from-literal={key}=" in readme for key in keys or ())


def test_the_daily_window_opens_before_the_portal_runs() -> None:
    """04:25 is before 04:30; both are UTC."""
    window = of_kind(kustomized("overlays/self-contained"), "CronJob")["worker-gpu-window"]["spec"]
    pipelines = yaml.safe_load((INFRA.parent / "pipelines.yaml").read_text())["pipelines"]
    schedule = pipelines["portal"]["schedule"]
    opens, runs = (_minute(cron) for cron in (window["schedule"], schedule["cron"]))
    assert (window["timeZone"], schedule["time_zone"]) == ("Etc/UTC", "UTC")
    assert 0 < runs - opens <= 15


def _minute(cron: str) -> int:
    minute, hour, *_ = cron.split()
    return 60 * int(hour) + int(minute)
