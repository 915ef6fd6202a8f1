"""Where replaced words come from: the encoder's own word embeddings, or a masked language model.

Shapes: W whole words of a vocabulary, B texts, T tokens, V vocabulary, D embedding width.
"""

from collections.abc import Sequence
from typing import Any

import torch

from tasks.recommender.base import Base
from tasks.recommender.encoder import MAX_TOKENS, pad
from tasks.recommender.labels.heads import load_masked_lm
from tasks.recommender.labels.words import WORD, Span

NEAREST = 5
"""Proposals for a word."""
MIN_COSINE = 0.5
"""Words less alike than this are no proposal: at 0.4 MiniLM's neighbours are of the topic, no more."""
WORDS_AT_ONCE = 256
TEXTS_AT_ONCE = 16

# How tokens that begin a word are marked by byte-level BPE, and by SentencePiece.
MARKS = ("Ġ", "▁")


class Neighbours:
    """The nearest words in an encoder's input embeddings, by cosine.

    Only whole words count: no special token, no part of a word, nothing with a digit. Opposites are
    used alike, and so may be near: the price of a source that needs no second model.
    """

    def __init__(self, base: Base) -> None:
        words = whole_words(base.tokenizer)
        self._place = {word: place for place, word in enumerate(words)}
        self._words = list(words)
        weight = base.load_network().get_input_embeddings().weight.detach()
        rows = weight[torch.tensor(list(words.values()), dtype=torch.long, device=weight.device)]
        self._unit_WD = torch.nn.functional.normalize(rows.float().cpu(), dim=1)

    def knows(self, word: str) -> bool:
        """Whether the vocabulary has `word` as a whole, in its own case or in small letters."""
        return word in self._place or word.lower() in self._place

    def propose(self, texts: Sequence[str], spans: Sequence[Span]) -> list[list[str]]:
        """At most NEAREST words of the same case for each word, each at least MIN_COSINE near."""
        asked = [text[span.start : span.stop] for text, span in zip(texts, spans, strict=True)]
        distinct = sorted(set(asked))
        found: dict[str, list[str]] = {}
        for start in range(0, len(distinct), WORDS_AT_ONCE):
            words = distinct[start : start + WORDS_AT_ONCE]
            found.update(zip(words, self._nearest(words), strict=True))
        return [found[word] for word in asked]

    def _nearest(self, words: Sequence[str]) -> list[list[str]]:
        known = [word if word in self._place else word.lower() for word in words]
        asked_BD = self._unit_WD[[self._place[word] for word in known]]
        cosine_BW = asked_BD @ self._unit_WD.T
        # Its other spellings are as near as a word has any, and are no proposals.
        near = cosine_BW.topk(min(4 * NEAREST, len(self._words)))
        proposals = []
        for word, values, places in zip(
            known, near.values.tolist(), near.indices.tolist(), strict=True
        ):
            alike = [self._words[p] for v, p in zip(values, places, strict=True) if v >= MIN_COSINE]
            other = [w for w in alike if w.lower() != word.lower() and _case(w) == _case(word)]
            proposals.append(other[:NEAREST])
        return proposals


class MaskedWords:
    """What a masked language model would put in a word's place."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._model = load_masked_lm(base)
        words = whole_words(base.tokenizer)
        self._words = {token: word for word, token in words.items()}
        self._whole_V = torch.zeros(int(self._model.config.vocab_size), dtype=torch.bool)
        self._whole_V[list(self._words)] = True

    def knows(self, word: str) -> bool:
        """Any word can be masked."""
        return True

    @torch.inference_mode()
    def propose(self, texts: Sequence[str], spans: Sequence[Span]) -> list[list[str]]:
        """The NEAREST likeliest whole words other than the one that stands there.

        A word beyond the MAX_TOKENS that the model reads gets none.
        """
        found = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = slice(start, start + TEXTS_AT_ONCE)
            found += self._propose(texts[part], spans[part])
        return found

    def _propose(self, texts: Sequence[str], spans: Sequence[Span]) -> list[list[str]]:
        tokenizer, mask = self._base.tokenizer, self._base.tokenizer.mask_token_id
        pairs = list(zip(texts, spans, strict=True))
        masked = [t[: s.start] + tokenizer.mask_token + t[s.stop :] for t, s in pairs]
        tokens = tokenizer(masked, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        ids_BT, mask_BT = pad(tokens, self._base)
        logits_BTV = self._model(input_ids=ids_BT, attention_mask=mask_BT).logits.float().cpu()
        logits_BTV[..., ~self._whole_V] = -torch.inf
        proposals: list[list[str]] = []
        for (text, span), row, logits_TV in zip(pairs, tokens, logits_BTV, strict=True):
            if mask not in row:
                proposals.append([])
                continue
            likely = logits_TV[row.index(mask)].topk(min(NEAREST + 2, len(self._words))).indices
            words = [self._words[token] for token in likely.tolist()]
            own = text[span.start : span.stop].lower()
            proposals.append([word for word in words if word.lower() != own][:NEAREST])
        return proposals


def whole_words(tokenizer: Any) -> dict[str, int]:
    """Tokens that are words by themselves, as they are read, and their ids.

    In WordPiece a part of a word begins with ##; in byte-level BPE and SentencePiece a word's first
    token is marked instead, so unmarked ones are parts.
    """
    vocabulary = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids)
    marked = [token for token in vocabulary if token[:1] in MARKS]
    tokens = marked if marked else list(vocabulary)
    words = {token[1:] if marked else token: vocabulary[token] for token in tokens}
    return {
        word: token
        for word, token in sorted(words.items())
        if WORD.fullmatch(word) and token not in special
    }


def _case(word: str) -> str:
    return "upper" if word.isupper() else "title" if word[:1].isupper() else "lower"
