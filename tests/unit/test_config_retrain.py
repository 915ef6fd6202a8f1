"""The section `retrain`: ways to combine rules, and how each mistake is told."""

from pathlib import Path

import pytest
import yaml

from tasks.config import Pipeline
from tasks.config_file import load_config, with_overrides
from tasks.errors import ConfigError
from tasks.trigger.decide import Policy
from tasks.trigger.rules import Always, Amount, Drift, Performance, Probe

PIPELINE = {
    "source": {"format": "jsonl", "interactions": "logs/{date}.json", "items": "items.json"},
    "schedule": {"cron": "0 4 * * *"},
    "finetune": {"shots": 64},
    "promote": {"min_gain": 0.002},
}
ALWAYS = {"rule": "always"}
PROBE = {"rule": "probe", "shots": 128}


@pytest.fixture
def read(tmp_path: Path):
    def pipeline(retrain: object, **changes: object) -> Pipeline:
        path = tmp_path / "pipelines.yaml"
        document = {**PIPELINE, "retrain": retrain, **changes}
        path.write_text(yaml.safe_dump({"pipelines": {"news": document}}))
        return load_config(path).pipelines["news"]

    return pipeline


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ({"any": [ALWAYS, PROBE]}, Policy((Always(), Probe(shots=128)), 1)),
        ({"all": [ALWAYS, PROBE]}, Policy((Always(), Probe(shots=128)), 2)),
        (
            {"vote": 2, "of": [ALWAYS, PROBE, {"rule": "amount", "min_rows": 9}]},
            Policy((Always(), Probe(shots=128), Amount(min_rows=9)), 2),
        ),
        ({"any": [ALWAYS], "cool_down_days": 3}, Policy((Always(),), 1, 3)),
        (
            {"all": [{"rule": "drift", "days": 2, "window_days": 3}]},
            Policy((Drift(days=2, window_days=3),), 1),
        ),
        (
            {"any": [{"rule": "performance", "max_drop": 0.02, "confidence": 0.8}]},
            Policy((Performance(max_drop=0.02, confidence=0.8),), 1),
        ),
    ],
)
def test_rules_are_combined_as_they_are_written(read, written, policy):
    assert read(written).retrain.policy == policy


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({}, "retrain.any: is missing; name the rules under any, all, or vote with of"),
        ({"any": []}, "retrain.any: tuple should have at least 1 item"),
        ({"any": [ALWAYS], "all": [ALWAYS]}, "retrain.all: any and all exclude each other"),
        ({"vote": 2}, "retrain.of: is missing; vote: 2 needs the rules that vote"),
        ({"of": [ALWAYS]}, "retrain.vote: is missing; say how many of the rules"),
        ({"vote": 2, "of": [ALWAYS]}, "retrain.vote: 2 of 1 rules can never speak"),
        ({"vote": True, "of": [ALWAYS]}, "retrain.vote: true is no number"),
        ({"all": [{"rule": "prob"}]}, "retrain.all.0.rule: 'prob' is unknown; did you mean probe?"),
        ({"all": [{}]}, "retrain.all.0.rule: is missing; allowed: always, cadence, drift"),
        (
            {"any": [ALWAYS, {"rule": "drift", "min_colums": 1}]},
            "retrain.any.1.min_colums: unknown key; did you mean min_columns? allowed: rule, min_",
        ),
        ({"any": [{"rule": "probe", "shots": 0}]}, "retrain.any.0.shots: 0: input should be"),
        (
            {"any": [{"rule": "performance", "max_drop": 0.02, "confidence": 0.5}]},
            "retrain.any.0.confidence: 0.5: input should be greater than 0.5",
        ),
        (
            {"any": [{"rule": "drift", "days": 3, "window_days": 2}]},
            "retrain.any.0.days: 3 days of drift never fit into a window of 2; raise window_days",
        ),
        ({"any": [ALWAYS], "cool_down": 2}, "retrain.cool_down: unknown key; did you mean cool_d"),
    ],
)
def test_each_mistake_is_told_with_its_path(read, written, told):
    with pytest.raises(ConfigError) as caught:
        read(written)
    assert f"pipelines.news.{told}" in str(caught.value)
    assert "has 1 error" in str(caught.value)


def test_a_ranker_without_a_head_has_no_probe(read):
    texts = {"shots": 64, "ranker": {"kind": "cross_encoder"}}
    assert read({"any": [ALWAYS]}, finetune=texts)
    with pytest.raises(ConfigError, match=r"news: retrain: a probe trains the head of .* hybrid"):
        read({"any": [ALWAYS, PROBE]}, finetune=texts)


def test_a_replay_may_combine_the_rules_in_another_way(read):
    pipeline = read({"any": [ALWAYS, PROBE]})
    assert with_overrides(pipeline, ["retrain.cool_down_days=2"]).retrain.policy.cool_down_days == 2
    assert with_overrides(pipeline, ["retrain.any.1.shots=64"]).retrain.policy.rules[1] == Probe(
        shots=64
    )
    changed = with_overrides(pipeline, ["retrain={vote: 1, of: [{rule: probe}]}"])
    assert changed.retrain.policy == Policy((Probe(),), 1)
    with pytest.raises(ConfigError, match=r"retrain\.all: any and all exclude each other"):
        with_overrides(pipeline, ["retrain.all=[{rule: probe}]"])
