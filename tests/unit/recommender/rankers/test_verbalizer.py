from dataclasses import replace

import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender.rankers.tokens import Tokens
from tasks.recommender.rankers.verbalizer import Verbalizer, read_answers
from tests.unit.recommender.rankers.conftest import TEMPLATE


@pytest.fixture
def tokens_of(base_of):
    return lambda name: Tokens(base_of(name).tokenizer)


def spelled(tokens, words):
    return [tokens.spell(word) for word in words]


def test_with_and_without_a_space_yes_is_another_token(tokens_of):
    tokens = tokens_of("gpt")
    spaced = read_answers(TEMPLATE, tokens, masked=False)
    tight = read_answers(replace(TEMPLATE, answer="answer:{answer}"), tokens, masked=False)
    assert spelled(tokens, spaced.positive) == [["ĠYes"]]
    assert spelled(tokens, tight.positive) == [["Yes"]]
    assert spaced.positive != tight.positive


def test_the_space_before_the_answer_is_asked_for_and_not_said():
    before, space, after = TEMPLATE.around_answer()
    assert (before, space, after) == ("answer:", " ", ".")
    assert TEMPLATE.asked.endswith("answer:")
    assert TEMPLATE.asked + TEMPLATE.answered("Yes") == "good?\nanswer: Yes."


def test_a_sentencepiece_word_has_its_mark(tokens_of):
    tokens = tokens_of("llama")
    found = read_answers(TEMPLATE, tokens, masked=False)
    assert spelled(tokens, (*found.positive, *found.negative)) == [["▁Yes"], ["▁No"]]
    assert tokens.ids(["Yes"])[0] == list(found.positive[0])  # at a text's start it has it too


def test_an_uncased_vocabulary_counts_yes_and_its_lower_case_once(tokens_of):
    tokens = tokens_of("masked")
    found = read_answers(replace(TEMPLATE, positive=("Yes", "yes", "YES")), tokens, masked=True)
    assert spelled(tokens, found.positive) == [["yes"]]


def test_words_after_a_mask_are_those_that_follow_an_answer(tokens_of):
    tokens = tokens_of("masked")
    assert tokens.spell(read_answers(TEMPLATE, tokens, masked=True).after) == ["."]


def test_one_answer_may_not_begin_with_the_other(tokens_of):
    template = replace(TEMPLATE, negative=("Yes maybe",))
    with pytest.raises(ModelError, match=r"begins with the answer \['ĠYes'\]"):
        read_answers(template, tokens_of("gpt"), masked=False)


def test_a_stop_after_the_word_is_the_same_trap(tokens_of):
    with pytest.raises(ModelError, match="begins with"):
        read_answers(replace(TEMPLATE, positive=("Yes", "Yes.")), tokens_of("gpt"), masked=False)


def test_a_word_cannot_be_both_answers(tokens_of):
    with pytest.raises(ModelError, match="begins with"):
        read_answers(replace(TEMPLATE, negative=("yes",)), tokens_of("masked"), masked=True)


def test_a_mask_holds_no_word_of_several_tokens(tokens_of):
    with pytest.raises(ModelError, match=r"takes 2 tokens, \['no', '##t'\]"):
        read_answers(replace(TEMPLATE, negative=("not",)), tokens_of("masked"), masked=True)


def test_a_word_that_the_vocabulary_lacks_is_refused(tokens_of):
    with pytest.raises(ModelError, match="does not know the answer ' 是'"):
        read_answers(replace(TEMPLATE, positive=("是",)), tokens_of("masked"), masked=True)


def test_a_word_that_melts_into_the_text_before_it_is_refused(tokens_of):
    glued = replace(TEMPLATE, answer="answer: Y{answer}", positive=("es",), negative=("o",))
    with pytest.raises(ModelError, match="changes the tokens before it"):
        read_answers(glued, tokens_of("gpt"), masked=False)


def test_without_a_mask_token_nothing_can_be_masked(tokens_of):
    with pytest.raises(ModelError, match="no mask token"):
        read_answers(TEMPLATE, tokens_of("gpt"), masked=True)


def test_what_a_tokenizer_adds_is_told_apart(tokens_of):
    assert [tokens_of("gpt").before, tokens_of("gpt").after] == [[], []]
    assert [tokens_of("llama").before, tokens_of("llama").after] == [[1], [2]]
    assert [tokens_of("masked").before, tokens_of("masked").after] == [[2], [3]]


@pytest.mark.parametrize(("name", "title"), [("masked", "goal [MASK]"), ("llama", "goal </s>")])
def test_a_title_cannot_spell_a_special_token(tokens_of, name, title):
    tokens = tokens_of(name)
    specials = {tokens.mask, *tokens.before, *tokens.after}
    assert not specials & set(tokens.ids(tokens.plain([title]))[0])
    assert tokens.plain([title]) == ["goal"]


def test_a_text_is_cut_at_the_end_of_a_token(tokens_of):
    tokens = tokens_of("masked")
    assert tokens.cut(["Goal  Bank soup", "oven"], 2) == ["Goal  Bank", "oven"]


def test_single_tokens_need_no_continuation():
    assert Verbalizer(((4,), (5,)), ((6,),)).continuations == ((),)


def test_a_continuation_that_another_begins_with_is_not_run_twice():
    verbalizer = Verbalizer(((1, 2, 3), (1, 9)), ((4,), (5, 6)))
    assert verbalizer.continuations == ((1, 2), (5,))


def test_answers_that_share_their_first_token_are_scored_by_all_of_them():
    # Vocabulary of four; continuations of (0, 1) and (0, 2), (3,): (0,).
    verbalizer = Verbalizer(((0, 1),), ((0, 2), (3,)))
    assert verbalizer.continuations == ((0,),)
    first = torch.tensor([0.5, 0.1, 0.1, 0.3])
    then = torch.tensor([0.2, 0.6, 0.15, 0.05])
    logits = torch.stack([first, then]).log()[None, None]
    # log(0.5 · 0.6) − log(0.5 · 0.15 + 0.3)
    expected = torch.log(torch.tensor(0.3 / 0.375))
    torch.testing.assert_close(verbalizer.log_odds(logits), expected[None])


def test_a_shift_of_all_logits_changes_no_score():
    verbalizer = Verbalizer(((0,), (1,)), ((2,),))
    logits = torch.randn(5, 1, 1, 7)
    torch.testing.assert_close(verbalizer.log_odds(logits + 3), verbalizer.log_odds(logits))
