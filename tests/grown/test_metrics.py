"""Prefect's and MLflow's servers expose what the alerts and the board ask of them."""

import re
import urllib.request

from unit.infra.descriptions import monitored

from infra.local.stack import Stack


def _exposed(address: str) -> set[str]:
    with urllib.request.urlopen(address) as answer:  # noqa: S310
        text = answer.read().decode()
    return set(re.findall(r"^([a-z_]+)(?:\{| )", text, re.M)) | set(
        re.findall(r"^# TYPE (\S+)", text, re.M)
    )


def test_prefect_exposes_the_metrics_that_are_watched(grown: Stack) -> None:
    watched = {name for name in monitored() if name.startswith(("prefect_", "process_"))}
    assert len(watched) == 3
    assert watched <= _exposed(f"{grown.env()['PREFECT_API_URL']}/metrics")


def test_mlflow_exposes_the_metrics_that_are_watched(grown: Stack) -> None:
    server = grown.env()["MLFLOW_TRACKING_URI"]
    # The counters appear with the first request that is counted.
    urllib.request.urlopen(f"{server}/api/2.0/mlflow/experiments/get?experiment_id=0").close()  # noqa: S310
    watched = {name for name in monitored() if name.startswith("mlflow_")}
    assert len(watched) == 2
    assert watched <= _exposed(f"{server}/metrics")
