from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.recommender import enrich as enrich_module
from tasks.recommender.enrich import enrich
from tasks.recommender.finetune import finetune
from tasks.recommender.items import COPY_OF
from tasks.recommender.labels.impressions import count_impressions, newest
from tasks.recommender.rankers.choose import finetune_ranker
from tasks.recommender.recipe import Adversarial, Augment, Contrast, Lora, Recipe, Unlabelled
from tasks.recommender.shots import split_by_time

HEAD_ONLY = Recipe(head_epochs=10, adapter_epochs=0)
SURE = replace(HEAD_ONLY, unlabelled=Unlabelled(pseudo_labels=0.3))
COPIES = replace(HEAD_ONLY, augment=Augment(copies=1, token_dropout=0.3))


@pytest.fixture
def parts(rows):
    """30 shots, 30 impressions that were not drawn, 30 of validation, and a holdout."""
    split = split_by_time(rows, validation_share=0.25, holdout_share=0.25)
    shots = newest(split.shots, 30)
    drawn = shots["impression_id"].combine_chunks()
    other = split.shots.filter(pc.invert(pc.is_in(split.shots["impression_id"], drawn)))
    return shots, other, split.validation, split.holdout


@pytest.fixture
def champion(ranker, parts, context):
    shots, _, validation, _ = parts
    found = finetune(ranker, shots, validation, context, HEAD_ONLY).ranker
    assert not found.head.untrained
    return found


def ids(rows: pa.Table) -> set[str]:
    return set(rows["impression_id"].to_pylist())


def test_shots_get_altered_copies_that_are_trained_on(ranker, parts, context):
    shots, _, validation, _ = parts
    given = enrich(ranker, shots, validation, context, COPIES, None)
    assert given.notes == ()
    assert count_impressions(given.shots) == 60
    assert (
        given.context.catalogue[COPY_OF].drop_null()[0].as_py()
        in context.catalogue["item_id"].to_pylist()
    )
    plain = finetune_ranker(ranker, shots, validation, context, HEAD_ONLY)
    more = finetune_ranker(ranker, shots, validation, context, COPIES)
    assert more.ranker.digest != plain.ranker.digest
    first = [next(e for e in tuned.epochs if e.phase == "head") for tuned in (plain, more)]
    assert first[0].train_loss != first[1].train_loss


def test_a_trained_start_labels_what_it_is_sure_of_whatever_the_log_says(champion, parts, context):
    shots, other, validation, _ = parts
    place = other.column_names.index("label")
    lying = other.set_column(place, "label", pa.array(np.ones(len(other), np.int8)))
    given, again = (
        enrich(champion, shots, validation, context, SURE, rows) for rows in (other, lying)
    )
    assert given.shots.equals(again.shots)
    answers = given.shots.slice(len(shots))
    assert 0 < count_impressions(answers) <= 30
    assert ids(answers) <= ids(other)
    assert (answers["weight"].to_numpy() >= 0.3).all()
    # One answer in each slate.
    assert answers["label"].to_numpy().sum() == count_impressions(answers)
    assert given.shots.slice(0, len(shots))["weight"].null_count == len(shots)
    (note,) = given.notes
    assert note.startswith(f"unlabelled.pseudo_labels: {count_impressions(answers)} of 30 ")


def test_the_validation_and_the_shots_are_never_answered(champion, parts, context):
    shots, other, validation, _ = parts
    everything = pa.concat_tables([shots, other, validation])
    given = enrich(champion, shots, validation, context, SURE, everything)
    answers = given.shots.slice(len(shots))
    assert len(answers)
    assert not ids(answers) & (ids(shots) | ids(validation))


def test_without_any_of_it_shots_and_context_are_those_that_were_given(ranker, parts, context):
    shots, other, validation, _ = parts
    given = enrich(ranker, shots, validation, context, HEAD_ONLY, other)
    assert given.shots is shots
    assert given.context is context
    assert given.notes == ()


def test_own_answers_change_what_is_trained(champion, parts, context):
    shots, other, validation, _ = parts
    plain = finetune_ranker(champion, shots, validation, context, HEAD_ONLY)
    more = finetune_ranker(champion, shots, validation, context, SURE, unlabelled=other)
    losses = [[e.train_loss for e in tuned.epochs if e.phase == "head"] for tuned in (plain, more)]
    assert losses[0] != losses[1]
    assert more.notes[0].startswith("unlabelled.pseudo_labels: ")


@pytest.mark.parametrize(
    ("case", "why"),
    [("zero-shot", "not calibrated"), ("no rows", "every impression"), ("few", "have to judge")],
)
def test_where_no_answer_may_be_used_the_note_says_why(ranker, champion, parts, context, case, why):
    shots, other, validation, _ = parts
    start = ranker if case == "zero-shot" else champion
    held = newest(validation, 5) if case == "few" else validation
    given = enrich(start, shots, held, context, SURE, None if case == "no rows" else other)
    assert given.shots.equals(shots)
    assert any(why in note for note in given.notes)


def test_few_judges_are_told_to_leave_the_network_alone(ranker, parts, context):
    shots, other, validation, _ = parts
    recipe = Recipe(
        tuning=Lora(rank=4),
        long_short=True,
        adversarial=Adversarial("fgm"),
        contrast=Contrast(info_nce=0.1),
        augment=Augment(copies=1, token_dropout=0.3),
        unlabelled=Unlabelled("contrastive", pseudo_labels=0.5),
    )
    tuned = finetune_ranker(ranker, shots, newest(validation, 5), context, recipe, unlabelled=other)
    assert not any(record.phase in ("adapter", "merge") for record in tuned.epochs)
    assert tuned.ranker.encoder.adapter is None
    ignored = tuned.notes[0]
    assert ignored.startswith("5 impressions of validation")
    for knob in ("adapter_epochs", "adversarial.method", "long_short", "unlabelled.pretrain"):
        assert knob in ignored
    assert any(note.startswith("unlabelled.pseudo_labels") for note in tuned.notes)


def test_most_impressions_asked_about_follow_the_shots(champion, parts, context, monkeypatch):
    monkeypatch.setattr(enrich_module, "ASKED", 2)
    shots, other, validation, _ = parts
    few = newest(shots, 6)
    given = enrich(champion, few, validation, context, SURE, other)
    assert " of 12 impressions" in given.notes[0]
    assert ids(given.shots.slice(len(few))) <= ids(newest(other, 12))
    assert count_impressions(given.shots) <= 12
