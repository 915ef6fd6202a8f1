"""Which tokens say yes and which say no, read where they stand: " Yes" and "Yes" are two tokens.

A word is never tokenized alone. The question up to its answer is tokenized with the word and without
it, and what the word adds are its tokens, whatever the tokenizer does with spaces, ▁, Ġ or case.

    score = log Σ_yes p(word | question) − log Σ_no p(word | question)
    p(word | question) = Π_j p(token_j | question, token_<j)

Source: Schick and Schütze (2021), PET, for patterns and verbalizers.

Shapes: B questions, V continuations, J tokens of the longest word, W words of the vocabulary.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from tasks.errors import ModelError
from tasks.recommender.rankers.template import Template
from tasks.recommender.rankers.tokens import Tokens

Spelled = tuple[int, ...]


@dataclass(frozen=True)
class Verbalizer:
    """The tokens of each answer."""

    positive: tuple[Spelled, ...]
    negative: tuple[Spelled, ...]
    after: Spelled = ()
    """Tokens that follow a mask; a causal model is asked for nothing after its answer."""

    @property
    def continuations(self) -> tuple[Spelled, ...]:
        """What a question has to be continued by so that every token of an answer is asked for.

        One empty continuation where every word is one token; else each word without its last
        token, as far as no longer one begins with it.
        """
        begun = {word[:-1] for word in (*self.positive, *self.negative)}
        needed = (one for one in begun if not any(one != o and o[: len(one)] == one for o in begun))
        return tuple(sorted(needed))

    def log_odds(self, logits_BVJW: torch.Tensor) -> torch.Tensor:
        """(B,) the score, from the logits at the answer's place and along each continuation."""
        log_p = logits_BVJW.float().log_softmax(-1)
        return self._log_sum(log_p, self.positive) - self._log_sum(log_p, self.negative)

    def _log_sum(self, log_p: torch.Tensor, words: tuple[Spelled, ...]) -> torch.Tensor:
        return torch.stack([self._log_likelihood(log_p, word) for word in words]).logsumexp(0)

    def _log_likelihood(self, log_p: torch.Tensor, word: Spelled) -> torch.Tensor:
        begun = word[:-1]
        along = next(v for v, one in enumerate(self.continuations) if one[: len(begun)] == begun)
        total = log_p[:, along, 0, word[0]]
        for place, token in enumerate(word[1:], start=1):
            total = total + log_p[:, along, place, token]
        return total


def read_answers(template: Template, tokens: Tokens, *, masked: bool) -> Verbalizer:
    """The tokens of the template's answers, as `tokens` spells them after its question.

    Raises:
        ModelError: a word cannot be told from the text before it, is unknown to the vocabulary, begins
            with another, is an answer of both kinds, or needs several tokens where one mask stands.
    """
    if masked and tokens.mask is None:
        raise ModelError(
            "The tokenizer has no mask token, so a masked language model has nowhere to answer. "
            "Name a base whose tokenizer has one in `finetune.base`."
        )
    _, space, after = template.around_answer()
    asked = template.asked
    positive, negative = (
        _distinct(_spell(asked, space + word, tokens, masked=masked) for word in words)
        for words in (template.positive, template.negative)
    )
    _require_apart(positive, negative, tokens)
    ending: Spelled = ()
    if masked:
        word = f"{asked}{space}{template.positive[0]}"
        ending = _added(word, after, tokens)
    return Verbalizer(positive, negative, ending)


def _distinct(words: Iterable[Spelled]) -> tuple[Spelled, ...]:
    # An uncased vocabulary spells Yes and yes alike, and counts them once.
    return tuple(dict.fromkeys(words))


def _spell(asked: str, word: str, tokens: Tokens, *, masked: bool) -> Spelled:
    spelled = _added(asked, word, tokens)
    if not spelled or tokens.unknown in spelled:
        raise ModelError(
            f"The vocabulary does not know the answer {word!r}: it spells it "
            f"{tokens.spell(spelled)}. Choose another word in the template."
        )
    if masked and len(spelled) > 1:
        raise ModelError(
            f"The answer {word!r} takes {len(spelled)} tokens, {tokens.spell(spelled)}, and one "
            "mask holds one. Choose a word of one token in the template."
        )
    return spelled


def _added(text: str, more: str, tokens: Tokens) -> Spelled:
    """The tokens that `more` adds to `text`."""
    alone, whole = tokens.ids([text, text + more])
    if whole[: len(alone)] != alone:
        raise ModelError(
            f"{more!r} after {text[-20:]!r} changes the tokens before it: "
            f"{tokens.spell(alone[-3:])} becomes {tokens.spell(whole[len(alone) - 3 :])}. "
            "Put a space or a line's end before {answer} in the template."
        )
    return tuple(whole[len(alone) :])


def _require_apart(
    positive: tuple[Spelled, ...], negative: tuple[Spelled, ...], tokens: Tokens
) -> None:
    words = [*positive, *negative]
    for place, one in enumerate(words):
        for other in words[:place] + words[place + 1 :]:
            if other[: len(one)] == one:
                raise ModelError(
                    f"The answer {tokens.spell(other)} begins with the answer {tokens.spell(one)}, "
                    "which is then never less likely. Choose answers in the template of which none "
                    "begins with another."
                )
