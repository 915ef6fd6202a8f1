"""Texts with some of their words left out or replaced.

What becomes of a text hangs on the text, the copy and the seed alone, not on the texts beside it.
"""

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

import numpy as np

Alteration = Callable[[Sequence[str], int], list[str]]
"""(B,) altered texts of B, for a copy's number; a text that it cannot alter comes back as it is."""

MIN_LETTERS = 4
"""Shorter words mostly hold a sentence together; they are not replaced."""
WORD = re.compile(rf"[^\W\d_]{{{MIN_LETTERS},}}")


class Span(NamedTuple):
    """Where a word lies in its text."""

    start: int
    stop: int


class Synonyms(Protocol):
    """Proposes words in the place of others."""

    def knows(self, word: str) -> bool:
        """Whether there may be a proposal for `word`."""

    def propose(self, texts: Sequence[str], spans: Sequence[Span]) -> list[list[str]]:
        """For each text and the word at its span, words that may stand there; never the same."""


def drop_words(texts: Sequence[str], copy: int, *, share: float, seed: int) -> list[str]:
    """Each text without `share` of its words: at least one goes, and at least one stays.

    Source: random deletion, Wei and Zou (2019).
    """
    altered = []
    for text in texts:
        words = text.split()
        gone = min(amount(share, len(words)), len(words) - 1)
        if gone > 0:
            kept = np.sort(draw(text, copy, seed, "drop").permutation(len(words))[gone:])
            text = " ".join(words[place] for place in kept)
        altered.append(text)
    return altered


def replace_words(
    texts: Sequence[str], copy: int, *, share: float, synonyms: Synonyms, seed: int
) -> list[str]:
    """Each text with `share` of its words, at least one, replaced by proposals of `synonyms`.

    Numbers, punctuation, spaces and words of fewer than MIN_LETTERS stay, and so does a word's case.

    Source: synonym replacement, Wei and Zou (2019).
    """
    chosen = [
        _spans_to_replace(text, share, synonyms, draw(text, copy, seed, "spans")) for text in texts
    ]
    rows = [row for row, spans in enumerate(chosen) for _ in spans]
    spans = [span for spans in chosen for span in spans]
    proposals = iter(synonyms.propose([texts[row] for row in rows], spans))
    altered = []
    for text, own in zip(texts, chosen, strict=True):
        rng = draw(text, copy, seed, "words")
        offered = [(span, next(proposals)) for span in own]
        # From the end, so that the spans before it still lie where they were found.
        for span, words in reversed(offered):
            if words:
                word = words[rng.integers(len(words))]
                cased = with_case(word, text[span.start : span.stop])
                text = text[: span.start] + cased + text[span.stop :]
        altered.append(text)
    return altered


def amount(share: float, num: int) -> int:
    """`share` of `num` words, and at least one: a share is meant to be seen in a short title too."""
    return max(1, round(share * num)) if num else 0


def with_case(word: str, like: str) -> str:
    """`word` in capitals, with a capital, or as it is, as `like` is."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def draw(text: str, copy: int, seed: int, what: str) -> np.random.Generator:
    """A generator for one decision on one copy of one text."""
    key = blake2b(f"{seed} {copy} {what} {text}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(key))


def _spans_to_replace(
    text: str, share: float, synonyms: Synonyms, rng: np.random.Generator
) -> list[Span]:
    known = [Span(*found.span()) for found in WORD.finditer(text) if synonyms.knows(found[0])]
    num = min(amount(share, len(text.split())), len(known))
    return [known[place] for place in np.sort(rng.permutation(len(known))[:num])]
