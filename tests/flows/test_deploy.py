"""`dayspring deploy` against a real Prefect server: what it shows, what it does, whose it leaves alone."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from portal import write_config

from flows.cli import main


@pytest.fixture
def server(prefect_server):
    """A client of the session's server; deployments and pools that a test leaves are removed."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)
        for pool in client.read_work_pools():
            client.delete_work_pool(pool.name)


@pytest.fixture
def deploy(capsys, monkeypatch):
    """Run `dayspring deploy` in this process; returns exit code, stdout and stderr."""

    def run(config: Path, *arguments: str) -> tuple[int, str, str]:
        command = ["dayspring", "deploy", *arguments, "--config", str(config)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return left.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def config(tmp_path) -> Path:
    return write_config(
        tmp_path,
        tmp_path / "logs",
        schedule={"cron": "30 4 * * *", "time_zone": "Europe/Berlin"},
        compute={"pool": "gpu"},
    )


def rewrite(config: Path, change) -> None:
    """Replace the file's document by what `change` makes of it."""
    document = yaml.safe_load(config.read_text())
    change(document["pipelines"])
    config.write_text(yaml.safe_dump(document))


def on_server(client) -> dict[str, Any]:
    """Deployments by full name."""
    flows = {flow.id: flow.name for flow in client.read_flows()}
    return {f"{flows[each.flow_id]}/{each.name}": each for each in client.read_deployments()}


def test_a_pipeline_becomes_deployments_in_their_pools_and_only_daily_is_scheduled(
    server, deploy, config
):
    code, out, _ = deploy(config)
    assert code == 0
    assert "+ work pool gpu" in out and "+ daily/portal" in out
    found = on_server(server)
    pools = {name: each.work_pool_name for name, each in found.items()}
    assert {"daily/portal", "backfill/portal", "finetune/portal"} <= set(pools)
    assert pools.pop("finetune/portal") == "gpu"
    assert set(pools.values()) == {"cpu"}
    assert [name for name, each in found.items() if each.schedules] == ["daily/portal"]
    for each in found.values():
        assert sorted(each.tags) == ["dayspring", "pipeline:portal"]
        assert each.parameters.items() >= {"pipeline": "portal", "config_file": str(config)}.items()
        assert each.global_concurrency_limit.limit == 1
        assert each.concurrency_options.collision_strategy.value == "ENQUEUE"
    schedule = found["daily/portal"].schedules[0].schedule
    assert (schedule.cron, schedule.timezone) == ("30 4 * * *", "Europe/Berlin")
    assert {
        pool.name: (pool.type, pool.concurrency_limit) for pool in server.read_work_pools()
    } == {
        "cpu": ("process", 4),
        "gpu": ("process", 1),
    }


def test_a_dry_run_shows_the_same_difference_and_changes_nothing(server, deploy, config):
    _, dry, _ = deploy(config, "--dry-run")
    assert on_server(server) == {} and server.read_work_pools() == []
    _, wet, _ = deploy(config)
    assert dry.splitlines()[:-1] == wet.splitlines()[: len(dry.splitlines()) - 1]


def test_deploying_again_has_nothing_to_do_and_touches_nothing(server, deploy, config):
    deploy(config)
    before = on_server(server)
    code, out, _ = deploy(config)
    assert code == 0
    assert "Nothing to do" in out
    # `updated` is the server's own record of the last write.
    assert on_server(server) == before


def test_what_changed_in_the_file_is_shown_with_old_and_new_value_and_changed_alone(
    server, deploy, config
):
    deploy(config)
    before = on_server(server)
    rewrite(config, lambda pipelines: pipelines["portal"]["schedule"].update(cron="0 6 * * *"))
    _, out, _ = deploy(config, "--json")
    changes = {
        each["name"]: each["fields"]
        for each in json.loads(out)["changes"]
        if each["action"] != "keep"
    }
    assert changes == {
        "daily/portal": {
            "schedule": {"from": "30 4 * * * Europe/Berlin", "to": "0 6 * * * Europe/Berlin"}
        }
    }
    after = on_server(server)
    assert after["daily/portal"].id == before["daily/portal"].id
    assert after["daily/portal"].schedules[0].schedule.cron == "0 6 * * *"
    assert after["finetune/portal"] == before["finetune/portal"]


def test_a_schedule_that_a_person_paused_stays_paused_through_a_change(server, deploy, config):
    deploy(config)
    daily = on_server(server)["daily/portal"]
    server.update_deployment_schedule(daily.id, daily.schedules[0].id, active=False)
    rewrite(config, lambda pipelines: pipelines["portal"]["schedule"].update(cron="0 6 * * *"))
    deploy(config)
    schedule = on_server(server)["daily/portal"].schedules[0]
    assert (schedule.schedule.cron, schedule.active) == ("0 6 * * *", False)


def test_what_left_the_file_is_removed_and_another_files_deployments_stay(
    server, deploy, config, tmp_path
):
    (tmp_path / "other").mkdir()
    other = write_config(tmp_path / "other", tmp_path / "logs")
    rewrite(other, lambda pipelines: pipelines.update(blog=pipelines.pop("portal")))
    rewrite(config, lambda pipelines: pipelines.update(shop=pipelines["portal"]))
    deploy(config)
    deploy(other)
    assert {"daily/portal", "daily/shop", "daily/blog"} <= set(on_server(server))

    rewrite(config, lambda pipelines: pipelines.pop("shop"))
    _, out, _ = deploy(config, "portal")
    assert "shop" not in out  # one pipeline was named, the others are not looked at
    _, out, _ = deploy(config)
    assert "- daily/shop" in out and "- finetune/shop" in out and "blog" not in out
    left = {name.partition("/")[2] for name in on_server(server)}
    assert left == {"portal", "blog"}


def test_a_pipeline_that_fine_tunes_in_place_again_loses_its_finetune_deployment(
    server, deploy, config
):
    deploy(config)
    rewrite(config, lambda pipelines: pipelines["portal"]["compute"].update(pool=""))
    deploy(config, "portal")
    assert "finetune/portal" not in on_server(server)
    assert "daily/portal" in on_server(server)


def test_a_name_that_another_file_has_is_refused_before_anything_is_changed(
    server, deploy, config, tmp_path
):
    (tmp_path / "other").mkdir()
    other = write_config(tmp_path / "other", tmp_path / "logs")
    deploy(other)
    before = on_server(server)
    code, _, err = deploy(config)
    assert code == 2
    assert str(other) in err and "prefect deployment delete 'daily/portal'" in err
    assert on_server(server) == before


def test_without_a_server_the_error_says_how_to_name_one(deploy, config):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        code, _, err = deploy(config)
    assert code == 2
    assert "PREFECT_API_URL is not set" in err and "prefect server start" in err


def test_a_server_out_of_reach_is_named_and_ends_with_1(deploy, config):
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}):
            code, _, err = deploy(config)
    assert code == 1
    assert url in err and "out of reach" in err and "Traceback" not in err
