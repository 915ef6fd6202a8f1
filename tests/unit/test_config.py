"""pipelines.yaml: what is accepted, and how every error is told."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tasks.config_file import load_config, load_pipeline, with_overrides
from tasks.config_finetune import Finetune, Start
from tasks.errors import ConfigError
from tasks.recommender.recipe import IA3, Lora, Optimization, Recipe, Regularize

ROOT = Path(__file__).parents[2]

PIPELINE = {
    "source": {"format": "jsonl", "interactions": "logs/{date}.json", "items": "items.json"},
    "schedule": {"cron": "0 4 * * *"},
    "retrain": {"any": [{"rule": "always"}]},
    "finetune": {"shots": 64},
    "promote": {"min_gain": 0.002},
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
        promote={"false_promotions_a_year": 2},
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "has 4 errors" in message
    assert "pipelines.news.source.format: 'json': input should be 'jsonl', 'csv'" in message
    assert "pipelines.news.source.colums: unknown key; did you mean columns?" in message
    assert "pipelines.news.finetune.shots: 'many'" in message
    assert "pipelines.news.promote.min_gain: is missing and has no default" in message


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
        promote={"min_gain": 0, "holdout_share": 0.6},
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


def errors_of(tmp_path: Path, **finetune: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, finetune={"shots": 64, **finetune}))
    return str(caught.value)


def test_every_knob_of_the_recipe_is_a_key_of_finetune():
    knobs = {field.name for field in fields(Recipe)}
    own = {"base", "warm_start", "shots", "window_days", "replay_share", "validation_share"}
    assert {field.name for field in fields(Finetune)} == knobs | own
    assert Finetune(shots=64).recipe == Recipe()


def test_blocks_of_the_recipe_are_read_as_they_are_written(tmp_path):
    written = {
        "shots": 64,
        "tuning": {"method": "ia3", "layers": 3},
        "optimization": {"learning_rate": "5e-4"},  # what YAML makes of 5e-4
        "regularize": {"r_drop": 1},
        "seed": 3,
    }
    settings = load_config(write(tmp_path, finetune=written)).pipelines["news"].finetune
    assert settings.recipe == Recipe(
        tuning=IA3(layers=3),
        optimization=Optimization(learning_rate=5e-4),
        regularize=Regularize(r_drop=1.0),
        seed=3,
    )


def test_errors_of_nested_blocks_are_told_at_once_by_their_path_in_the_file(tmp_path):
    said = errors_of(
        tmp_path,
        tunning={},
        tuning={"method": "lora", "rnk": 8, "alpha": True},
        ranker={"kind": "hybird"},
        adversarial={"method": "fmg"},
        regularize={"l2_sp": float("inf")},
        optimization=7,
    )
    assert "has 7 errors" in said
    above = "  pipelines.news.finetune."
    assert f"{above}tunning: unknown key; did you mean tuning? allowed: ranker, tuning" in said
    assert f"{above}tuning.rnk: unknown key; did you mean rank? allowed: method, rank" in said
    assert f"{above}tuning.alpha: true is no number: write digits" in said
    assert f"{above}ranker.kind: 'hybird' is unknown; did you mean hybrid? allowed: hy" in said
    assert f"{above}adversarial.method: 'fmg': input should be 'none', 'fgm'" in said
    assert f"{above}regularize.l2_sp: inf: input should be a finite number" in said
    assert f"{above}optimization: 7: input should be a valid dictionary" in said


def test_a_block_of_many_kinds_that_names_none_is_told_which_there_are(tmp_path):
    said = errors_of(tmp_path, tuning={"rank": 8})
    assert "finetune.tuning.method: is missing; allowed: head, full, top_layers, lora" in said


def test_a_knob_by_its_dotted_path_stands_beside_those_of_the_section():
    flat = Finetune(shots=64, tuning=Lora()).flat()
    assert flat["tuning.method"] == "lora" and flat["tuning.rank"] == 16 and flat["shots"] == 64
    assert len(flat) > 60
    assert not any(isinstance(value, dict) for value in flat.values())


@pytest.mark.parametrize(
    ("settings", "tuning"),
    [
        (["finetune.tuning.rank=4"], Lora(rank=4)),
        (["finetune.tuning.method=ia3"], IA3()),
        (["finetune.tuning.layers=1", "finetune.tuning.method=ia3"], IA3(layers=1)),
        (["finetune.tuning.method=lora"], Lora(rank=8)),
        (["finetune.tuning={method: ia3, layers: 5}"], IA3(layers=5)),
    ],
)
def test_a_knob_deep_in_the_recipe_can_be_overridden(tmp_path, settings, tuning):
    tuned = {"shots": 64, "tuning": {"method": "lora", "rank": 8}}
    pipeline = load_config(write(tmp_path, finetune=tuned)).pipelines["news"]
    assert with_overrides(pipeline, settings).finetune.tuning == tuning


def test_an_override_of_a_knob_that_the_chosen_method_has_not_is_an_error(tmp_path):
    pipeline = load_config(write(tmp_path)).pipelines["news"]
    with pytest.raises(ConfigError, match=r"tuning\.rank: unknown key; allowed: method, tokens"):
        with_overrides(pipeline, ["finetune.tuning.rank=4", "finetune.tuning.method=prefix"])


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("", None),
        ("champion", Start(None, None)),
        ("news@champion", Start("news", None)),
        ("news@v12", Start("news", "12")),
    ],
)
def test_a_warm_start_names_a_champion_or_a_version(tmp_path, written, start):
    path = write(tmp_path, finetune={"shots": 64, "warm_start": written})
    assert load_config(path).pipelines["news"].finetune.start == start


@pytest.mark.parametrize("written", ["latest", "news@7", "news@v0", "@champion", "news@"])
def test_what_names_no_model_is_told_how_to_write_one(tmp_path, written):
    said = errors_of(tmp_path, warm_start=written)
    assert f"warm_start: '{written}' names no model: write champion" in said


def write_two(folder: Path, warm_start: str, **other: object) -> Path:
    """`news`, which starts from what `warm_start` says, and `shop` with `other` in its finetune."""
    finetune = {"shots": 64, "warm_start": warm_start}
    pipelines = {
        "news": {**PIPELINE, "finetune": finetune},
        "shop": {**PIPELINE, "finetune": {"shots": 64, **other}},
    }
    path = folder / "pipelines.yaml"
    path.write_text(yaml.safe_dump({"pipelines": pipelines}))
    return path


def test_a_start_from_a_pipeline_that_there_is_not_names_the_closest(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(write_two(tmp_path, "shpo@champion"))
    assert (
        "pipelines.news.finetune.warm_start: there is no pipeline 'shpo'; did you mean shop? "
        "allowed: news, shop" in str(caught.value)
    )


def test_a_start_from_another_base_names_both(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(write_two(tmp_path, "shop@champion", base="bert"))
    assert "shop trains hybrid on bert and news hybrid on all-MiniLM-L6-v2" in str(caught.value)
    # A version may be older than what its pipeline trains today.
    assert load_config(write_two(tmp_path, "shop@v1", base="bert"))


def test_reading_the_config_does_not_import_what_trains():
    code = (
        "import sys; from pathlib import Path; from tasks.config_file import load_config; "
        "load_config(Path('pipelines.yaml'), environ={}); "
        "assert not {'torch', 'transformers', 'prefect', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_knobs_that_contradict_each_other_are_all_told_by_their_paths(tmp_path):
    said = errors_of(
        tmp_path,
        adapter_epochs=0,
        contrast={"simcse": 0.1},
        augment={"copies": 1},
        selection={"hardness": 0.5},
    )
    assert "has 3 errors" in said
    above = "  pipelines.news.finetune."
    assert f"{above}contrast.simcse: 0.1 needs a network that is trained" in said
    assert f"{above}augment.copies: 1 would repeat the shots unaltered" in said
    assert f"{above}selection.hardness: 0.5 chooses among skips" in said


def test_confidence_is_told_what_replaced_it(tmp_path):
    path = write(tmp_path, promote={"min_gain": 0.002, "confidence": 0.9})
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    said = "pipelines.news.promote.confidence: is replaced by false_promotions_a_year"
    assert said in str(caught.value)
    assert "has 1 error" in str(caught.value)


@pytest.mark.parametrize(
    ("knob", "value"),
    [("false_promotions_a_year", 0), ("shadow_days", -1), ("shadows", 0), ("shadow_days", True)],
)
def test_a_bar_that_makes_no_sense_is_refused(tmp_path, knob, value):
    with pytest.raises(ConfigError, match=rf"pipelines\.news\.promote\.{knob}: "):
        load_config(write(tmp_path, promote={"min_gain": 0.0, knob: value}))


def test_the_challengers_of_shadow_are_judged_on_their_own_day_too(tmp_path):
    pipeline = load_config(write(tmp_path)).pipelines["news"]
    assert pipeline.promote.looks == 1 + pipeline.promote.shadow_days
    changed = with_overrides(pipeline, ["promote.shadow_days=0"])
    assert changed.promote.looks == 1
