"""Adaptation to the catalogue's texts before any label is seen.

Shapes: B texts of a step, T tokens, M masked tokens of a step, V vocabulary, D embedding width.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.nn.functional import cross_entropy

from tasks.errors import ModelError
from tasks.interactions.schema import UTC_TIME
from tasks.recommender.encoder import Encoder, pad, pool
from tasks.recommender.items import item_texts
from tasks.recommender.labels.heads import load_masked_lm
from tasks.recommender.learning.optimizer import Optimizer, mixed_precision
from tasks.recommender.recipe import Optimization, Unlabelled
from tasks.recommender.statistics import HOUR_US

TEXTS_A_STEP = 64
MASKED_SHARE = 0.15
"""Of a text's tokens; at least one is masked."""
TEMPERATURE = 0.05
"""As SimCSE's."""

Tokens = list[list[int]]
Loss = Callable[[Tokens], torch.Tensor]
"""Of the token ids of some texts."""


def pretrain(
    encoder: Encoder,
    texts: Sequence[str],
    unlabelled: Unlabelled,
    optimization: Optimization,
    *,
    seed: int,
) -> list[float]:
    """Train what the tuning put on the encoder's network to model `texts`; no other weight moves.

    The network is trained in place; `encoder.trained_state()` is what became of it.

    masked_lm: −log p(token | the rest) at MASKED_SHARE of the tokens, of which 8 in 10 are masked, 1
    is any other token and 1 stays (Devlin et al. 2019). The head that predicts is the checkpoint's,
    frozen.

    contrastive: with z and z' a text's unit vectors under two draws of dropout, and τ = TEMPERATURE,
    the mean of −log softmax_j(z_i · z'_j / τ) at j = i, over the step's texts (Gao et al. 2021).

    Args:
        encoder: after `start_training`.
        texts: distinct ones; `known_texts` gives them. Fewer than two teach nothing.
        unlabelled: which objective, and how many passes.
        optimization: the knobs of the steps; the peak rate is `encoder_learning_rate`.
        seed: of order, masks and dropout.

    Returns:
        Mean loss of each pass.

    Raises:
        ModelError: the tuning trains nothing of the network; the checkpoint has no masked-LM head;
            or the network has no dropout to tell two passes apart.

    Source: Gururangan et al. (2020), Don't stop pretraining.
    """
    if unlabelled.pretrain == "none" or len(texts) < 2:
        return []
    if not encoder.trained_parameters():
        raise ModelError(
            "`unlabelled.pretrain` trains what `tuning` names of the network, and that is nothing. "
            "Choose another `tuning.method`, or set `pretrain: none`."
        )
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if unlabelled.pretrain == "masked_lm":
            loss: Loss = MaskedLoss(encoder, rng)
        else:
            loss = ContrastiveLoss(encoder)
        encoder.network.train()
        encoder.drop(on=True)
        try:
            return _run(encoder, encoder.tokenize(texts), loss, unlabelled, optimization, rng)
        finally:
            encoder.drop(on=False)
            encoder.network.eval()


def known_texts(
    catalogue: pa.Table, item_hours: pa.Table, *, as_of: datetime, limit: int
) -> list[str]:
    """Distinct texts of the newest items that were known at `as_of`, the newest first.

    An item is known once it was published, or shown in an hour that was over by then; what came
    first is its age. Of an item with neither nothing says that it was not in the future.

    Args:
        catalogue: ITEMS.
        item_hours: ITEM_HOURS; later hours are not looked at.
        as_of: when training takes place, an aware time.
        limit: most texts.
    """
    moment = pa.scalar(as_of, UTC_TIME)
    over = pc.add(item_hours["hour"], pa.scalar(HOUR_US, pa.duration("us")))
    past = item_hours.filter(pc.less_equal(over, moment))
    shown = past.group_by("item_id").aggregate([("hour", "min")])
    since = shown["hour_min"].take(pc.index_in(catalogue["item_id"], shown["item_id"]))
    if "published_at" in catalogue.column_names:
        published = catalogue["published_at"].cast(UTC_TIME)
        public = pc.if_else(pc.less_equal(published, moment), published, pa.scalar(None, UTC_TIME))
        first = pc.min_element_wise(since.cast(pa.int64()), public.cast(pa.int64()))
        since = first.cast(UTC_TIME)
    known = catalogue.append_column("since", since).filter(pc.is_valid(since))
    known = known.sort_by([("since", "descending"), ("item_id", "ascending")])
    return [text for text in dict.fromkeys(item_texts(known)) if text][:limit]


class ContrastiveLoss:
    """A text to itself under other dropout, against the step's other texts."""

    def __init__(self, encoder: Encoder) -> None:
        dropouts = [m for m in encoder.network.modules() if isinstance(m, torch.nn.Dropout)]
        if not any(dropout.p for dropout in dropouts):
            raise ModelError(
                f"{encoder.base.name} has no dropout, so a text is the same twice and a contrast teaches "
                "nothing. Set `unlabelled.pretrain: masked_lm` or none, or name another base."
            )
        self._encoder = encoder

    def __call__(self, tokens: Tokens) -> torch.Tensor:
        """The loss on some texts' token ids, with a graph."""
        ids_BT, mask_BT = pad(tokens, self._encoder.base)
        first_BD, second_BD = (
            pool(
                self._encoder.network(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state,
                mask_BT,
            )
            for _ in range(2)
        )
        similar_BB = first_BD @ second_BD.T / TEMPERATURE
        return cross_entropy(similar_BB, torch.arange(len(tokens), device=similar_BB.device))


class MaskedLoss:
    """Masked tokens, predicted by the checkpoint's own head from what the network makes of them."""

    def __init__(self, encoder: Encoder, rng: np.random.Generator) -> None:
        self._encoder, self._rng = encoder, rng
        self._model = load_masked_lm(encoder.base)
        self._given = _Given()
        # The head is the model less its network: it is handed the hidden states of masked tokens.
        setattr(self._model, self._model.base_model_prefix, self._given)

    def __call__(self, tokens: Tokens) -> torch.Tensor:
        """The loss on some texts' token ids, with a graph."""
        ids_BT, mask_BT = pad(tokens, self._encoder.base)
        masked_BT, chosen_BT = (part.to(ids_BT.device) for part in self.mask(ids_BT.cpu()))
        hidden_BTD = self._encoder.network(
            input_ids=masked_BT, attention_mask=mask_BT
        ).last_hidden_state
        self._given.hidden = hidden_BTD[chosen_BT].unsqueeze(0)
        logits_MV = self._model(input_ids=ids_BT[chosen_BT].unsqueeze(0)).logits.squeeze(0)
        return cross_entropy(logits_MV.float(), ids_BT[chosen_BT])

    def mask(self, ids_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T) ids with some masked or altered, and which are to be predicted."""
        tokenizer = self._encoder.base.tokenizer
        special = np.isin(ids_BT.numpy(), tokenizer.all_special_ids)
        # The tokens with the lowest numbers are chosen: all below the share, and always the first.
        number = np.where(special, np.inf, self._rng.random(ids_BT.shape))
        lowest = number.min(1, keepdims=True)
        chosen = ~special & ((number < MASKED_SHARE) | (number == lowest))
        kind = self._rng.random(ids_BT.shape)
        other = self._rng.integers(0, len(tokenizer), ids_BT.shape)
        altered = np.where(chosen & (kind < 0.8), tokenizer.mask_token_id, ids_BT.numpy())
        altered = np.where(chosen & (kind >= 0.8) & (kind < 0.9), other, altered)
        return torch.from_numpy(altered), torch.from_numpy(chosen)


class _Given(torch.nn.Module):
    """Stands where a model's network was, and says what it was told."""

    hidden: torch.Tensor

    def forward(self, *_: Any, **__: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=self.hidden)


def _run(
    encoder: Encoder,
    tokens: Tokens,
    loss: Loss,
    unlabelled: Unlabelled,
    optimization: Optimization,
    rng: np.random.Generator,
) -> list[float]:
    steps = -(-len(tokens) // TEXTS_A_STEP)
    optimizer = Optimizer(
        [{"params": encoder.trained_parameters(), "lr": optimization.encoder_learning_rate}],
        optimization,
        steps * unlabelled.pretrain_epochs,
        phase="pre-training",
        after_move=encoder.after_step,
    )
    means = []
    for _ in range(unlabelled.pretrain_epochs):
        losses = []
        # Parts of like size: a last step of one text would have nothing to contrast it with.
        for part in np.array_split(rng.permutation(len(tokens)), steps):
            with mixed_precision(optimization, encoder.base.device):
                value = loss([tokens[row] for row in part])
            penalty = encoder.penalty()
            total = value if penalty is None else value + penalty
            total.backward()
            optimizer.step(total)
            losses.append(value.item())
        means.append(float(np.mean(losses)))
    return means
