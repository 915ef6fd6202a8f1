from datetime import date
from pathlib import Path

import pytest

from tasks.errors import SourceError
from tasks.interactions.source import Source, fill_date, find_files, fingerprint

DAY = date(2026, 11, 2)


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_date_takes_the_form_that_the_location_gives_it() -> None:
    assert fill_date("/logs/{date}.gz", DAY) == "/logs/2026-11-02.gz"
    assert fill_date("/logs/{date:%Y/%m}/{date:%d}", DAY) == "/logs/2026/11/02"


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    touch(tmp_path / "logs" / "a.jsonl")
    assert [file.name for file in find_files("~/logs/*.jsonl", DAY)] == ["a.jsonl"]


def test_a_glob_finds_the_days_files_by_name_and_calls_them_alike_on_every_machine(
    tmp_path: Path,
) -> None:
    for hour in ("01", "00"):
        touch(tmp_path / "2026-11-02" / f"{hour}.jsonl", hour.encode())
    touch(tmp_path / "2026-11-03" / "00.jsonl")
    files = find_files(f"{tmp_path}/{{date}}/*.jsonl", DAY)
    assert [file.name for file in files] == ["2026-11-02/00.jsonl", "2026-11-02/01.jsonl"]
    assert [file.bytes for file in files] == [2, 2]


def test_a_day_without_a_file_names_the_location_and_the_nearest_days(tmp_path: Path) -> None:
    for day in ("20261031", "20261105", "20261106", "20250101", "notaday"):
        touch(tmp_path / f"{day}.jsonl")
    with pytest.raises(SourceError) as error:
        find_files(f"{tmp_path}/{{date:%Y%m%d}}.jsonl", DAY)
    assert f"{tmp_path}/20261102.jsonl" in str(error.value)
    assert "2026-10-31, 2026-11-05, 2026-11-06" in str(error.value)


def test_an_empty_folder_says_that_no_day_has_a_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No other day has one either"):
        find_files(f"{tmp_path}/{{date}}/*.gz", DAY)
    with pytest.raises(SourceError, match="Check the location"):
        find_files(f"{tmp_path}/behaviors.tsv", DAY)


def test_a_name_that_would_match_other_files_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a[1].jsonl")
    with pytest.raises(SourceError, match="glob character"):
        find_files(f"{tmp_path}/*.jsonl", DAY)


def test_a_fingerprint_follows_content_and_reading_but_not_the_name(tmp_path: Path) -> None:
    location = f"{tmp_path}/*.jsonl"
    source = Source("jsonl", location)
    path = touch(tmp_path / "a.jsonl", b"one")
    first = fingerprint(source, find_files(location, DAY))
    path.rename(tmp_path / "b.jsonl")
    assert fingerprint(source, find_files(location, DAY)) == first
    other = Source("jsonl", location, columns={"item_id": "news"})
    assert fingerprint(other, find_files(location, DAY)) != first
    touch(tmp_path / "b.jsonl", b"two")
    assert fingerprint(source, find_files(location, DAY)) != first
