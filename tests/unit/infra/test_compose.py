"""infra/compose.yaml, as far as it can be checked without a container engine."""

import re

import compose_spec
import pytest
import yaml
from unit.infra.descriptions import INFRA, SERVICES, compose

RUN_ONCE = {"s3-bucket", "deploy"}
TEXT = (INFRA / "compose.yaml").read_text()


def test_compose_keeps_to_the_specification() -> None:
    parsed = compose_spec.PyCompose.from_yaml(yaml.safe_dump(compose()))
    assert set(parsed.service_names()) >= set(SERVICES)


def test_the_check_refuses_a_wrong_key() -> None:
    broken = {**compose(), "services": {"a": {"image": "x:1", "comand": "y"}}}
    with pytest.raises(ValueError, match="comand"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(broken))


def test_no_secret_has_a_default_and_each_is_in_the_example() -> None:
    used = dict(re.findall(r"\$\{(\w+)(:?[-?]?)", TEXT))
    secrets = {name for name in used if re.search("PASSWORD|KEY|SECRET", name)}
    assert secrets == {
        "POSTGRES_PASSWORD",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "GRAFANA_PASSWORD",
    }
    assert {used[name] for name in secrets} == {":?"}
    example = (INFRA / "example.env").read_text()
    assert set(re.findall(r"^(\w+)=", example, re.M)) == set(used)
    assert all(f"\n{name}=\n" in example for name in secrets)


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in compose()["services"].values()]
    assert len(images) == 14
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), f"{image} names no version"


def test_what_runs_on_answers_a_healthcheck_and_what_waits_waits_for_it() -> None:
    services = compose()["services"]
    for name in (*SERVICES, "serving"):
        assert services[name]["healthcheck"]["test"], name
    for service in services.values():
        waits = service.get("depends_on", {})
        for needed, how in waits.items() if isinstance(waits, dict) else ():
            expected = "completed_successfully" if needed in RUN_ONCE else "healthy"
            assert how["condition"] == f"service_{expected}"


def test_only_this_machine_reaches_the_published_ports() -> None:
    published = [
        port for service in compose()["services"].values() for port in service.get("ports", [])
    ]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_gpu_worker_reserves_a_gpu() -> None:
    worker = compose()["services"]["worker-gpu"]
    devices = worker["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
