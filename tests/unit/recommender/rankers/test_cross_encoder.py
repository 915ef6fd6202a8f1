from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.recommender.rankers.choose import finetune_ranker, zero_shot_ranker
from tasks.recommender.rankers.questions import tell
from tasks.recommender.rankers.readout import Classifier, new_classifier
from tasks.recommender.recipe import CrossEncoder, Hybrid, Recipe
from tasks.recommender.score import score
from tests.unit.recommender.rankers.test_questions import HISTORY_SHOWN, one_user


@pytest.fixture
def cross_encoder(base_folder):
    def make(**settings):
        kind = CrossEncoder(**{"max_tokens": 48, **settings})
        return zero_shot_ranker(kind, str(base_folder), device="cpu", precision="fp32")

    return make


def test_without_shots_it_scores_as_the_hybrid_does(cross_encoder, ranker, rows, context):
    for output in ("sigmoid", "softmax"):
        found = score(cross_encoder(output=output), rows, context)
        np.testing.assert_array_equal(found, score(ranker, rows, context))


def test_a_learned_logit_is_added_to_the_match(cross_encoder, tmp_path):
    ranker = cross_encoder()
    torch.nn.init.normal_(ranker.readout.out.weight)
    rows, context = one_user(HISTORY_SHOWN, ["oven", "rate fund bank stock market rate fund"])
    reading = ranker.read(rows, replace(context, embeddings_folder=tmp_path))
    network = ranker.base.load_network()
    assert reading.match.all()
    for row in (0, 1):
        ids = torch.tensor([reading.sequences[reading.text[row]]])
        with torch.no_grad():
            hidden = network(input_ids=ids).last_hidden_state.mean(1)
            logit = ranker.readout.out(torch.tanh(ranker.readout.dense(hidden)))
        expected = float(logit) + reading.match[row]
        assert ranker.rank(reading)[row] == pytest.approx(expected, abs=1e-4)


def test_the_user_is_left_out_without_history(cross_encoder):
    rows, context = one_user(HISTORY_SHOWN, ["oven", "rate"])
    spoken = cross_encoder(history=2).task._composer
    ranker = cross_encoder(history=0)
    found = ranker.task._composer.compose(_told(ranker, rows, context, 0))[0]
    assert found == ["Next: oven", "Next: rate"]
    found = spoken.compose(_told(ranker, rows, context, 2))[0]
    assert found[0] == "Liked: bank; team.\nDisliked: soup; salt.\nNext: oven"


def _told(ranker, rows, context, history):
    return tell(rows, context, ranker.task.tokens, history=history)


def test_the_candidate_is_never_cut_by_history(cross_encoder, tmp_path):
    ranker = cross_encoder(max_tokens=24)
    rows, context = one_user([(w, 1) for w in ("goal", "bank", "soup", "salt")], ["oven rate fund"])
    reading = ranker.read(rows, replace(context, embeddings_folder=tmp_path))
    ids = reading.sequences[0]
    assert len(ids) <= 24
    text = ranker.base.tokenizer.decode(ids)
    assert "oven rate fund" in text
    assert "salt" in text


def test_a_very_long_item_text_is_cut_as_the_hybrid_cuts_it(cross_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.recommender.rankers.questions.TITLE_TOKENS", 20)
    rows, context = one_user([], ["goal " * 100])
    reading = cross_encoder().read(rows, replace(context, embeddings_folder=tmp_path))
    assert cross_encoder().base.tokenizer.decode(reading.sequences[0]).count("goal") == 20


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 6))
def test_two_way_softmax_is_a_sigmoid_of_the_difference(seed, texts):
    head = new_classifier(8, "softmax", seed=seed)
    torch.nn.init.normal_(head.out.weight, generator=torch.Generator().manual_seed(seed))
    pooled = torch.randn(texts, 8, generator=torch.Generator().manual_seed(seed))
    one = Classifier(8, "sigmoid")
    one.load_state_dict(
        {
            **head.state_dict(),
            "out.weight": head.out.weight[1:] - head.out.weight[:1],
            "out.bias": head.out.bias[1:] - head.out.bias[:1],
        }
    )
    with torch.no_grad():
        softmax = head.outputs(pooled).softmax(1)[:, 1]
        torch.testing.assert_close(one(pooled).sigmoid(), softmax)
        torch.testing.assert_close(head(pooled).sigmoid(), softmax)


def test_a_fresh_head_is_exactly_zero_and_its_seed_draws_the_dense_layer():
    head, same, other = (new_classifier(8, "sigmoid", seed=seed) for seed in (1, 1, 2))
    assert head.untrained
    assert not head(torch.randn(5, 8)).any()
    assert torch.equal(head.dense.weight, same.dense.weight)
    assert not torch.equal(head.dense.weight, other.dense.weight)


def test_another_kinds_recipe_is_refused(cross_encoder, ranker, rows, context):
    recipe = Recipe(ranker=CrossEncoder(max_tokens=48))
    with pytest.raises(ModelError, match="start is a HybridRanker"):
        finetune_ranker(ranker, rows, rows, context, recipe)
    with pytest.raises(ModelError, match="the start is CrossEncoder"):
        finetune_ranker(cross_encoder(), rows, rows, context, Recipe(ranker=Hybrid()))
