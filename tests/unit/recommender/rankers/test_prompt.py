from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender.base import load_base
from tasks.recommender.rankers import ranker as ranker_module
from tasks.recommender.rankers.in_context import draw_examples
from tasks.recommender.rankers.prompt import Example, Questioning
from tasks.recommender.rankers.ranker import TextRanker
from tasks.recommender.rankers.verbalizer import read_answers
from tasks.recommender.recipe import Prompt
from tasks.recommender.score import score
from tests.unit.recommender.conftest import TOPICS
from tests.unit.recommender.rankers.conftest import TEMPLATE
from tests.unit.recommender.rankers.test_questions import HISTORY_SHOWN, one_user

CANDIDATES = ["oven", "rate fund", "goal"]
START = "the user\n\nliked: goal; bank; team.\ndisliked: soup; salt.\nnext: "
END = "\ngood?\nanswer:"


def prompt_ranker(base, template=TEMPLATE, examples=(), **settings) -> TextRanker:
    task = Questioning(base, Prompt(**{"max_tokens": 100, **settings}), template, examples)
    return TextRanker(task, task.new_readout(seed=0))


def ranked(ranker, rows, context) -> np.ndarray:
    return ranker.rank(ranker.read(rows, context))


@torch.no_grad()
def next_log_p(base, ids: list[int]) -> torch.Tensor:
    """(T, V) log-probabilities of what follows each token, by the network as it is."""
    network = base.load_network("causal_lm")
    return network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)


def test_a_masked_model_scores_by_the_odds_at_its_mask(base_of):
    base = base_of("masked")
    tokenizer, network = base.tokenizer, base.load_network("masked_lm")
    found = ranked(prompt_ranker(base), *one_user(HISTORY_SHOWN, CANDIDATES))
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    for title, value in zip(CANDIDATES, found, strict=True):
        asked = tokenizer(f"{START}{title}{END} [MASK].", return_tensors="pt")
        place = asked["input_ids"][0].tolist().index(tokenizer.mask_token_id)
        with torch.no_grad():
            logits = network(**asked).logits[0, place]
        assert value == pytest.approx(float(logits[yes] - logits[no]), abs=1e-4)


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_a_causal_model_scores_by_the_odds_of_the_next_token(base_of, name):
    base = base_of(name)
    tokenizer = base.tokenizer
    found = ranked(prompt_ranker(base), *one_user(HISTORY_SHOWN, CANDIDATES))
    before = {"gpt": [], "llama": [tokenizer.bos_token_id]}[name]
    words = {"gpt": ["ĠYes", "ĠNo"], "llama": ["▁Yes", "▁No"]}[name]
    yes, no = tokenizer.convert_tokens_to_ids(words)
    for title, value in zip(CANDIDATES, found, strict=True):
        ids = tokenizer(f"{START}{title}{END}", add_special_tokens=False)["input_ids"]
        log_p = next_log_p(base, [*before, *ids])[-1]
        assert value == pytest.approx(float(log_p[yes] - log_p[no]), abs=1e-4)


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_a_question_ends_where_its_answer_begins(base_of, name):
    base = base_of(name)
    reading = prompt_ranker(base).read(*one_user(HISTORY_SHOWN, CANDIDATES))
    for ids in reading.sequences:
        text = base.tokenizer.decode(ids)
        assert text.endswith("answer:")  # no space, no EOS
        assert base.tokenizer.eos_token_id not in ids[1:]


def test_an_answer_of_several_tokens_is_scored_by_its_whole_likelihood(base_of):
    base = base_of("gpt")
    template = replace(TEMPLATE, positive=("Yes maybe", "oven"), negative=("Yes indeed", "No"))
    ranker = prompt_ranker(base, template)
    assert {len(word) for word in ranker.task.verbalizer.positive} != {1}
    found = ranked(ranker, *one_user(HISTORY_SHOWN, CANDIDATES))

    def log_likelihood(question: str, word: str) -> float:
        start = base.tokenizer(question)["input_ids"]
        ids = base.tokenizer(f"{question} {word}")["input_ids"]
        log_p = next_log_p(base, ids)
        return float(sum(log_p[place - 1, ids[place]] for place in range(len(start), len(ids))))

    for title, value in zip(CANDIDATES, found, strict=True):
        yes, no = (
            np.logaddexp(*(log_likelihood(f"{START}{title}{END}", word) for word in words))
            for words in (template.positive, template.negative)
        )
        assert value == pytest.approx(yes - no, abs=1e-3)


@pytest.mark.parametrize("name", ["masked", "gpt", "llama"])
def test_neither_batches_nor_padding_change_a_score(base_of, name, monkeypatch):
    template = TEMPLATE if name == "masked" else replace(TEMPLATE, negative=("No way", "oven"))
    candidates = ["oven", "rate fund bank stock market rate fund", "goal", "soup salt"]
    rows, context = one_user(HISTORY_SHOWN, candidates)
    ranker = prompt_ranker(base_of(name), template)
    together = ranked(ranker, rows, context)
    one_by_one = [ranked(ranker, rows.slice(n, 1), context)[0] for n in range(len(rows))]
    np.testing.assert_allclose(together, one_by_one, atol=2e-4)
    monkeypatch.setattr("tasks.recommender.encoder.TOKENS_A_BATCH", 1)
    np.testing.assert_allclose(ranked(ranker, rows, context), together, atol=2e-4)


def test_probabilities_follow_the_order_of_the_rows_whatever_the_parts(
    base_of, rows, context, monkeypatch
):
    ranker, some = prompt_ranker(base_of("masked"), max_tokens=60), rows.slice(0, 30)
    whole = score(ranker, some, context)
    assert len(np.unique(whole)) > 20
    order = np.random.default_rng(0).permutation(30)
    monkeypatch.setattr(ranker_module, "ROWS_AT_ONCE", 7)
    shuffled = score(ranker, some.take(pa.array(order)), context)
    np.testing.assert_allclose(shuffled, whole[order], rtol=1e-4)


def test_an_encoder_without_a_language_models_head_is_refused(base_folder, masked_folder, tmp_path):
    base = load_base(str(base_folder), device="cpu", precision="fp32")
    with pytest.raises(ModelError, match="is BertModel, not a masked or causal language model"):
        Questioning(base, Prompt(max_tokens=60), TEMPLATE)
    with pytest.raises(ModelError, match=r"lacks cls\.predictions"):
        base.load_network("masked_lm")


def test_a_text_longer_than_the_network_reads_is_refused(base_of):
    with pytest.raises(ModelError, match=r"max_tokens` is 200, .* reads 128 at most"):
        prompt_ranker(base_of("gpt"), max_tokens=200)


def topic_of(text: str) -> set[str]:
    return {topic for topic, words in TOPICS.items() if any(word in text for word in words)}


def test_worked_examples_are_balanced_labelled_right_and_drawn_by_the_seed(base_of, rows, context):
    base, shots = base_of("masked"), rows.slice(0, 120)
    task = Questioning(base, Prompt(max_tokens=180, examples=5), TEMPLATE)

    def drawn(seed):
        return draw_examples(task, shots, context, number=5, seed=seed)

    examples = drawn(3)
    assert [example.clicked for example in examples] in ([True, False] * 2, [False, True] * 2)
    assert drawn(3) == examples
    assert len({drawn(seed) for seed in range(4)}) == 4
    for example in examples:
        liked, item, _, answer = example.text.split("\n")
        # The readers of these rows click what is of their history's topic.
        assert (topic_of(liked) == topic_of(item)) == example.clicked
        assert answer == {True: "answer: Yes.", False: "answer: No."}[example.clicked]
        assert len(task.tokens.ids([example.text])[0]) <= 180 // 6 + 2  # the answer is on top


def test_examples_stand_between_instruction_and_question(base_of):
    base = base_of("gpt")
    examples = (Example("next: bank\ngood?\nanswer: No.", False),)
    ranker = prompt_ranker(base, examples=examples)
    reading = ranker.read(*one_user([], ["oven"]))
    text = base.tokenizer.decode(reading.sequences[0])
    assert text == ("the user\n\nnext: bank\ngood?\nanswer: No.\n\nnext: oven\ngood?\nanswer:")


def test_shots_of_one_kind_give_no_examples(base_of, rows, context):
    task = Questioning(base_of("masked"), Prompt(max_tokens=60), TEMPLATE)
    clicked = rows.filter(pa.array(rows["label"].to_numpy() == 1))
    assert draw_examples(task, clicked, context, number=4, seed=0) == ()


def test_digest_names_template_examples_settings_and_weights(base_of):
    base = base_of("masked")
    rankers = [
        prompt_ranker(base),
        prompt_ranker(base, replace(TEMPLATE, question="good")),
        prompt_ranker(base, examples=(Example("next: bank", True),)),
        prompt_ranker(base, max_tokens=90),
        prompt_ranker(base_of("gpt")),
    ]
    assert len({ranker.digest for ranker in rankers}) == len(rankers)
    assert prompt_ranker(base).digest == rankers[0].digest
    before = rankers[0].digest
    rankers[0].readout.slope.fill_(2.0)
    assert rankers[0].digest != before


def test_answers_are_read_where_the_packaged_templates_put_them(base_of):
    from tasks.recommender.rankers.template import load_template

    ranker = prompt_ranker(base_of("gpt"), load_template("movie"), max_tokens=128, history=0)
    (word,) = ranker.task.verbalizer.positive
    assert ranker.task.tokens.spell(word) == ["ĠYes"]
    assert read_answers(load_template("news"), ranker.task.tokens, masked=False).positive == (word,)
