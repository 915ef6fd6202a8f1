"""pipelines.yaml: what is accepted, and how every error is told."""

from pathlib import Path

import pytest
import yaml

from tasks.config_file import load_config, load_pipeline
from tasks.errors import ConfigError

ROOT = Path(__file__).parents[2]

PIPELINE = {
    "source": {"format": "jsonl", "interactions": "logs/{date}.json", "items": "items.json"},
    "schedule": {"cron": "0 4 * * *"},
    "retrain": {"any": [{"rule": "always"}]},
    "finetune": {"shots": 64},
    "promote": {"min_gain": 0.002, "confidence": 0.9},
}


def write(folder: Path, **changes: object) -> Path:
    """A pipelines.yaml with one pipeline, `news`, whose sections are replaced by `changes`."""
    path = folder / "pipelines.yaml"
    path.write_text(yaml.safe_dump({"pipelines": {"news": {**PIPELINE, **changes}}}))
    return path


def test_the_shipped_file_is_valid_and_has_both_pipelines():
    config = load_config(ROOT / "pipelines.yaml", environ={})
    assert list(config.pipelines) == ["portal", "mind"]


def test_every_knob_of_the_shipped_portal_pipeline_has_a_comment():
    lines = (ROOT / "pipelines.yaml").read_text().split("  mind:")[0].splitlines()
    headings = {
        "pipelines:",
        "source:",
        "schedule:",
        "validate:",
        "drift:",
        "retrain:",
        "finetune:",
    }
    headings |= {"promote:", "compute:", "notify:"}
    knobs = [x.strip() for x in lines if ":" in x and not x.strip().startswith(("#", "-"))]
    told = [x for x in knobs if "#" in x]
    silent = {x for x in knobs if "#" not in x} - headings
    # The members of one list entry share the comment above or beside them.
    assert silent <= {"time_zone: UTC", "column: position", "min_value: 1", "max_value: 200",
                      "severity: warning", "window_days: 7", "seed: 17"}  # fmt: skip
    assert len(told) > 25


def test_all_errors_are_reported_at_once_each_with_its_path(tmp_path):
    path = write(
        tmp_path,
        source={"format": "json", "interactions": "x", "items": "y", "colums": {}},
        finetune={"shots": "many"},
        promote={"min_gain": 0.1},
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "has 4 errors" in message
    assert "pipelines.news.source.format: 'json': input should be 'jsonl', 'csv'" in message
    assert "pipelines.news.source.colums: unknown key; did you mean columns?" in message
    assert "pipelines.news.finetune.shots: 'many'" in message
    assert "pipelines.news.promote.confidence: is missing and has no default" in message


def test_a_variable_comes_from_the_environment_or_its_default(tmp_path):
    source = {**PIPELINE["source"], "interactions": "${LOGS}/a", "items": "${ITEMS:-/fallback}/b"}
    path = write(tmp_path, source=source, finetune={"shots": "${SHOTS:-32}"})
    pipeline = load_config(path, environ={"LOGS": "/logs", "ITEMS": ""}).pipelines["news"]
    assert pipeline.source.interactions == "/logs/a"
    assert pipeline.source.items == "/fallback/b"
    assert pipeline.finetune.shots == 32


def test_an_unset_variable_without_default_is_an_error_with_its_path(tmp_path):
    path = write(tmp_path, source={**PIPELINE["source"], "interactions": "${LOGS}/a"})
    with pytest.raises(ConfigError, match=r"source\.interactions: \$\{LOGS\} is not set"):
        load_config(path, environ={})


def test_a_variable_cannot_inject_yaml(tmp_path):
    path = write(tmp_path, source={**PIPELINE["source"], "items": "${ITEMS}"})
    hostile = "x\n    format: parquet"
    config = load_config(path, environ={"ITEMS": hostile})
    assert config.pipelines["news"].source.format == "jsonl"
    assert config.pipelines["news"].source.items.endswith(hostile)


def test_relative_locations_start_at_the_folder_of_the_file(tmp_path):
    config = load_config(write(tmp_path))
    assert config.home == str(tmp_path / ".dayspring")
    assert config.pipelines["news"].source.items == str(tmp_path / "items.json")


def test_a_key_written_twice_is_an_error(tmp_path):
    path = tmp_path / "pipelines.yaml"
    path.write_text("home: a\nhome: b\npipelines: {}\n")
    with pytest.raises(ConfigError, match="key 'home' appears twice"):
        load_config(path)


@pytest.mark.parametrize("name", ["../up", "Upper", "a/b", "", "1st", "a" * 64])
def test_a_pipeline_name_cannot_leave_the_home_folder(tmp_path, name):
    path = tmp_path / "pipelines.yaml"
    path.write_text(yaml.safe_dump({"pipelines": {name: PIPELINE}}))
    with pytest.raises(ConfigError, match="cannot name a pipeline"):
        load_config(path)


@pytest.mark.parametrize("text", ["- a list", "just text", "{unclosed", "\x00"])
def test_what_is_no_yaml_mapping_is_told_with_the_file(tmp_path, text):
    path = tmp_path / "pipelines.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"pipelines\.yaml"):
        load_config(path)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 4 * *", "must have five fields"),
        ("61 4 * * *", "has a bad minute"),
        ("0 24 * * *", "has a bad hour"),
        ("0 4 31 2 *", "has a bad day-of-month"),
        ("0 4 * * noday", "has a bad day-of-week"),
    ],
)
def test_a_schedule_that_never_comes_is_refused(tmp_path, cron, said):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, schedule={"cron": cron}))
    assert f"pipelines.news.schedule: cron '{cron}' {said}" in str(caught.value)


def test_a_day_that_leaves_no_shots_is_refused(tmp_path):
    path = write(
        tmp_path,
        finetune={"shots": 64, "validation_share": 0.4},
        promote={"min_gain": 0, "confidence": 0.9, "holdout_share": 0.6},
    )
    with pytest.raises(ConfigError, match="leaves no shots"):
        load_config(path)


def test_an_unknown_time_zone_names_the_closest(tmp_path):
    path = write(tmp_path, source={**PIPELINE["source"], "time_zone": "Europe/Berln"})
    with pytest.raises(ConfigError, match="did you mean Europe/Berlin"):
        load_config(path)


def test_an_unknown_pipeline_names_those_there_are(tmp_path):
    config = load_config(write(tmp_path))
    with pytest.raises(ConfigError, match=r"has: news\. Did you mean news"):
        load_pipeline(config, "new")
