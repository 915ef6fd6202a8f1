from dataclasses import replace
from itertools import pairwise
from shutil import copytree

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.errors import ModelError
from tasks.interactions.schema import HISTORY
from tasks.recommender.base import load_base
from tasks.recommender.finetune import finetune
from tasks.recommender.hybrid import HybridRanker
from tasks.recommender.items import COPY_OF
from tasks.recommender.labels.augment import augment_shots, copy_shots
from tasks.recommender.recipe import Augment, Lora, Recipe
from tasks.recommender.shots import split_by_time
from tests.unit.recommender.conftest import make_catalogue, make_rows

DROP = Augment(copies=2, token_dropout=0.3)


@pytest.fixture
def base(base_folder):
    return load_base(str(base_folder), device="cpu", precision="fp32")


def by_impression(rows: pa.Table) -> dict[str, pa.Table]:
    ids = rows["impression_id"].unique().to_pylist()
    return {each: rows.filter(pc.equal(rows["impression_id"], each)) for each in ids}


def test_copies_have_other_texts_and_the_same_labels_times_and_users(base):
    rows, catalogue = make_rows(6), make_catalogue()
    more, known = augment_shots(rows, catalogue, DROP, base, seed=1)
    assert len(more) == 3 * len(rows)
    assert more.slice(0, len(rows)).equals(rows)
    titles = dict(zip(known["item_id"].to_pylist(), known["title"].to_pylist(), strict=True))
    originals = by_impression(rows)
    for each, copy in by_impression(more.slice(len(rows))).items():
        source = originals[each.split("\x1f")[0]]
        for name in ("label", "event_time", "user_id"):
            assert copy[name].equals(source[name])
        for new, old in zip(
            copy["item_id"].to_pylist(), source["item_id"].to_pylist(), strict=True
        ):
            # Three words each: one is gone, and what is left is of the original's.
            assert len(titles[new].split()) == 2
            assert set(titles[new].split()) < set(titles[old].split())
        history = zip(copy["history"].to_pylist(), source["history"].to_pylist(), strict=True)
        for new, old in history:
            assert [e["label"] for e in new] == [e["label"] for e in old]
            assert all(
                a["item_id"].startswith(b["item_id"] + "\x1f")
                for a, b in zip(new, old, strict=True)
            )


def test_the_two_copies_and_two_seeds_differ_and_one_seed_does_not(base):
    rows, catalogue = make_rows(6), make_catalogue()
    _, known = augment_shots(rows, catalogue, DROP, base, seed=1)
    assert known.equals(augment_shots(rows, catalogue, DROP, base, seed=1)[1])
    assert not known.equals(augment_shots(rows, catalogue, DROP, base, seed=2)[1])
    new = known.slice(len(catalogue))
    half = len(new) // 2
    assert new["title"].slice(0, half).to_pylist() != new["title"].slice(half).to_pylist()


def test_statistics_see_a_copy_as_its_original_and_the_text_match_does_not(
    ranker: HybridRanker, rows, context, base
):
    few = rows.slice(300, 60)
    more, known = augment_shots(few, context.catalogue, DROP, base, seed=1)
    plain = ranker.prepare(few, context).features
    found = ranker.prepare(more, replace(context, catalogue=known)).features
    for first, second in pairwise(range(0, 4 * len(few), len(few))):
        part = slice(first, second)
        assert found.behaviour[part].equal(plain.behaviour)
        assert found.log_size[part].equal(plain.log_size)
    assert found.text[: len(few)].equal(plain.text)
    assert not found.text[len(few) : 2 * len(few)].equal(plain.text)
    # They had something to see: the items were shown before.
    assert plain.behaviour[:, 3].max() > 0


def test_copies_are_trained_on_as_shots_are(ranker: HybridRanker, rows, context, base):
    split = split_by_time(rows, validation_share=0.25, holdout_share=0.25)
    recipe = Recipe(tuning=Lora(rank=2, layers=1), head_epochs=2, adapter_epochs=1)
    more, known = augment_shots(split.shots, context.catalogue, DROP, base, seed=1)
    seen = replace(context, catalogue=known)
    tuned = finetune(ranker, more, split.validation, seen, recipe)
    plain = finetune(ranker, split.shots, split.validation, context, recipe)
    assert tuned.rows > 2 * plain.rows
    # What comes out scores rows of the log by the log's own catalogue.
    assert len(tuned.ranker.probabilities(split.holdout, context)) == len(split.holdout)


def test_an_impression_that_nothing_alters_is_not_copied():
    rows = make_rows(2, slate_size=2)
    first = rows["item_id"].to_pylist()[0]

    def alter(texts, copy):
        return [text + " more" if n == 0 else text for n, text in enumerate(texts)]

    catalogue = pa.table({"item_id": [first, "other"], "title": ["a", ""]})
    rows = rows.set_column(
        rows.schema.get_field_index("history"), "history", pa.nulls(len(rows), HISTORY)
    )
    second = rows["item_id"].to_pylist()[2:]
    assert first not in second
    more, known = copy_shots(rows, catalogue, [alter], 1)
    assert more["impression_id"].unique().to_pylist() == ["s0", "s1", "s0\x1f1"]
    assert known[COPY_OF].to_pylist() == [None, None, first]
    assert more["history"].null_count == len(more)


def test_a_copy_whose_history_alone_is_altered_is_kept():
    rows = make_rows(1, slate_size=2)
    entry = pa.array([[{"item_id": "old", "label": 0}], None], HISTORY)
    rows = rows.set_column(rows.schema.get_field_index("history"), "history", entry)
    catalogue = pa.table({"item_id": ["old"], "title": ["a b"]})
    more, _ = copy_shots(rows, catalogue, [lambda texts, copy: [t + " c" for t in texts]], 1)
    assert len(more) == 4
    assert more["history"].to_pylist()[2:] == [[{"item_id": "old\x1f1", "label": 0}], None]
    assert more["item_id"].to_pylist()[2:] == rows["item_id"].to_pylist()


def test_no_copies_change_nothing_and_empty_shots_stay_empty(base):
    rows, catalogue = make_rows(2), make_catalogue()
    assert augment_shots(rows, catalogue, Augment(), base, seed=1) == (rows, catalogue)
    assert not len(augment_shots(rows.slice(0, 0), catalogue, DROP, base, seed=1)[0])


def test_synonyms_of_the_encoder_reach_the_copies(tmp_path, base_folder):
    copytree(base_folder, tmp_path / "near")
    weights = load_file(tmp_path / "near" / "model.safetensors")
    # The two come to lie at cosine 1 / √1.04; all other words are farther off than that.
    words = weights["embeddings.word_embeddings.weight"]
    goal, bank = (base_word(base_folder, word) for word in ("goal", "bank"))
    words[bank] = words[goal] + 0.2 * words[goal].norm() * orthogonal_to(words[goal])
    save_file(weights, tmp_path / "near" / "model.safetensors", metadata={"format": "pt"})
    near = load_base(str(tmp_path / "near"), device="cpu", precision="fp32")
    rows, catalogue = make_rows(1, slate_size=2), make_catalogue()
    titles = ["Goal, 7 of it"] * len(catalogue)
    catalogue = catalogue.set_column(1, "title", pa.array(titles))
    _, known = augment_shots(rows, catalogue, Augment(copies=1, synonyms=0.1), near, seed=1)
    copies = known.filter(pc.is_valid(known[COPY_OF]))
    assert set(copies["title"].to_pylist()) == {"Bank, 7 of it"}


def base_word(folder, word: str) -> int:
    tokenizer = load_base(str(folder), device="cpu", precision="fp32").tokenizer
    return tokenizer.convert_tokens_to_ids(word)


def orthogonal_to(vector: torch.Tensor) -> torch.Tensor:
    other = torch.ones_like(vector)
    other -= vector * (other @ vector) / (vector @ vector)
    return other / other.norm()


@pytest.mark.parametrize(
    ("augment", "named"),
    [
        (Augment(copies=1), "token_dropout"),
        (Augment(copies=1, synonyms=0.2, synonyms_from="masked_lm"), r"augment\.masked_lm"),
    ],
)
def test_copies_that_nothing_would_alter_are_refused(base, augment, named):
    with pytest.raises(ModelError, match=named):
        augment_shots(make_rows(1), make_catalogue(), augment, base, seed=1)
