"""A sweep on a published day of the portal: what it learns from, what it writes, and that it goes on."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pytest
import yaml
from portal import DAYS, write_config
from published import publish_days

from flows.cli import main
from tasks.config_block import finetune_yaml
from tasks.config_file import load_config
from tasks.config_finetune import Finetune
from tasks.context import day_rows
from tasks.errors import ConfigError, EvaluationError
from tasks.models import load
from tasks.recommender.recipe import IA3, Adversarial, Augment, Lora, Optimization, Prompt
from tasks.recommender.sweep_trial import Bench
from tasks.references import Published
from tasks.sweep import sweep, with_recipe
from tasks.training_rows import training_rows
from tasks.workspace import Workspace, open_workspace

FEW = {"shots": 64, "window_days": 2, "head_epochs": 2, "adapter_epochs": 0}


@pytest.fixture(scope="module")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, portal_logs: Path, warm_home: Path
) -> Workspace:
    folder = tmp_path_factory.mktemp("swept")
    config = write_config(folder, portal_logs, home=warm_home, finetune=FEW)
    return open_workspace(config, "portal")


@pytest.fixture(scope="module")
def published(workspace: Workspace) -> Published:
    return publish_days(workspace, DAYS[:2])[-1]


@pytest.fixture(scope="module")
def document(workspace: Workspace, published: Published) -> dict:
    return sweep(workspace, None, trials=2, seconds=None)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Bench]]:
    """Every trial that is run."""
    found: list[Bench] = []
    run = Bench.run

    def counted(bench, recipe, **how):
        found.append(bench)
        return run(bench, recipe, **how)

    monkeypatch.setattr(Bench, "run", counted)
    return found


def test_the_newest_published_day_is_swept_and_the_configured_recipe_first(document):
    assert document["day"] == str(DAYS[1])
    assert [each["configured"] for each in document["trials"]] == [True, False]
    assert document["configured_auc"] == document["trials"][0]["auc"]
    assert document["best"]["auc"] >= document["configured_auc"]
    json.dumps(document, allow_nan=False)


def test_the_winners_block_is_read_again_as_what_was_tried(workspace, document, tmp_path):
    path = write_config(tmp_path, Path("logs"))
    text = yaml.safe_load(path.read_text())
    pasted = yaml.safe_load(Path(document["block"]).read_text())
    text["pipelines"]["portal"] |= pasted
    path.write_text(yaml.safe_dump(text))
    read = load_config(path).pipelines["portal"].finetune
    expected = workspace.config.finetune.flat() | document["changed"]
    assert read.flat() == expected
    assert document["yaml"] in Path(document["block"]).read_text()


def test_page_and_block_say_that_the_validation_chose(document):
    page = Path(document["page"]).read_text()
    assert "<svg" in page and "http" not in page.replace("http-equiv", "")
    for text in (page, Path(document["block"]).read_text()):
        assert "holdout was not read" in text or "None of 2 trials" in text


def test_the_same_command_begins_no_trial_that_is_done(workspace, document, runs):
    again = sweep(workspace, DAYS[1], trials=2, seconds=None)
    assert not runs
    assert again["trials"] == document["trials"]


def test_another_configured_recipe_is_another_study(workspace, document, runs):
    settings = replace(workspace.config.finetune, shots=48)
    config = workspace.config.model_copy(update={"finetune": settings})
    found = sweep(replace(workspace, config=config), DAYS[1], trials=1, seconds=None)
    assert found["study"] != document["study"]
    assert len(runs) == 1


def test_no_trial_sees_the_impressions_that_judge(workspace, published, runs):
    sweep(workspace, DAYS[0], trials=1, seconds=None)
    first = publish_days(workspace, DAYS[:1])[0]
    rows = day_rows(workspace, first)
    holdout_from = training_rows(workspace, first, load(workspace, None)).holdout_from
    holdout = rows.filter(pc.greater_equal(rows["event_time"], holdout_from))
    judged = pc.count_distinct(holdout["impression_id"]).as_py()
    assert judged == round(0.3 * pc.count_distinct(rows["impression_id"]).as_py())
    for seen in (runs[0].shots, runs[0].validation):
        assert len(seen) and pc.max(seen["event_time"]).as_py() < holdout_from
    newest_shot = pc.max(runs[0].shots["event_time"]).as_py()
    assert newest_shot < pc.min(runs[0].validation["event_time"]).as_py()


def test_a_day_that_is_not_published_is_told_with_those_that_are(workspace, published):
    with pytest.raises(ConfigError, match=r"has not published 2026-03-04; there are 2026-03-02 to"):
        sweep(workspace, DAYS[2], trials=1, seconds=None)


def test_a_pipeline_without_a_day_is_told_to_run_one(tmp_path):
    empty = open_workspace(write_config(tmp_path, Path("logs")), "portal")
    with pytest.raises(ConfigError, match="dayspring run portal"):
        sweep(empty, None, trials=1, seconds=None)


def test_a_validation_that_ranks_nothing_is_an_error(workspace, published):
    settings = replace(workspace.config.finetune, validation_share=0.0)
    config = workspace.config.model_copy(update={"finetune": settings})
    with pytest.raises(EvaluationError, match=r"raise finetune\.validation_share"):
        sweep(replace(workspace, config=config), DAYS[1], trials=1, seconds=None)


def command(capsys: pytest.CaptureFixture, config: Path, *words: str) -> tuple[int, str, str]:
    sys.argv = ["dayspring", "sweep", "portal", *words, "--config", str(config)]
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out, said.err


def test_the_command_prints_the_verdict_and_the_block(workspace, document, capsys):
    config = workspace.home.parent / "pipelines.yaml"
    code, out, _ = command(capsys, config, "--day", str(DAYS[1]), "--trials", "2")
    assert code == 0
    assert document["yaml"] in out and document["block"] in out
    code, out, _ = command(capsys, config, "--day", str(DAYS[1]), "--trials", "2", "--json")
    assert code == 0 and json.loads(out)["study"] == document["study"]
    code, _, err = command(capsys, config, "--day", str(DAYS[2]))
    assert code == 2 and "has not published" in err
    code, _, err = command(capsys, config, "--trials", "0")
    assert code == 2 and "Invalid value for '--trials'" in err


@pytest.mark.parametrize(
    "settings",
    [
        Finetune(shots=16),
        Finetune(shots=16, base="bert", warm_start="champion", seed=3, replay_share=0.5),
        Finetune(shots=16, tuning=IA3()),
        Finetune(shots=16, tuning=Lora(rank=4), optimization=Optimization(learning_rate=1e-5)),
        Finetune(
            shots=16,
            tuning=Lora(),
            ranker=Prompt(template="news"),
            adversarial=Adversarial("pgd", steps=2),
        ),
        Finetune(shots=16, augment=Augment(copies=1, back_translation=("there", "back"))),
    ],
)
def test_a_block_says_what_differs_from_the_defaults_and_is_read_again(tmp_path, settings):
    written = yaml.safe_load(finetune_yaml(settings))["finetune"]
    path = write_config(tmp_path, Path("logs"))
    text = yaml.safe_load(path.read_text())
    text["pipelines"]["portal"]["finetune"] = written
    path.write_text(yaml.safe_dump(text))
    assert load_config(path).pipelines["portal"].finetune == settings
    assert with_recipe(Finetune(shots=1), settings.recipe).recipe == settings.recipe
    assert len(written) <= 5
