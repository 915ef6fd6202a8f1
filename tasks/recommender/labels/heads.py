"""Models whose heads have to be in the checkpoint: a head that is drawn at random knows nothing."""

from typing import Any

from tasks.errors import ModelError
from tasks.recommender.base import Base


def load_masked_lm(base: Base) -> Any:
    """A frozen masked language model of `base`, in evaluation mode.

    Raises:
        ModelError: the checkpoint has no masked-LM head (all-MiniLM-L6-v2 as published has none), or
            its tokenizer no mask.
    """
    from transformers import AutoModelForMaskedLM

    model, problem = _load(AutoModelForMaskedLM, base)
    if problem is None and base.tokenizer.mask_token_id is None:
        problem = "its tokenizer has no mask token"
    if problem is not None:
        raise ModelError(
            f"{base.name} has no masked-LM head: {problem}. Set `unlabelled.pretrain: contrastive` "
            "and `augment.synonyms_from: neighbours`, which need none, or name a masked LM."
        )
    return model


def load_seq2seq(base: Base) -> Any:
    """A frozen sequence-to-sequence model of `base`, in evaluation mode.

    Raises:
        ModelError: the checkpoint is none, or lacks a part of it.
    """
    from transformers import AutoModelForSeq2SeqLM

    model, problem = _load(AutoModelForSeq2SeqLM, base)
    if problem is not None:
        raise ModelError(
            f"{base.name} does not load as a translation model: {problem}. Name two "
            "sequence-to-sequence models with safetensors weights in `augment.back_translation`, or "
            "leave it out."
        )
    return model


def _load(kind: Any, base: Base) -> tuple[Any, str | None]:
    """The model, or what keeps it from loading whole."""
    from safetensors import SafetensorError

    try:
        model, info = kind.from_pretrained(
            str(base.folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=base.dtype,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        return None, (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
    if info["missing_keys"]:
        return None, f"{min(info['missing_keys'])} is not in its weights"
    return model.requires_grad_(requires_grad=False).eval().to(base.device), None
