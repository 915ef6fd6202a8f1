from dataclasses import replace

import pyarrow as pa
import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender import pretrained as pretrained_module
from tasks.recommender.finetune import finetune
from tasks.recommender.pretrained import pretrained, texts_at_training
from tasks.recommender.rankers.choose import finetune_ranker
from tasks.recommender.recipe import Lora, Optimization, Recipe, Unlabelled
from tasks.recommender.score import score
from tasks.recommender.shots import split_by_time

CONTRAST = Recipe(
    head_epochs=5,
    adapter_epochs=1,
    tuning=Lora(rank=4, alpha=8),
    optimization=Optimization(encoder_learning_rate=5e-3),
    unlabelled=Unlabelled("contrastive", pretrain_items=40),
)


@pytest.fixture
def split(rows):
    return split_by_time(rows, validation_share=0.25, holdout_share=0.25)


def test_only_what_the_tuning_trains_is_moved_and_the_start_stays(ranker):
    texts = ["goal match team", "bank market", "soup bread salt"]
    digest, before = ranker.digest, ranker.encoder.encode(texts)
    moved, losses = pretrained(ranker, texts, CONTRAST)
    assert len(losses) == CONTRAST.unlabelled.pretrain_epochs
    assert all("lora" in name for name in moved.encoder.adapter)
    assert moved.encoder.tuning == CONTRAST.tuning
    assert (moved.encoder.encode(texts) != before).any()
    assert ranker.digest == digest
    assert (ranker.encoder.encode(texts) == before).all()
    assert moved.head is not ranker.head


def test_features_are_those_of_the_pretrained_encoder(ranker, split, context, monkeypatch):
    seen = []

    def spy(start, *rows, **more):
        seen.append(start.encoder.digest)
        return finetune(start, *rows, **more)

    monkeypatch.setattr(pretrained_module, "finetune", spy)
    tuned = finetune_ranker(ranker, split.shots, split.validation, context, CONTRAST)
    assert seen[0] != ranker.encoder.digest
    assert tuned.notes[0].startswith("unlabelled.pretrain: 40 texts, mean loss ")
    if len(seen) == 1:
        assert tuned.kept.startswith("pre-trained")
        assert tuned.ranker.encoder.adapter is not None


@pytest.mark.parametrize("better", [True, False])
def test_an_encoder_that_ranks_below_the_start_is_dropped(
    ranker, split, context, monkeypatch, better
):
    monkeypatch.setattr(pretrained_module, "_auc", lambda *_: 0.0 if better else 2.0)
    tuned = finetune_ranker(ranker, split.shots, split.validation, context, CONTRAST)
    plain = replace(CONTRAST, unlabelled=Unlabelled())
    alone = finetune_ranker(ranker, split.shots, split.validation, context, plain)
    if better:
        assert tuned.kept.startswith("pre-trained")
        assert score(tuned.ranker, split.holdout, context).shape == (len(split.holdout),)
    else:
        assert tuned.ranker.digest == alone.ranker.digest
        assert tuned.kept == alone.kept
        assert "dropped" in tuned.notes[0]
        assert len(tuned.epochs) > len(alone.epochs)


def test_a_text_of_the_future_is_not_read(split, context):
    catalogue = context.catalogue.append_column(
        "published_at",
        pa.array([None] * len(context.catalogue), pa.timestamp("us", tz="UTC")),
    )
    later = pa.concat_tables([split.holdout.slice(0, 1)])
    future = pa.table(
        {
            "item_id": ["later", "unknown"],
            "title": ["salt of tomorrow", "salt of whenever"],
            "category": ["food", "food"],
            "published_at": pa.array(
                [later["event_time"][0].as_py(), None], pa.timestamp("us", tz="UTC")
            ),
        }
    )
    known = replace(context, catalogue=pa.concat_tables([catalogue, future]))
    texts = texts_at_training(split.shots, split.validation, known, limit=1_000)
    assert not any("salt of" in text for text in texts)
    assert set(texts) <= set(context.catalogue["title"].to_pylist())
    # What shots and validation show comes first, and the limit holds.
    few = texts_at_training(split.shots, split.validation, known, limit=7)
    assert few == texts[:7]


def test_a_base_that_cannot_be_pretrained_so_is_an_error(ranker, split, context):
    recipe = replace(CONTRAST, unlabelled=Unlabelled("masked_lm"))
    with pytest.raises(ModelError, match="no masked-LM head"):
        finetune_ranker(ranker, split.shots, split.validation, context, recipe)


def test_training_goes_on_from_the_pretrained_adapter(ranker, split, context):
    texts = ["goal match team", "bank market", "soup bread salt"]
    moved, _ = pretrained(ranker, texts, CONTRAST)
    again, _ = pretrained(moved, texts, CONTRAST)
    fresh, _ = pretrained(ranker, texts, CONTRAST)
    assert all(
        torch.equal(fresh.encoder.adapter[n], moved.encoder.adapter[n])
        for n in moved.encoder.adapter
    )
    assert any(
        not torch.equal(again.encoder.adapter[n], moved.encoder.adapter[n])
        for n in moved.encoder.adapter
    )
