from pathlib import Path

import pytest

from tasks.health.machine import (
    check_disk,
    check_home,
    check_lock,
    check_packages,
    check_python,
    check_variables,
    size_of,
)

EMBEDDED = {"lake": "", "registry": "", "pools": False}
S3 = {**EMBEDDED, "lake": "s3://bucket/lake"}
SERVER = {**EMBEDDED, "registry": "http://mlflow:5000"}
POOL = {**EMBEDDED, "pools": True}
URL = "http://prefect:4200/api"


@pytest.mark.parametrize(
    ("environ", "config", "said"),
    [
        ({"PREFECT_API_URL": "http://prefect:4200"}, EMBEDDED, "does not end in /api"),
        ({"PREFECT_API_KEY": "hush"}, EMBEDDED, "PREFECT_API_KEY is set, but no PREFECT_API_URL"),
        ({}, POOL, "compute.pool names a work pool"),
        ({"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}, EMBEDDED, "forbids the temporary"),
        ({"MLFLOW_TRACKING_URI": "http://x:hush@a"}, EMBEDDED, "MLFLOW_TRACKING_URI names one"),
        ({"MLFLOW_TRACKING_URI": "http://other"}, SERVER, "another server"),
        ({"MLFLOW_TRACKING_PASSWORD": "hush"}, EMBEDDED, "without its partner"),
        ({"AWS_SECRET_ACCESS_KEY": "hush"}, S3, "without its partner"),
        ({"AWS_ENDPOINT_URL": "http://s3"}, S3, "AWS_ALLOW_HTTP=true"),
        ({"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}, S3, "AWS_REGION and AWS_DEFAULT_REGION"),
    ],
)
def test_variables_that_contradict_each_other_are_told_without_their_values(environ, config, said):
    [finding] = check_variables(environ, **config)
    assert said in finding.words
    assert finding.command
    assert "hush" not in finding.words + finding.command


@pytest.mark.parametrize(
    ("environ", "config"),
    [
        ({}, EMBEDDED),
        ({"PREFECT_API_URL": URL, "PREFECT_API_KEY": "x"}, POOL),
        ({"MLFLOW_TRACKING_URI": "http://mlflow:5000/"}, SERVER),
        ({"AWS_ENDPOINT_URL": "http://s3", "AWS_ALLOW_HTTP": "true"}, S3),
        ({"AWS_SECRET_ACCESS_KEY": "x"}, EMBEDDED),
    ],
)
def test_variables_that_agree_are_no_finding(environ, config):
    assert check_variables(environ, **config) == []


def test_this_installation_is_within_its_ranges():
    assert check_python() == []
    assert check_packages() == []


def test_a_package_out_of_its_range_and_a_known_bad_pair_are_told():
    told = [one.words for one in check_packages(installed={"fastapi": "0.151.0"})]
    assert any("fastapi 0.151.0 is installed, and dayspring needs <0.151" in each for each in told)
    assert any("with fastapi 0.151.0 is installed: prefect's server" in each for each in told)
    [other] = check_packages(installed={"pandas": "2.2.0"})
    assert "pandas 2.2.0" in other.words
    assert other.command.startswith("pip install 'pandas")


def test_what_differs_from_the_lock_is_a_note(tmp_path: Path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("# comment\npandas==0.1\nnot-installed-here==1.0\n")
    [finding] = check_lock(lock)
    assert finding.severity == "note"
    assert "1 packages differ from the lock: pandas" in finding.words
    assert "(locked: 0.1)" in finding.words
    assert check_lock(tmp_path / "none") == []


def test_a_disk_that_lasts_for_days_only_is_a_warning(tmp_path: Path):
    [plenty] = check_disk(tmp_path, bytes_per_day=1.0)
    [little] = check_disk(tmp_path, bytes_per_day=1e15)
    [unknown] = check_disk(tmp_path, bytes_per_day=None)
    assert (plenty.severity, little.severity, unknown.severity) == ("note", "warning", "note")
    assert "enough for 0 days at 1,000,000,000.0 MB a day" in little.words
    assert little.command.startswith("dayspring prune")


def test_a_home_that_cannot_be_written_is_an_error(tmp_path: Path):
    assert check_home(tmp_path) == []
    [finding] = check_home(tmp_path / "gone")
    assert finding.severity == "error"
    assert "cannot be written" in finding.words


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"678")
    assert size_of(tmp_path) == 8
