"""Fine-tuning, second phase: LoRA adapter and head together, by steps over distinct items.

Shapes: N rows, I items, D embedding width.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.recommender.draw import Drawn, draw_slates
from tasks.recommender.encoder import AdapterShape, Encoder
from tasks.recommender.head import Features, HybridHead
from tasks.recommender.head_phase import Anchor, check_finite, head_groups, trainable, warmup
from tasks.recommender.losses import listwise_loss
from tasks.recommender.prepare import Prepared, assemble
from tasks.recommender.recipe import Recipe
from tasks.recommender.slates import Slates
from tasks.recommender.tower import Tower, push_back


@dataclass(frozen=True)
class AdapterRun:
    """What both adapter steps and their validation stand on."""

    encoder: Encoder
    """With an adapter attached that is being trained."""
    head: HybridHead
    tower: Tower
    """Over the items of shots and validation, the shots' first."""
    shots: Drawn
    validation: Drawn
    known: NDArray[np.bool_]
    """Whether each item of the tower has a text."""
    behaviour_shots: NDArray[np.float32]
    behaviour_validation: NDArray[np.float32]

    @torch.no_grad()
    def validation_features(self) -> Features:
        """The drawn validation's features under the adapter as it is now."""
        items = len(self.shots.items) + np.arange(len(self.validation.items))
        vectors = self.tower.embed_all(items)
        slates = self.validation.slates
        return assemble(vectors, slates, self.known[items], self.behaviour_validation)


def prepare_run(
    encoder: Encoder, head: HybridHead, shots: Prepared, validation: Prepared, recipe: Recipe
) -> AdapterRun:
    """Attach a fresh adapter to a copy of `encoder`, draw slates, and run the frozen layers once.

    `encoder` and `head` are not changed. The newest shots are drawn first.
    """
    rng = np.random.default_rng(recipe.seed)
    newest = trainable(shots.slates)
    newest = newest[np.argsort(-_slate_hours(shots.slates)[newest], kind="stable")]
    newest = newest[: recipe.adapter_slates]
    drawn = draw_slates(
        shots.slates,
        newest,
        max_items=recipe.adapter_max_items,
        max_history=recipe.adapter_history,
        negatives=recipe.adapter_negatives,
        rng=rng,
    )
    held = draw_slates(
        validation.slates,
        trainable(validation.slates),
        max_items=recipe.adapter_max_items,
        max_history=validation.slates.history.shape[1],
        negatives=len(validation.slates.slate),
        rng=rng,
    )
    own = Encoder(encoder.base)
    own.start_training(
        AdapterShape(recipe.adapter_rank, 2 * recipe.adapter_rank, recipe.adapter_layers),
        encoder.adapter,
        seed=recipe.seed,
    )
    texts = [shots.items.texts[item] for item in drawn.items]
    texts += [validation.items.texts[item] for item in held.items]
    return AdapterRun(
        own,
        deepcopy(head),
        Tower(own, texts),
        drawn,
        held,
        np.array([bool(text) for text in texts], np.bool_),
        shots.features.behaviour.cpu().numpy()[drawn.rows],
        validation.features.behaviour.cpu().numpy()[held.rows],
    )


def train_adapter(run: AdapterRun, recipe: Recipe) -> Iterator[float]:
    """Train the run's adapter and head in place; yields each epoch's mean loss."""
    groups = head_groups(run.head, recipe.learning_rate / 10)
    adapter = {"params": run.encoder.trained_parameters(), "lr": recipe.adapter_learning_rate}
    optimizer = torch.optim.AdamW([*groups, adapter], weight_decay=0.0)
    num_slates = len(run.shots.slates.history)
    steps = -(-num_slates // recipe.adapter_slates_per_step) * recipe.adapter_epochs
    schedule = warmup(optimizer, steps, recipe.warmup_share)
    start = Anchor(run.head, recipe.weight_decay)
    rng = np.random.default_rng(recipe.seed)
    for epoch in range(1, recipe.adapter_epochs + 1):
        run.head.train()
        order, losses = rng.permutation(num_slates), []
        for first in range(0, num_slates, recipe.adapter_slates_per_step):
            chosen = order[first : first + recipe.adapter_slates_per_step]
            optimizer.zero_grad()
            loss = backward_step(run, chosen)
            check_finite(loss, "adapter", epoch)
            optimizer.step()
            start.pull(optimizer.param_groups[0]["lr"])
            schedule.step()
            losses.append(loss.item())
        yield float(np.mean(losses))


def backward_step(run: AdapterRun, chosen: NDArray[np.int64]) -> torch.Tensor:
    """Leave the listwise loss's gradient over some slates in adapter and head; returns the loss.

    The distinct items are embedded without a graph, the head runs over all rows, the gradient is
    caught at the embeddings, and then pushed through the encoder batch by batch.
    """
    everything = len(run.shots.slates.slate) + len(run.shots.items)
    step = draw_slates(
        run.shots.slates,
        chosen,
        max_items=everything,
        max_history=run.shots.slates.history.shape[1],
        negatives=everything,
        rng=np.random.default_rng(0),
    )
    vectors_ID = run.tower.embed_all(step.items).requires_grad_()
    behaviour = run.behaviour_shots[step.rows]
    features = assemble(vectors_ID, step.slates, run.known[step.items], behaviour)
    device = vectors_ID.device
    clicked = torch.from_numpy(step.slates.label.astype(np.float32)).to(device)
    slate = torch.from_numpy(step.slates.slate).to(device)
    loss = listwise_loss(run.head.rank(features), clicked, slate, len(chosen))
    loss.backward()
    if vectors_ID.grad is not None:
        push_back(run.tower, step.items, vectors_ID.grad)
    return loss.detach()


def _slate_hours(slates: Slates) -> NDArray[np.int64]:
    return slates.hour[slates.starts]
