"""Put a tuning method on a network: one function for all of the recipe's `tuning` blocks."""

from collections.abc import Sequence
from typing import Any, assert_never

import torch

from tasks.recommender.recipe import (
    IA3,
    AdaLora,
    Bottleneck,
    Full,
    HeadOnly,
    Lora,
    Prefix,
    PromptTuning,
    PTuning,
    TopLayers,
    Tuning,
)
from tasks.recommender.tuning.attached import Attached, freeze
from tasks.recommender.tuning.bottleneck import attach_bottleneck
from tasks.recommender.tuning.low_rank import attach_adalora, attach_ia3, attach_lora
from tasks.recommender.tuning.prefix import attach_prefix
from tasks.recommender.tuning.prompts import attach_prompt
from tasks.recommender.tuning.weights import (
    attach_full,
    attach_nothing,
    attach_top_layers,
    train_module,
)


def attach(
    network: Any,
    tuning: Tuning,
    *,
    seed: int,
    start_tokens: Sequence[int] = (),
    heads: Sequence[str] = (),
) -> Attached:
    """Freeze `network` and put on it what `tuning` trains.

    All methods but `prefix`, `prompt_tuning` and `p_tuning` start as the unchanged network, bit for
    bit where it computes in fp32; for those three see prefix.py and prompts.py. What is trained is fp32,
    whatever the network is.

    Args:
        network: of Hugging Face, in evaluation mode: an encoder, with or without a classifier, a
            masked or a causal language model.
        tuning: the method and its knobs.
        seed: of the weights that start at random.
        start_tokens: ids of frequent tokens, which a prompt starts as.
        heads: names of modules, such as `classifier`, that are untrained as yet, and so are
            trained and stored besides whatever the method.

    Raises:
        ModelError: the network has no place for the method, or its knobs make no sense. The
            network is as before then.
    """
    unfreeze = freeze(network)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            attached = _attach(network, tuning, start_tokens)
    except BaseException:
        unfreeze()
        raise
    for name in () if isinstance(tuning, Full) else heads:
        attached.extend(*train_module(network, network.get_submodule(name), hand_back=False))
    attached.extend({}, [unfreeze])
    return attached


def _attach(network: Any, tuning: Tuning, start_tokens: Sequence[int]) -> Attached:
    match tuning:
        case HeadOnly():
            return attach_nothing(network)
        case Full():
            return attach_full(network)
        case TopLayers():
            return attach_top_layers(network, tuning)
        case Lora():
            return attach_lora(network, tuning)
        case AdaLora():
            return attach_adalora(network, tuning)
        case IA3():
            return attach_ia3(network, tuning)
        case Prefix():
            return attach_prefix(network, tuning)
        case PromptTuning() | PTuning():
            return attach_prompt(network, tuning, start_tokens)
        case Bottleneck():
            return attach_bottleneck(network, tuning)
        case _:
            assert_never(tuning)
