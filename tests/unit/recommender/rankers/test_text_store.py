import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender.pyfunc import SlateScorer
from tasks.recommender.rankers.choose import zero_shot_ranker
from tasks.recommender.rankers.cross_encoder import Classification
from tasks.recommender.rankers.prompt import Example, Questioning
from tasks.recommender.rankers.ranker import TextRanker, Weights
from tasks.recommender.recipe import Bottleneck, CrossEncoder, Lora, Prompt, PTuning
from tasks.recommender.score import score
from tasks.recommender.store import load_ranker, save_ranker
from tests.unit.recommender.rankers.conftest import TEMPLATE

EXAMPLES = (Example("next: bank\ngood?\nanswer: No.", clicked=False),)


def trained(task, tuning) -> TextRanker:
    """As if training had moved every number."""
    torch.manual_seed(3)
    readout = task.new_readout(seed=3)
    readout.load_state_dict({n: torch.rand_like(v) for n, v in readout.state_dict().items()})
    state = TextRanker(task, readout).train_network(tuning, 0, ()).state()
    moved = {name: value + 0.3 * torch.randn_like(value) for name, value in state.items()}
    return TextRanker(task, readout, Weights(tuning, moved))


@pytest.fixture(params=["cross_encoder", "masked", "llama", "plain"])
def ranker(request, base_of):
    if request.param == "cross_encoder":
        settings = CrossEncoder(max_tokens=40, output="softmax")
        return trained(Classification(base_of("masked"), settings), Bottleneck(width=4))
    if request.param == "plain":
        return trained(
            Questioning(base_of("gpt"), Prompt(max_tokens=90), TEMPLATE),
            PTuning(tokens=2, hidden=4),
        )
    settings = Prompt(max_tokens=90, mode="in_context", history=3)
    task = Questioning(base_of(request.param), settings, TEMPLATE, EXAMPLES)
    return trained(task, Lora(rank=2, alpha=4))


def test_a_loaded_ranker_of_texts_scores_as_the_saved_one(ranker, rows, context, tmp_path):
    some = rows.slice(0, 24)
    digest = save_ranker(ranker, tmp_path / "saved")
    loaded = load_ranker(tmp_path / "saved", device="cpu", precision="fp32")
    assert loaded.digest == digest == ranker.digest
    found = score(loaded, some, context)
    np.testing.assert_array_equal(found, score(ranker, some, context))
    plain = TextRanker(ranker.task, ranker.readout)
    assert not np.allclose(found, score(plain, some, context))
    names = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert names == ["adapter.safetensors", "head.safetensors", "ranker.json"]


def test_words_and_examples_are_stored_for_people(base_of, tmp_path):
    task = Questioning(base_of("gpt"), Prompt(max_tokens=90), TEMPLATE, EXAMPLES)
    save_ranker(TextRanker(task, task.new_readout(seed=0)), tmp_path)
    stored = json.loads((tmp_path / "ranker.json").read_text())
    assert stored["ranker"] == "prompt"
    assert stored["template"]["positive"] == ["Yes"]
    assert stored["examples"] == [{"text": EXAMPLES[0].text, "clicked": False}]
    assert stored["base"]["sha256"] == base_of("gpt").sha256
    assert not (tmp_path / "adapter.safetensors").exists()


def test_a_digest_changes_with_a_weight_and_with_a_word(ranker):
    weights = ranker.weights
    name = next(iter(weights.state))
    state = {**weights.state, name: weights.state[name] + 1e-3}
    others = [TextRanker(ranker.task, ranker.readout, Weights(weights.tuning, state))]
    others.append(TextRanker(ranker.task, ranker.readout))
    if isinstance(ranker.task, Questioning):
        template = replace(ranker.task.template, separator=", ")
        task = Questioning(ranker.base, ranker.task.settings, template, ranker.task.examples)
        others.append(TextRanker(task, ranker.readout, weights))
    assert len({ranker.digest, *(other.digest for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("settings", {"max_tokens": 90, "unheard": 1}),
        ("template", {"item": "{title}"}),
        ("tuning", {"method": "lora", "rank": 3}),
        ("examples", [{"words": "?"}]),
    ],
)
def test_a_description_that_does_not_fit_is_refused(base_of, tmp_path, key, value):
    task = Questioning(base_of("llama"), Prompt(max_tokens=90), TEMPLATE, EXAMPLES)
    save_ranker(trained(task, Lora(rank=2, alpha=4)), tmp_path)
    config = json.loads((tmp_path / "ranker.json").read_text())
    (tmp_path / "ranker.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ModelError, match="fit"):
        load_ranker(tmp_path, device="cpu").place()


def test_it_is_served_as_any_other(ranker, tmp_path):
    save_ranker(ranker, tmp_path)
    scorer = SlateScorer(load_ranker(tmp_path, device="cpu", precision="fp32"), tmp_path)
    frame = pd.DataFrame(
        {
            "history": [["goal match", "team coach"], []],
            "candidates": [["goal league", "bank stock"], ["soup bread"]],
        }
    )
    found = scorer.predict(frame)
    assert [len(part) for part in found] == [2, 1]
    assert all(0 < p < 1 for part in found for p in part)
    other = frame.assign(history=[["bank rate"], []])
    assert scorer.predict(other)[0] != pytest.approx(found[0], rel=1e-6)
    assert scorer.predict(other)[1] == pytest.approx(found[1])


def test_the_zero_shot_ranker_is_stored_by_its_base_alone(masked_folder, rows, context, tmp_path):
    ranker = zero_shot_ranker(
        Prompt(max_tokens=100, history=0), str(masked_folder), device="cpu", precision="fp32"
    )
    save_ranker(ranker, tmp_path)
    loaded = load_ranker(tmp_path, device="cpu", precision="fp32")
    assert loaded.task.template == ranker.task.template
    assert loaded.digest == ranker.digest
