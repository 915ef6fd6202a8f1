"""Replays: another policy over stored days, which touches nothing of the real history."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from portal import DAYS, write_config

from flows.cli import main
from flows.runs import replay_range, run_range
from tasks.errors import ConfigError
from tasks.workspace import Workspace, open_workspace

TABLES = ("interactions", "items", "item_hours", "quarantine", "profiles", "journal", "leases")
SPAN = (DAYS[0], DAYS[-1])


def state(workspace: Workspace) -> dict[str, Any]:
    """All of the real history that a replay could touch."""
    # Every hold of the pipeline renews its lease; a replay must not even hold it.
    tables = {name: workspace.lake.version(name) for name in TABLES}
    pages = {path.name: path.read_bytes() for path in workspace.reports.iterdir() if path.is_file()}
    return {**tables, "aliases": workspace.registry.aliases(), "pages": pages}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("replayed")


@pytest.fixture(scope="module")
def config(home, portal_logs, warm_home) -> Path:
    """The logs are a copy: they go when the days are stored."""
    shutil.copytree(portal_logs, home / "logs")
    return write_config(home, home / "logs", home=warm_home)


@pytest.fixture(scope="module")
def records(config, home, prefect_server) -> list[dict[str, Any]]:
    found = run_range(config, "portal", *SPAN, force=False)
    shutil.rmtree(home / "logs")
    return found


@pytest.fixture(scope="module")
def real(config, records) -> Workspace:
    return open_workspace(config, "portal")


@pytest.fixture(scope="module")
def as_it_was(config, real) -> dict[str, Any]:
    """A replay without overrides, with the real history's state before and after it."""
    before = state(real)
    document = replay_range(config, "portal", *SPAN, overrides=[], name=None)
    assert state(real) == before
    return document


def test_a_replay_of_the_same_policy_reads_no_log_and_gives_the_same_history(as_it_was, records):
    assert [day["replay_auc"] for day in as_it_was["days"]] == [r["champion_auc"] for r in records]
    assert [day["real_auc"] for day in as_it_was["days"]] == [r["champion_auc"] for r in records]
    assert [day["replay_verdict"] for day in as_it_was["days"]] == [r["verdict"] for r in records]
    assert as_it_was["difference"]["mean"] == 0
    assert "rank alike" in as_it_was["verdict"]
    for cost in ("retrainings", "promotions", "mean_auc"):
        assert as_it_was["replayed"][cost] == as_it_was["real"][cost]
    assert as_it_was["real"]["retrainings"] == 3
    assert as_it_was["real"]["promotions"] >= 1


def test_another_policy_is_another_history_and_the_real_one_stays(config, real, as_it_was, records):
    before = state(real)
    overrides = ["retrain.any=[{rule: cadence, every_days: 9}]", "finetune.shots=500"]
    document = replay_range(config, "portal", *SPAN, overrides=overrides, name=None)
    assert state(real) == before
    assert document["replay"] != as_it_was["replay"]
    assert document["replayed"]["retrainings"] < document["real"]["retrainings"]
    assert document["days"][0]["replay_auc"] == records[0]["champion_auc"]
    assert real.registry.aliases()
    page = Path(document["page"]).read_text()
    assert "rule: cadence" in page and "<script" not in page and "<svg" in page
    assert 'src="' not in page and "http://" not in page.replace("http://www.w3.org", "")


def test_the_same_replay_again_does_nothing_again(config, as_it_was):
    assert replay_range(config, "portal", *SPAN, overrides=[], name=None) == as_it_was


def test_a_replay_from_the_middle_begins_with_the_champion_of_that_day(config, real, records):
    document = replay_range(config, "portal", DAYS[2], DAYS[2], overrides=[], name="middle")
    assert records[2]["champion"] != "zero-shot", "a learnable portal has a champion by then"
    assert document["days"][0]["replay_auc"] == records[2]["champion_auc"]
    assert document["days"][0]["replay_verdict"] == records[2]["verdict"]


def test_a_name_is_one_history(config, real, as_it_was):
    with pytest.raises(ConfigError, match="has another policy"):
        replay_range(
            config, "portal", *SPAN, overrides=["finetune.shots=65"], name=as_it_was["replay"]
        )
    with pytest.raises(ConfigError, match="begins on 2026-03-02"):
        replay_range(config, "portal", DAYS[1], DAYS[2], overrides=[], name=as_it_was["replay"])


def test_days_that_are_not_stored_cannot_be_replayed(config, real):
    with pytest.raises(ConfigError, match="dayspring backfill portal --from 2027-01-01"):
        day = DAYS[0].replace(year=2027, month=1, day=1)
        replay_range(config, "portal", day, day, overrides=[], name=None)


def test_wrong_overrides_are_all_told_at_once(config, real, capsys):
    code, out, err = command(
        capsys, config, "--replay", "--set", "finetune.shot=1", "--set", "promote.min_gain=9"
    )
    assert (code, out) == (2, "")
    assert "--set has 2 errors; nothing was started" in err
    assert "finetune.shot: unknown key; did you mean shots?" in err
    assert "promote.min_gain: 9: input should be less than 0.5" in err


def test_a_policy_without_a_replay_is_refused(config, real, capsys):
    code, _, err = command(capsys, config, "--set", "finetune.shots=64")
    assert code == 2
    assert "Add --replay" in err


def test_a_dry_run_says_what_a_replay_would_do(config, real, as_it_was, capsys):
    code, out, _ = command(capsys, config, "--replay", "--dry-run", "--json")
    assert code == 0
    assert [day["action"] for day in json.loads(out)["days"]] == ["skip"] * 3
    code, out, _ = command(capsys, config, "--replay", "--set", "finetune.shots=99", "--dry-run")
    assert [line.split()[1] for line in out.splitlines()] == ["run"] * 3


def test_the_comparison_is_printed_as_a_table_and_as_json(config, real, as_it_was, capsys):
    code, out, _ = command(capsys, config, "--replay", "--json")
    assert code == 0
    assert json.loads(out) == as_it_was
    _, out, _ = command(capsys, config, "--replay")
    assert "rank alike" in out
    assert all(str(day) in out for day in DAYS)


def command(capsys, config: Path, *options: str) -> tuple[int, str, str]:
    span = ["--from", str(DAYS[0]), "--to", str(DAYS[-1])]
    sys.argv = ["dayspring", "backfill", "portal", *span, *options, "--config", str(config)]
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err
