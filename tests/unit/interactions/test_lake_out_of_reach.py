"""A lake whose store does not answer, or whose folder cannot be used: what is told."""

from pathlib import Path

import pyarrow as pa
import pytest

from tasks.errors import LakeError, LakeUnavailable
from tasks.interactions.lake import Lake, reaching

ROWS = pa.table({"day": pa.array([0], pa.date32()), "n": [1]})


@pytest.fixture
def silent_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 at an address where nothing listens."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unspoken")


def test_a_store_that_does_not_answer_is_told_with_the_next_step(silent_store: None) -> None:
    with pytest.raises(
        LakeUnavailable, match=r"s3://lake/portal/items cannot be opened: .*AWS_ENDPOINT_URL"
    ) as told:
        Lake("s3://lake/portal").read("items")
    assert "unspoken" not in str(told.value)
    assert "\x1b" not in str(told.value) and "\n" not in str(told.value)


def test_a_table_that_is_no_table_is_not_worth_repeating(tmp_path: Path) -> None:
    log = tmp_path / "items" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("not a commit")
    with pytest.raises(LakeError, match=r"items cannot be opened: .*run it again") as told:
        Lake(str(tmp_path)).read("items")
    assert not isinstance(told.value, LakeUnavailable)


def test_a_full_disk_names_the_disk() -> None:
    with (
        pytest.raises(LakeError, match=r"No space left on device.*free disk space"),
        reaching("/lake/items", "written"),
    ):
        raise OSError(28, "No space left on device")


def test_a_missing_file_of_a_table_is_told(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.append_once("counts", ROWS, app_id="once")
    for file in (tmp_path / "counts").glob("*.parquet"):
        file.unlink()
    with pytest.raises(LakeError, match="counts cannot be read"):
        lake.read("counts")
