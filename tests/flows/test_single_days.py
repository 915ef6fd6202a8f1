"""One day at a time through the command line: what stops it, what it says, what it leaves."""

import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from portal import FIRST_DAY, write_config

from flows.cli import main
from tasks.workspace import open_workspace

DAY = str(FIRST_DAY)


@pytest.fixture
def logs(tmp_path, portal_logs) -> Path:
    """The first day's logs, to be damaged."""
    folder = tmp_path / "logs"
    shutil.copytree(portal_logs / "interactions" / DAY, folder / "interactions" / DAY)
    (folder / "items").mkdir()
    shutil.copy(portal_logs / "items" / f"{DAY}.json.gz", folder / "items")
    return folder


@pytest.fixture
def config(tmp_path, logs, warm_home) -> Path:
    return write_config(tmp_path, logs, home=warm_home)


@pytest.fixture
def dayspring(config, prefect_server, capsys, monkeypatch):
    """Run a command in this process; returns exit code, stdout and stderr."""

    def run(*arguments: str, path: Path = config) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dayspring", *arguments, "--config", str(path)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return left.value.code, printed.out, printed.err

    return run


def hours(logs: Path) -> list[Path]:
    return sorted((logs / "interactions" / DAY).glob("*.json.gz"))


def rewrite(path: Path, change) -> None:
    """Replace a gzip file's text by what `change` makes of it."""
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(change(text).encode()))


def nothing_is_public(config: Path) -> bool:
    return open_workspace(config, "portal").lake.version("interactions") is None


def test_json_is_one_document_on_stdout_and_nothing_else(dayspring):
    code, out, _ = dayspring("run", "portal", "--day", DAY, "--json")
    assert code == 0
    record = json.loads(out)
    assert record["day"] == DAY
    assert record["seconds"]["finetune"] > 0


def test_without_json_the_run_ends_with_a_line_for_the_day_and_where_the_report_is(dayspring):
    code, out, err = dayspring("run", "portal", "--day", DAY)
    assert code == 0
    assert any(line.startswith(DAY) for line in out.splitlines())
    assert "report: " in out and "dayspring ui" in out
    assert f"{DAY}  ingest" in err


def test_a_day_without_files_names_the_nearest_day(dayspring, config):
    code, out, err = dayspring("run", "portal", "--day", "2026-03-09")
    assert (code, out) == (1, "")
    assert "No file for 2026-03-09" in err and DAY in err
    assert nothing_is_public(config)


def test_a_truncated_gzip_stops_the_day(dayspring, config, logs):
    path = hours(logs)[3]
    path.write_bytes(path.read_bytes()[:-40])
    code, _, err = dayspring("run", "portal", "--day", DAY)
    assert code == 1
    assert path.name in err
    assert "Traceback" not in err
    assert nothing_is_public(config)


def test_a_renamed_column_stops_the_day_and_names_the_mapping(dayspring, config, logs):
    for path in hours(logs):
        rewrite(path, lambda text: text.replace('"label"', '"clicked"'))
    code, _, err = dayspring("run", "portal", "--day", DAY)
    assert code == 1
    assert "label" in err and "source.columns" in err
    assert nothing_is_public(config)


def test_a_column_mapping_repairs_a_renamed_column(tmp_path, logs, dayspring):
    for path in hours(logs):
        rewrite(path, lambda text: text.replace('"user_id"', '"reader"'))
    mapped = write_config(tmp_path, logs, source={"columns": {"user_id": "reader"}})
    code, out, _ = dayspring("run", "portal", "--day", DAY, "--json", path=mapped)
    assert code == 0
    assert json.loads(out)["published"] > 3000


def test_a_critical_expectation_stops_the_day_before_anything_is_public(tmp_path, logs, dayspring):
    rule = {"type": "ExpectColumnMaxToBeBetween", "column": "position", "max_value": 2}
    strict = write_config(
        tmp_path, logs, validate={"expectations": [{**rule, "severity": "critical"}]}
    )
    code, _, err = dayspring("run", "portal", "--day", DAY, path=strict)
    assert code == 1
    assert "ExpectColumnMaxToBeBetween" in err
    assert "champion stays in service" in err
    assert nothing_is_public(strict)


def test_a_warning_is_reported_and_the_day_goes_on(tmp_path, logs, dayspring):
    rule = {"type": "ExpectColumnMaxToBeBetween", "column": "position", "max_value": 2}
    lenient = write_config(tmp_path, logs, validate={"expectations": [rule]})
    code, out, err = dayspring("run", "portal", "--day", DAY, "--json", path=lenient)
    assert code == 0
    assert "warning: ExpectColumnMaxToBeBetween" in err
    failed = [r for r in json.loads(out)["validation"]["results"] if not r["success"]]
    assert [r["expectation"] for r in failed] == ["ExpectColumnMaxToBeBetween"]


def test_a_day_of_mostly_refused_rows_is_suspect(dayspring, config, logs):
    for path in hours(logs)[::2]:
        rewrite(path, lambda text: text.replace('"label":0', '"label":7'))
    code, _, err = dayspring("run", "portal", "--day", DAY)
    assert code == 1
    assert "max_quarantined is 20%" in err and "label is not 0 or 1" in err
    assert nothing_is_public(config)


def test_a_corrected_file_is_a_new_revision_that_replaces_the_rows(dayspring, config, logs):
    code, out, _ = dayspring("run", "portal", "--day", DAY, "--json")
    assert code == 0
    first = json.loads(out)
    hours(logs)[-1].unlink()
    code, out, _ = dayspring("backfill", "portal", "--from", DAY, "--to", DAY, "--dry-run")
    assert "source changed since revision 1" in out
    code, out, _ = dayspring("run", "portal", "--day", DAY, "--json")
    assert code == 0
    second = json.loads(out)
    assert (first["revision"], second["revision"]) == (1, 2)
    lake = open_workspace(config, "portal").lake
    assert lake.read("interactions").num_rows == second["published"] < first["published"]
    counted = sum(lake.read("item_hours")["impressions"].to_pylist())
    assert counted == second["published"]


def test_a_source_that_comes_back_to_what_it_was_is_its_third_revision(dayspring, config, logs):
    last = hours(logs)[-1]
    kept = last.read_bytes()
    first = json.loads(dayspring("run", "portal", "--day", DAY, "--json")[1])
    last.unlink()
    dayspring("run", "portal", "--day", DAY, "--json")
    last.write_bytes(kept)
    third = json.loads(dayspring("run", "portal", "--day", DAY, "--json")[1])
    assert (third["revision"], third["published"]) == (3, first["published"])
    lake = open_workspace(config, "portal").lake
    assert lake.read("interactions").num_rows == first["published"]
    _, out, _ = dayspring("backfill", "portal", "--from", DAY, "--to", DAY, "--dry-run")
    assert "complete, revision 3" in out


def test_a_corrected_catalogue_is_merged_and_the_day_stays_as_it_was(dayspring, config, logs):
    first = json.loads(dayspring("run", "portal", "--day", DAY, "--json")[1])
    rewrite(
        logs / "items" / f"{DAY}.json.gz", lambda text: text.replace('"title": "', '"title": "New ')
    )
    _, out, _ = dayspring("backfill", "portal", "--from", DAY, "--to", DAY, "--dry-run")
    assert "source changed" in out
    again = json.loads(dayspring("run", "portal", "--day", DAY, "--json")[1])
    assert again["revision"] == first["revision"]
    titles = open_workspace(config, "portal").lake.read("items")["title"].to_pylist()
    assert all(title.startswith("New ") for title in titles)
    _, out, _ = dayspring("backfill", "portal", "--from", DAY, "--to", DAY, "--dry-run")
    assert "skip" in out


def test_a_day_without_a_click_is_recorded_and_teaches_nothing(tmp_path, logs, dayspring):
    for path in hours(logs):
        rewrite(path, lambda text: text.replace('"label":1', '"label":0'))
    code, out, _ = dayspring("run", "portal", "--day", DAY, "--json")
    assert code == 0
    record = json.loads(out)
    assert record["verdict"] == "no retrain"
    assert record["champion_auc"] is None
    assert "no ranking" in record["reason"]


def test_a_day_too_small_to_judge_a_challenger_trains_none(config, dayspring, logs):
    for path in hours(logs)[2:]:
        path.unlink()
    said = config.read_text().replace("min_impressions: 30", "min_impressions: 3000")
    config.write_text(said)
    code, out, _ = dayspring("run", "portal", "--day", DAY, "--json")
    assert code == 0
    record = json.loads(out)
    assert record["verdict"] == "no retrain"
    assert "and 7 such days in shadow are" in record["reason"]
    assert "promote.min_impressions of 3,000" in record["reason"]


def test_a_forced_day_is_trained_and_judged_again(dayspring):
    dayspring("run", "portal", "--day", DAY, "--json")
    code, out, _ = dayspring("run", "portal", "--day", DAY, "--force", "--json")
    assert code == 0
    record = json.loads(out)
    assert record["revision"] == 1
    assert record["model_version"] == "2"
    assert record["champion"] == "zero-shot", "v1 has learned from this very day"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nope", "--day", DAY], "There is no pipeline 'nope'"),
        (["run", "portal", "--day", "yesterday"], "formats '%Y-%m-%d'"),
        (["backfill", "portal", "--from", "2026-03-03", "--to", DAY], "swap them"),
        (["report", "portal", DAY], "no complete day yet"),
        (["simulate", "--from", DAY, "--shift", "earthquake:2"], "earthquake"),
        (["frobnicate"], "No such command"),
    ],
)
def test_a_wrong_command_exits_with_2_and_says_why(dayspring, arguments, said):
    code, out, err = dayspring(*arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def test_a_wrong_config_exits_with_2_and_starts_nothing(tmp_path, dayspring):
    path = tmp_path / "elsewhere" / "broken.yaml"
    path.parent.mkdir()
    path.write_text("pipelines: {portal: {source: {format: word}}}\n")
    code, _, err = dayspring("run", "portal", "--day", DAY, path=path)
    assert code == 2
    assert "nothing was started" in err
    assert not (path.parent / ".dayspring").exists()


def test_config_check_finds_an_unknown_expectation(tmp_path, logs, dayspring):
    path = write_config(
        tmp_path, logs, validate={"expectations": [{"type": "ExpectColumnToBeNice", "column": "x"}]}
    )
    code, _, err = dayspring("config", "check", path=path)
    assert code == 2
    assert "pipelines.portal.validate.expectations[0]" in err and "ExpectColumnToBeNice" in err
    assert dayspring("run", "portal", "--day", DAY, path=path)[0] == 2
    assert nothing_is_public(path)


def test_an_interrupted_run_says_so_and_the_next_one_continues(config, dayspring):
    command = [sys.executable, "-m", "flows.cli", "run", "portal", "--day", DAY]
    running = subprocess.Popen(
        [*command, "--config", str(config)], stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert running.stderr is not None
    for line in running.stderr:
        if " publish " in line:
            time.sleep(0.2)
            running.send_signal(signal.SIGINT)
            break
    rest = running.stderr.read()
    # Where the interrupt passed through an exec of text, as dataclasses are made on import, Python
    # ends itself by the signal afterwards; a shell calls both 130.
    assert running.wait() in (130, -signal.SIGINT), rest
    assert "continues where this one stopped" in rest
    code, out, _ = dayspring("run", "portal", "--day", DAY, "--json")
    assert code == 0
    assert json.loads(out)["revision"] == 1
