"""Texts said in other words: translated there and back by two configured models."""

from collections.abc import Sequence
from typing import Any

import torch

from tasks.recommender.base import Base, load_base
from tasks.recommender.encoder import MAX_TOKENS
from tasks.recommender.labels.heads import load_seq2seq

TEXTS_AT_ONCE = 32
SAMPLED_FROM = 10
"""Likeliest tokens that later copies draw each next one from (top-k sampling)."""


class BackTranslation:
    """An alteration: there with one sequence-to-sequence model, and back with the other.

    The first copy takes the likeliest token at each step of the way back; later copies draw among
    the SAMPLED_FROM likeliest, so that they differ. A translation without any text is refused.

    Source: Sennrich et al. (2016); sampled, Edunov et al. (2018).
    """

    def __init__(self, there: str, back: str, *, device: str, seed: int) -> None:
        self._there, self._back = load_translator(there, device), load_translator(back, device)
        self._seed = seed

    def __call__(self, texts: Sequence[str], copy: int) -> list[str]:
        """(B,) texts, translated there and back; as they were where nothing came back."""
        abroad = self._there.translate(texts, sample=False)
        with torch.random.fork_rng():
            torch.manual_seed(self._seed + copy)
            home = self._back.translate(abroad, sample=copy > 1)
        return [new if new else old for new, old in zip(home, texts, strict=True)]


class Translator:
    """One sequence-to-sequence model and its tokenizer."""

    def __init__(self, base: Base, model: Any) -> None:
        self._base, self._model = base, model

    @torch.inference_mode()
    def translate(self, texts: Sequence[str], *, sample: bool) -> list[str]:
        """(B,) translations, without special tokens and outer spaces."""
        tokenizer, found = self._base.tokenizer, []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            read = tokenizer(
                list(texts[start : start + TEXTS_AT_ONCE]),
                truncation=True,
                max_length=MAX_TOKENS,
                padding=True,
                return_tensors="pt",
            ).to(self._base.device)
            written = self._model.generate(
                input_ids=read["input_ids"],
                attention_mask=read["attention_mask"],
                max_new_tokens=MAX_TOKENS,
                num_beams=1,
                do_sample=sample,
                top_k=SAMPLED_FROM if sample else None,
            )
            found += tokenizer.batch_decode(written, skip_special_tokens=True)
        return [text.strip() for text in found]


def load_translator(name: str, device: str) -> Translator:
    """The sequence-to-sequence model `name`: a local folder, or from the Hugging Face hub.

    Raises:
        ModelError: it is not there, has no safetensors weights, or does not translate.
    """
    base = load_base(name, device=device, precision="fp32")
    return Translator(base, load_seq2seq(base))
