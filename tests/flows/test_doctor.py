"""Each thing that doctor knows of is broken on purpose, seen with its command, repaired, and gone."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import rmtree

import pytest
from deltalake import DeltaTable
from homes import keep_copy, restore
from portal import DAYS, write_config

from flows import check_prefect
from flows.cli import main
from flows.doctor import MACHINE, diagnose
from tasks.check_pipeline import check_source, check_weights
from tasks.errors import PipelineError
from tasks.interactions.publish import Publication, publish_day
from tasks.interactions.stage import stage_day
from tasks.live import reconcile
from tasks.registry import lease as leases
from tasks.registry.journal import Outcome
from tasks.registry.lease import Holder
from tasks.registry.registration import quoted
from tasks.registry.store import open_client
from tasks.sources import source_of
from tasks.workspace import Workspace, open_workspace


def complete(workspace: Workspace, day: date, *, promote: bool = False) -> None:
    """What a day leaves in the lake, the registry and the journal, without the training."""
    made = publish(workspace, day)
    counts = {"revision": made.revision, "published": made.published}
    states = {"interactions": made.version, "items": 0, "item_hours": 0}
    record(workspace, day, "published", {**counts, **states})
    ranker = workspace.scratch / f"{day}-ranker"
    ranker.mkdir(parents=True)
    (ranker / "head.json").write_text(str(day))
    version = workspace.registry.register(
        ranker,
        fingerprint=f"portal/{day}",
        loader_module="tasks.recommender.pyfunc",
        tags={"data_versions": json.dumps(states)},
        params={},
        metrics={},
    )
    rmtree(ranker)
    learned = {"trained_from": f"{day}T01:00:00+00:00", "trained_through": f"{day}T20:00:00+00:00"}
    record(workspace, day, "trained", learned, version.version)
    if promote:
        workspace.registry.promote(version.version, compared_with=None, reason="r", evidence={})
        reconcile(workspace)
    record(workspace, day, "closed", {"record": {"day": str(day), "revision": 1}})


def publish(workspace: Workspace, day: date) -> Publication:
    source = source_of(workspace.config.source)
    staged = stage_day(source, day, staging=workspace.staging, lake=workspace.lake)
    made = publish_day(workspace.lake, staged)
    rmtree(workspace.staging)
    return made


def record(workspace: Workspace, day: date, event: str, evidence: dict, version=None) -> None:
    outcome = Outcome("r", day=day, model_version=version, evidence=evidence)
    workspace.journal.once(f"{day}/r1/a0/{event}", event, lambda: outcome)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory, portal_logs) -> Path:
    """The first and the third day, with a champion; the second is missing."""
    folder = tmp_path_factory.mktemp("doctor")
    config = write_config(folder, portal_logs)
    workspace = open_workspace(config, "portal")
    complete(workspace, DAYS[0], promote=True)
    complete(workspace, DAYS[2])
    keep_copy(folder / ".dayspring")
    return config


@pytest.fixture
def config(adapted: Path) -> Path:
    restore(adapted.parent / ".dayspring", adapted.parent / ".dayspring-copy")
    return adapted


@pytest.fixture
def workspace(config: Path) -> Workspace:
    return open_workspace(config, "portal")


def found(config: Path, check: str, *, fix: bool = False) -> list:
    """What is wrong with the pipeline by one check; notes, and the missing day, are left out."""
    diagnosis = diagnose(config, "portal", fix=fix, timeout_seconds=60)
    return [
        one
        for one in diagnosis.findings["portal"]
        if one.check == check and one.severity != "note" and "between complete" not in one.words
    ]


def seen_then_fixed(config: Path, check: str) -> str:
    """The only finding of the check; afterwards `--fix` has made it go."""
    [finding] = found(config, check)
    assert finding.command == "dayspring doctor portal --fix"
    assert found(config, check, fix=True) == []
    assert found(config, check) == []
    return finding.words


def dayspring(monkeypatch, capsys, *arguments: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["dayspring", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, capsys.readouterr().out


def test_a_gap_is_told_with_its_backfill_and_gone_after_it(config, monkeypatch, capsys):
    code, out = dayspring(monkeypatch, capsys, "doctor", "--config", config)
    assert code == 1
    assert "warning days: 1 days between complete ones are missing: 2026-03-03" in out
    [command] = [line.split("→ ")[1] for line in out.splitlines() if "→ dayspring backfill" in line]
    assert command == "dayspring backfill portal --from 2026-03-03 --to 2026-03-03"
    complete(open_workspace(config, "portal"), DAYS[1])
    code, out = dayspring(monkeypatch, capsys, "doctor", "--json", "--config", config)
    told = json.loads(out)
    assert code == 0, out
    assert told["healthy"]
    assert {one["check"] for one in told["findings"]["portal"]} == {"lake", "registry", "source"}
    assert {one["severity"] for one in told["findings"]["portal"]} == {"note"}
    assert "disk" in {one["check"] for one in told["findings"][MACHINE]}


def test_the_lease_of_a_killed_process_is_given_back(config, workspace):
    code = "import sys, time; from tasks.registry.lease import Leases\n"
    code += "with Leases(sys.argv[1]).held('run'): print('held', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", code, workspace.lake.root]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert found(config, "leases") == []
        process.send_signal(signal.SIGKILL)
    assert "no sign of life" in seen_then_fixed(config, "leases")


def take(workspace: Workspace, **changes: object) -> None:
    """Leave a row of the lease `training` as this process would, but for `changes`."""
    ours = Holder(
        name="training",
        term=1,
        beat=1,
        released=False,
        machine=leases._machine(),
        pid=os.getpid(),
        started=leases._started(os.getpid()),
        ttl_seconds=1.0,
        renewed_at=datetime.now(UTC),
    )
    assert leases._Table(workspace.leases.uri).swap(None, replace(ours, **changes))


def test_the_lease_of_a_silent_machine_is_taken_over_after_its_time_to_live(config, workspace):
    take(workspace, machine="elsewhere", renewed_at=datetime.now(UTC) - timedelta(hours=3))
    assert "process" in seen_then_fixed(config, "leases")


def test_a_run_that_lasts_for_days_is_told_and_left_alone(config, workspace):
    take(workspace, beat=4 * 3600 * 50)
    [finding] = found(config, "leases", fix=True)
    assert "is held for 2 days, 2:00:00" in finding.words
    assert finding.command == f"look at process {os.getpid()} there"


def test_a_run_that_never_became_a_version_is_deleted(config, workspace):
    client = open_client(workspace.tracking_uri)
    experiment = client.get_experiment_by_name(workspace.registry.name).experiment_id
    client.create_run(experiment, tags={"fingerprint": quoted("portal/half")})
    assert "(portal/half)" in seen_then_fixed(config, "half-made versions")


def test_leftovers_of_complete_days_are_removed_and_others_stay(config, workspace):
    stale, coming = workspace.staging / str(DAYS[0]), workspace.staging / "2026-03-09"
    scratch = workspace.scratch / f"{DAYS[0]}-r1-a0-challenger"
    for folder in (stale, coming, scratch):
        (folder / "x").mkdir(parents=True, exist_ok=True)
    assert {one.command for one in found(config, "leftovers")} == {"dayspring doctor portal --fix"}
    assert found(config, "leftovers", fix=True) == []
    assert (stale.exists(), coming.exists(), scratch.exists()) == (False, True, False)


def test_an_alias_that_was_moved_outside_is_recorded(config, workspace):
    client = open_client(workspace.tracking_uri)
    live = workspace.registry.champion().version
    other = next(v.version for v in workspace.registry.versions() if v.version != live)
    client.set_registered_model_alias(workspace.registry.name, "champion", other)
    words = seen_then_fixed(config, "journal and registry")
    assert f"v{other} is live in the registry" in words
    assert open_workspace(config, "portal").journal.moves()[-1].model_version == other


def test_a_version_that_was_deleted_by_hand_is_missed_until_the_backup_is_back(config, workspace):
    client = open_client(workspace.tracking_uri)
    live = workspace.registry.champion().version
    client.delete_model_version(workspace.registry.name, live)
    told = found(config, "journal and registry", fix=True)
    [missing] = [one for one in told if "does not have" in one.words]
    assert f"v{live}" in missing.words
    assert missing.command == "restore mlflow.db and mlartifacts from their backup"
    restore(workspace.home, workspace.home.with_name(".dayspring-copy"))
    assert found(config, "journal and registry") == []


def test_a_champion_whose_files_were_altered_is_an_error(config, workspace):
    folder = workspace.registry.download(workspace.registry.champion().version)
    (folder / "extra.json").write_text("{}")
    [finding] = found(config, "registry")
    assert finding.severity == "error"
    assert "were altered" in finding.words
    assert "dayspring rollback portal" in finding.command
    (folder / "extra.json").unlink()
    assert found(config, "registry") == []


def test_rows_that_left_the_table_break_the_accounting(config, workspace):
    table = DeltaTable(workspace.lake.uri("interactions"))
    before = table.version()
    table.delete("position = 1")
    words = [one.words for one in found(config, "lake and journal")]
    assert len(words) == 2
    assert all("were published, and the table holds" in each for each in words)
    table.restore(before)
    assert found(config, "lake and journal") == []


def test_a_table_that_was_restored_too_far_back_is_an_error(config, workspace):
    table = workspace.lake.uri("interactions")
    logs = sorted(Path(table, "_delta_log").glob("*.json"))
    kept = logs[-1].read_text()
    logs[-1].unlink()
    [finding] = found(config, "lake and journal")
    assert finding.severity == "error"
    assert f"published revision 1 of {DAYS[2]}, and the lake has no revision" in finding.words
    logs[-1].write_text(kept)
    assert found(config, "lake and journal") == []


def test_a_day_that_was_published_but_not_recorded_is_run_again(config, workspace):
    publish(workspace, DAYS[1])
    [finding] = found(config, "lake and journal")
    assert f"holds rows of {DAYS[1]}, and the journal never published" in finding.words
    assert finding.command == f"dayspring run portal --day {DAYS[1]}"
    complete(workspace, DAYS[1])
    assert found(config, "lake and journal") == []


def test_a_day_that_stopped_half_way_is_told_with_the_command_that_continues_it(config, workspace):
    day = DAYS[2] + timedelta(days=1)
    for event in ("published", "scored"):
        record(workspace, day, event, {"revision": 1, "interactions": 9, "published": 0})
    [finding] = found(config, "days")
    assert f"{day} stopped after scored and has no verdict" in finding.words
    assert finding.command == f"dayspring run portal --day {day}"


def test_a_champion_that_learned_from_a_day_before_its_correction_is_told(config, workspace):
    states = {"revision": 2, "interactions": 99}
    outcome = Outcome("r", day=DAYS[0], evidence=states)
    workspace.journal.once("corrected", "published", lambda: outcome)
    [finding] = found(config, "corrections")
    assert f"v1 is live and learned from {DAYS[0]} before its correction" in finding.words
    back = f'dayspring rollback portal --to zero-shot --reason "{DAYS[0]} was corrected"'
    again = f"dayspring backfill portal --from {DAYS[0]} --to {DAYS[2]} --force"
    assert finding.command == f"{back} && {again}"


def test_runs_that_prefect_believes_in_and_late_ones_are_told(
    config, workspace, prefect_server, monkeypatch
):
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL
    from prefect.states import Running, Scheduled

    from flows.daily import daily

    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    monkeypatch.setattr(check_prefect, "GRACE", timedelta(0))
    parameters = {"pipeline": "portal", "day": str(DAYS[0]), "config_file": str(config)}
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with get_client(sync_client=True) as client:
        dead = client.create_flow_run(daily, parameters=parameters, state=Running())
        late = Scheduled(name="Late", scheduled_time=long_ago)
        waiting = client.create_flow_run(daily, parameters=parameters, state=late)
        other = client.create_flow_run(
            daily, parameters={**parameters, "pipeline": "x"}, state=Running()
        )
        told = {one.severity: one for one in found(config, "prefect")}
        assert "1 runs of portal are late" in told["error"].words
        assert told["error"].command.startswith("prefect worker start --pool")
        assert "no process holds its lease" in told["warning"].words
        assert told["warning"].command == "dayspring doctor portal --fix"
        with workspace.alone():
            assert {one.severity for one in found(config, "prefect")} == {"error"}
        assert [one.severity for one in found(config, "prefect", fix=True)] == ["error"]
        assert client.read_flow_run(dead.id).state.is_crashed()
        assert client.read_flow_run(other.id).state.is_running()
        client.delete_flow_run(waiting.id)
        assert found(config, "prefect") == []


def test_services_that_are_down_are_findings_and_not_a_wait(tmp_path, portal_logs):
    config = write_config(tmp_path, portal_logs)
    config.write_text(config.read_text() + "services: {registry: 'http://127.0.0.1:9'}\n")
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    environment["PREFECT_API_KEY"] = "pnu_secret"
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "doctor", "--timeout", "30", "--config", config],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "http://127.0.0.1:9" in done.stdout
    assert "error   registry: The check could not be made" in done.stdout
    assert "error   prefect: The check could not be made" in done.stdout
    assert "pnu_secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_source_is_asked_for_the_days_that_are_due(tmp_path, portal_logs):
    workspace = open_workspace(write_config(tmp_path, tmp_path / "logs"), "portal")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    [finding] = check_source(workspace)
    assert f"No file for {yesterday}" in finding.words
    hour = tmp_path / "logs" / "interactions" / str(yesterday) / "00.json.gz"
    items = tmp_path / "logs" / "items" / f"{yesterday}.json.gz"
    for path in (hour, items):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    assert check_source(workspace) == []


def test_weights_that_are_not_there_are_an_error(tmp_path):
    config = write_config(tmp_path, tmp_path, finetune={"base": str(tmp_path)})
    [finding] = check_weights(open_workspace(config, "portal"))
    assert finding.severity == "error"
    assert "no .safetensors weights" in finding.words
    hub = write_config(tmp_path, tmp_path, finetune={"base": "someone/encoder"})
    assert check_weights(open_workspace(hub, "portal"))[0].severity == "note"
    packaged = open_workspace(write_config(tmp_path, tmp_path), "portal")
    assert check_weights(packaged) == []


def test_a_repair_that_fails_is_told_and_the_finding_stays(config, workspace, monkeypatch):
    scratch = workspace.scratch / f"{DAYS[0]}-r1-a0-challenger"
    scratch.mkdir(parents=True)

    def refuse(self: Workspace) -> None:
        raise PipelineError("held by another")

    monkeypatch.setattr(Workspace, "alone", refuse)
    diagnosis = diagnose(config, "portal", fix=True, timeout_seconds=60)
    assert "could not be repaired (leftovers): held by another" in diagnosis.repaired
    assert not diagnosis.healthy
