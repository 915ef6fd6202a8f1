"""`infra/local/up` and `down`: what runs is kept, what died comes back, nothing is left, no secret shows."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest

from infra.local.errors import StackError
from infra.local.processes import MARK
from infra.local.stack import Stack

ROOT = Path(__file__).parents[2]
SERVICES = ["postgres", "s3", "prefect", "mlflow", "worker-cpu", "worker-gpu"]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stack]:
    """A second stack beside `grown`, of the two services that start in seconds."""
    stack = Stack(tmp_path / "stores")
    try:
        yield stack.up(["postgres", "s3"])
    finally:
        stack.erase()


def _object_store(stack: Stack, secret: str | None = None):
    env = stack.env()
    return boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_REGION"],
    )


def _secrets(stack: Stack) -> list[str]:
    return [stack.state.database_password, stack.state.secret_key]


def test_every_service_runs_and_a_second_up_keeps_them(grown: Stack) -> None:
    before = grown.running()
    assert list(before) == SERVICES
    assert grown.up().running() == before


def test_a_killed_service_comes_back_and_the_others_are_kept(grown: Stack) -> None:
    before = grown.running()
    grown.kill("worker-cpu")
    assert "worker-cpu" not in grown.running()
    after = grown.up().running()
    assert after.pop("worker-cpu") != before.pop("worker-cpu")
    assert after == before


def test_an_artifact_goes_through_the_mlflow_server_into_the_bucket(grown: Stack) -> None:
    """The client has no S3 credentials: only the server needs them."""
    log = (
        "import mlflow; mlflow.set_experiment('stack'); mlflow.start_run(); "
        "mlflow.log_text('kept', 'a.txt')"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env["MLFLOW_TRACKING_URI"] = grown.env()["MLFLOW_TRACKING_URI"]
    subprocess.run([sys.executable, "-c", log], env=env, check=True, capture_output=True)
    listed = _object_store(grown).list_objects_v2(Bucket="dayspring", Prefix="artifacts/")
    assert [entry["Key"].rsplit("/", 1)[1] for entry in listed["Contents"]] == ["a.txt"]


def test_no_secret_is_on_a_command_line_or_in_a_log(grown: Stack) -> None:
    processes = psutil.process_iter(["cmdline"])
    lines = [" ".join(process.info["cmdline"] or []) for process in processes]
    assert any("postgres" in line for line in lines)
    logs = [grown.log(name) for name in SERVICES]
    assert all(log.stat().st_size for log in logs)
    shown = "\n".join([*lines, *(log.read_text() for log in logs)])
    assert not [secret for secret in _secrets(grown) if secret in shown]


def test_only_the_owner_reads_the_credentials(grown: Stack) -> None:
    for path in (grown.environment_file, grown.folder / "stack.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sourced = subprocess.run(
        ["sh", "-c", f". {grown.environment_file}; printenv AWS_SECRET_ACCESS_KEY"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sourced.stdout.strip() == grown.env()["AWS_SECRET_ACCESS_KEY"]


def test_objects_survive_a_kill_and_wrong_credentials_are_refused(stores: Stack) -> None:
    _object_store(stores).put_object(Bucket="dayspring", Key="lake/a", Body=b"kept")
    stores.kill("s3")
    stores.up(["s3"])
    kept = _object_store(stores).get_object(Bucket="dayspring", Key="lake/a")
    assert kept["Body"].read() == b"kept"
    wrong = _object_store(stores, secret="wrong")
    with pytest.raises(wrong.exceptions.ClientError, match="SignatureDoesNotMatch"):
        wrong.get_object(Bucket="dayspring", Key="lake/a")


def test_down_leaves_no_process_even_after_a_crash(stores: Stack) -> None:
    """The first process of each service is killed alone, as a crash or the system would."""
    pids = stores.running()
    assert sorted(pids) == ["postgres", "s3"]
    children = psutil.Process(pids["postgres"]).children()
    assert children
    for pid in pids.values():
        psutil.Process(pid).kill()
    stores.down()
    assert stores.running() == {}
    assert not [process for process in children if _runs(process)]
    assert not [process for process in psutil.process_iter() if _is_of(stores, process)]


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _is_of(stack: Stack, process: psutil.Process) -> bool:
    try:
        return process.environ().get(MARK, "").startswith(stack.state.name)
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return False


def test_the_commands_print_addresses_but_no_secret(stores: Stack) -> None:
    folder = ["--folder", str(stores.folder)]
    up = [str(ROOT / "infra/local/up"), *folder, "--only", "s3"]
    shown = subprocess.run(up, capture_output=True, text=True, check=True).stdout
    assert f"export AWS_ENDPOINT_URL={stores.env()['AWS_ENDPOINT_URL']}" in shown
    assert not [secret for secret in _secrets(stores) if secret in shown]
    down = [str(ROOT / "infra/local/down"), *folder]
    assert "Stopped" in subprocess.run(down, capture_output=True, text=True, check=True).stdout
    assert stores.running() == {}


def test_an_unknown_service_is_named_with_those_there_are(grown: Stack) -> None:
    with pytest.raises(StackError, match="redis is no service; there are postgres, s3, prefect"):
        grown.up(["redis"])
