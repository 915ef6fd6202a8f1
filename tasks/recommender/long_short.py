"""A long-term and a short-term adapter, each with its head, and what lies between them.

The long-term adapter is the start's, which training leaves as it is; a start without one gets one
that is trained on all shots. The short-term adapter begins afresh and sees the newest shots alone.
How much of each is taken is chosen on the validation, both ends included.

Source: Shi et al. (2023), Preliminary study on incremental learning for large language model-based
recommender systems (LSAT).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tasks.recommender.adapter_phase import prepare_run, train_adapter
from tasks.recommender.adapter_step import AdapterRun
from tasks.recommender.encoder import Encoder
from tasks.recommender.head import HybridHead
from tasks.recommender.head_phase import copy_state
from tasks.recommender.labelled import Labels, trainable
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Recipe
from tasks.recommender.selection import State, between
from tasks.recommender.tuning.merge import merge

NEWEST_SHARE = 0.25
"""Of the shots that teach something: those that the short-term adapter is trained on."""
LONG_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the long-term adapter that are tried."""

Tell = Callable[[AdapterRun, float], object]
"""Told a run and the mean loss of the epoch that it has just been trained for."""


@dataclass(frozen=True)
class Learned:
    """What a run has made of the network and of the head over it."""

    adapter: State
    head: State


def long_and_short(
    run: AdapterRun,
    start: Encoder,
    head: HybridHead,
    shots: Prepared,
    labels: Labels,
    validation: Prepared,
    recipe: Recipe,
    tell: Tell,
) -> tuple[Learned, Learned]:
    """Train what has to be trained of the two.

    Args:
        run: over all shots, from the start's adapter; it is trained only if the start has none.
        start: not changed.
        head: over which both begin; not changed.
        shots, labels, validation, recipe: as `prepare_run` takes them.
        tell: after each epoch.

    Returns:
        The long-term and the short-term one.
    """
    if start.adapter is None:
        for loss in train_adapter(run, recipe):
            tell(run, loss)
    plain, few = Encoder(start.base), newest_only(shots, recipe)
    short = prepare_run(plain, head, shots, labels, validation, few)
    for loss in train_adapter(short, few):
        tell(short, loss)
    return _learned(run), _learned(short)


def mixtures(
    run: AdapterRun, long: Learned, short: Learned, recipe: Recipe
) -> Iterator[tuple[float, Learned]]:
    """Each share of the long-term adapter, and what comes of it; `run` is left at that."""
    for share in LONG_SHARES:
        adapter = merge(recipe.tuning, long.adapter, short.adapter, share)
        head = between(short.head, long.head, share)
        run.encoder.set_adapter(adapter, recipe.tuning)
        run.head.load_state_dict(head)
        yield share, Learned(adapter, head)


def newest_only(shots: Prepared, recipe: Recipe) -> Recipe:
    """`recipe`, under which a run draws the newest NEWEST_SHARE of the shots alone."""
    num = min(len(trainable(shots.slates, recipe.objective)), recipe.adapter_slates)
    return replace(recipe, adapter_slates=math.ceil(NEWEST_SHARE * num))


def _learned(run: AdapterRun) -> Learned:
    return Learned(run.encoder.trained_state(), copy_state(run.head))
