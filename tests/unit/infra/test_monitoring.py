"""Alerts, board and textfile: they parse, and ask only for metrics that exist."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from portal import write_config
from unit.infra.descriptions import INFRA, compose, metrics_in, monitored

from infra.monitoring.textfile import METRICS, render

MONITORING = INFRA / "monitoring"

STATUS = {
    "pipeline": "portal",
    "champion_since": "2026-03-04T00:00:00+00:00",
    "last_day": "2026-03-05",
    "auc": {"champion": [0.61, 0.64], "zero_shot": [0.6, 0.59]},
    "missing_days": ["2026-03-01"],
    "unfinished_days": [],
    "waiting": ["4"],
}
NEW = {**STATUS, "pipeline": "new", "champion_since": None, "last_day": None, "auc": None}

# What these exporters of others showed when they were run against infra/local (postgres-exporter 0.11,
# node-exporter 1.5), and what Prometheus itself says of a target. Prefect's and MLflow's are scraped
# in tests/grown/test_metrics.py.
OTHERS = {
    "up",
    "pg_up",
    "pg_stat_activity_count",
    "pg_settings_max_connections",
    "pg_database_size_bytes",
    "node_textfile_mtime_seconds",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
}
SERVERS = ("prefect_", "process_", "mlflow_")


def _promtool(*arguments: str) -> str:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("no promtool on PATH: Debian's package prometheus has it")
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, cwd=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_rules_and_config() -> None:
    assert "14 rules found" in _promtool("check", "rules", "rules.yaml")
    assert "prometheus.yaml is valid" in _promtool("check", "config", "prometheus.yaml")


def test_alerts_fire_when_they_shall_and_not_before() -> None:
    assert "SUCCESS" in _promtool("test", "rules", "rules.test.yaml")


def test_metrics_are_found_in_an_expression() -> None:
    expression = 'sum by (le) (rate(a_bucket{status=~"5.."}[5m])) / on (server) b_total > 3 * up'
    assert metrics_in(expression) == {"a_bucket", "b_total", "up"}


def test_alerts_and_panels_ask_only_for_metrics_that_somebody_exposes() -> None:
    unknown = monitored() - set(METRICS) - OTHERS
    assert [name for name in unknown if not name.startswith(SERVERS)] == []
    assert set(METRICS) <= monitored()


def test_every_alert_says_what_to_do() -> None:
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert {"summary", "action"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_prometheus_asks_services_of_compose() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    targets = [job["static_configs"][0]["targets"][0] for job in config["scrape_configs"]]
    assert len(targets) == 4
    assert {target.partition(":")[0] for target in targets} <= set(compose()["services"])


def test_the_board_has_one_source_and_panels_of_their_own_ids() -> None:
    board = json.loads((MONITORING / "grafana/dayspring.json").read_text())
    sources = yaml.safe_load(
        (MONITORING / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {
        sources["datasources"][0]["uid"]
    }
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) == 12


def test_the_textfile_says_each_gauge_of_a_pipeline() -> None:
    """Live since midnight, asked at noon: 43,200 s. 2026-03-05 began 1,772,668,800 s after 1970."""
    shown = render([STATUS], datetime(2026, 3, 4, 12, tzinfo=UTC)).splitlines()
    assert [line for line in shown if not line.startswith("#")] == [
        'dayspring_champion_age_seconds{pipeline="portal"} 43200.0',
        'dayspring_last_complete_day_timestamp_seconds{pipeline="portal"} 1772668800.0',
        'dayspring_prequential_auc{pipeline="portal"} 0.64',
        'dayspring_zero_shot_auc{pipeline="portal"} 0.59',
        'dayspring_days_missing{pipeline="portal"} 1',
        'dayspring_days_unfinished{pipeline="portal"} 0',
        'dayspring_versions_waiting{pipeline="portal"} 1',
    ]


def test_the_textfile_reads_what_status_prints(tmp_path: Path) -> None:
    from flows.status import statuses

    config = write_config(tmp_path, tmp_path / "logs")
    shown = render(statuses(config, None), datetime(2026, 3, 4, tzinfo=UTC))
    assert 'dayspring_days_unfinished{pipeline="portal"} 0' in shown


def test_a_pipeline_without_a_day_has_no_value_instead_of_a_false_one() -> None:
    shown = render([NEW], datetime(2026, 3, 4, tzinfo=UTC))
    assert 'dayspring_champion_age_seconds{pipeline="new"}' not in shown
    assert 'dayspring_days_missing{pipeline="new"} 1' in shown


def test_the_textfile_is_replaced_in_one_step_and_kept_when_the_status_fails(
    tmp_path: Path,
) -> None:
    output = tmp_path / "dayspring.prom"
    command = [sys.executable, MONITORING / "textfile.py", "--output", output]
    document = json.dumps({"pipelines": [STATUS]})
    subprocess.run(command, input=document, text=True, check=True)
    written = output.read_text()
    assert "dayspring_prequential_auc" in written
    failed = subprocess.run(command, input="", text=True, capture_output=True)
    assert failed.returncode == 1
    assert "dayspring status --json" in failed.stderr
    assert output.read_text() == written
    assert list(tmp_path.iterdir()) == [output]
