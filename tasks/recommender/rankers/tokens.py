"""Texts to token ids, without the traps: what a tokenizer adds, and what a title may smuggle in.

Tokenizers differ in what they put around a text (BERT [CLS] and [SEP], Llama its BOS, some an EOS that
would end a prompt before its answer), so that is found out once, by a probe, and put there by hand.
"""

import re
from collections.abc import Sequence
from typing import Any

from tasks.errors import ModelError

PROBE = "a"


class Tokens:
    """A tokenizer, and the special tokens that it puts before and after a text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = (str(token) for token in tokenizer.added_tokens_decoder.values())
        spelled = {*tokenizer.all_special_tokens, *added}
        self._special = re.compile("|".join(map(re.escape, sorted(spelled))) or "(?!)")
        self.before, self.after = self._specials()

    @property
    def mask(self) -> int | None:
        """The mask token; None where the tokenizer has none."""
        return self._tokenizer.mask_token_id

    @property
    def unknown(self) -> int | None:
        """The token of what the vocabulary cannot spell; None where it spells all."""
        return self._tokenizer.unk_token_id

    @property
    def filler(self) -> int:
        """What fills a batch up: the padding token, or any, as filler is masked (GPT-2 has none)."""
        return self._tokenizer.pad_token_id or 0

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text alone."""
        if not len(texts):
            return []
        found: list[list[int]] = self._tokenizer(
            list(texts), add_special_tokens=False, verbose=False
        )["input_ids"]
        return found

    def plain(self, texts: Sequence[str]) -> list[str]:
        """Each text without what the tokenizer would read as a special token, such as [MASK]."""
        return [self._special.sub(" ", text).strip() for text in texts]

    def cut(self, texts: Sequence[str], limit: int) -> list[str]:
        """Each text up to the end of its `limit`-th token."""
        if not len(texts):
            return []
        spans = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            return_offsets_mapping=True,
            verbose=False,
        )["offset_mapping"]
        return [
            text if len(span) <= limit else text[: span[limit - 1][1]].rstrip()
            for text, span in zip(texts, spans, strict=True)
        ]

    def spell(self, ids: Sequence[int]) -> list[str]:
        """The tokens as the vocabulary writes them, for people."""
        return list(self._tokenizer.convert_ids_to_tokens(list(ids)))

    def _specials(self) -> tuple[list[int], list[int]]:
        whole = list(self._tokenizer(PROBE)["input_ids"])
        bare = list(self._tokenizer(PROBE, add_special_tokens=False)["input_ids"])
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return whole[:start], whole[start + len(bare) :]
        raise ModelError(
            f"The tokenizer makes {whole} of {PROBE!r} with special tokens and {bare} without, so "
            "what it puts around a text cannot be told. Name another base in `finetune.base`."
        )
