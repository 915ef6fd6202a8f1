"""What fine-tuning learns from beside the labels of its shots: altered copies, the start's own answers.

Impressions without labels are those that could have been shots and were not drawn, whose labels nothing
looks at here; never the validation, nor anything later.
"""

from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from tasks.recommender.context import Context
from tasks.recommender.finetune import FEWEST_JUDGES, can_judge
from tasks.recommender.hybrid import HybridRanker
from tasks.recommender.labels.augment import augment_shots
from tasks.recommender.labels.impressions import count_impressions, newest
from tasks.recommender.labels.pseudo import pseudo_label
from tasks.recommender.protocol import Ranker
from tasks.recommender.recipe import Hybrid, Recipe
from tasks.recommender.recipe_check import network_terms, trains_network

ASKED = 10
"""Impressions without labels that the start is asked about, for each shot."""


@dataclass(frozen=True)
class Material:
    """What fine-tuning takes instead of the bare shots."""

    shots: pa.Table
    context: Context
    notes: tuple[str, ...]
    """What was asked for and could not be done: a line each."""


def enrich(
    start: Ranker,
    shots: pa.Table,
    validation: pa.Table,
    context: Context,
    recipe: Recipe,
    unlabelled: pa.Table | None,
) -> Material:
    """The shots with what `recipe.augment` and `recipe.unlabelled` add to them.

    Where they add nothing, shots and context are the very objects that were given, so that a caller
    may recognise them.

    Args:
        start: what training begins with.
        shots: labelled rows of whole impressions.
        validation: later in time; nothing of it is added.
        context: its catalogue gets the altered items.
        recipe: the knobs.
        unlabelled: rows of impressions that were not drawn as shots, no later than the validation;
            None where the caller has none.

    Raises:
        ModelError: a model that `augment` names does not load.
    """
    notes = list(_ignored(validation, recipe))
    rows = shots
    if recipe.augment.copies:
        rows, catalogue = augment_shots(
            shots, context.catalogue, recipe.augment, start.base, seed=recipe.seed
        )
        context = replace(context, catalogue=catalogue)
    if recipe.unlabelled.pseudo_labels:
        answers, note = own_answers(start, shots, validation, context, recipe, unlabelled)
        if len(answers):
            rows = pa.concat_tables([rows, answers], promote_options="permissive")
        notes.append(note)
    return Material(rows, context, tuple(notes))


def own_answers(
    start: Ranker,
    shots: pa.Table,
    validation: pa.Table,
    context: Context,
    recipe: Recipe,
    unlabelled: pa.Table | None,
) -> tuple[pa.Table, str]:
    """Rows labelled by `start` where it is sure, at most as many impressions as shots; and a note.

    The newest impressions are asked about first. Where the validation is too small to judge, shots
    judge by cross-fitting: then there are none, for the start's answers would speak for the start.
    """
    knob, confidence = "unlabelled.pseudo_labels", recipe.unlabelled.pseudo_labels
    none = shots.slice(0, 0)
    if unlabelled is None or not len(unlabelled):
        return none, f"{knob}: nothing to label, for every impression is a shot"
    if isinstance(start, HybridRanker) and start.head.untrained:
        return none, (
            f"{knob}: no labels, for the start is the zero-shot score, whose confidence is not "
            "calibrated; set warm_start: champion"
        )
    if not can_judge(validation, recipe):
        return (
            none,
            f"{knob}: no labels, for the shots have to judge, and these would judge themselves",
        )
    num = count_impressions(shots)
    asked = newest(_others(unlabelled, shots, validation), ASKED * num)
    if not len(asked):
        return none, f"{knob}: nothing to label, for every impression is a shot"
    answers, _ = pseudo_label(asked, start.probabilities(asked, context), confidence)
    answers = newest(answers, num) if len(answers) else answers
    return answers, (
        f"{knob}: {count_impressions(answers):,} of {count_impressions(asked):,} impressions without "
        f"labels were answered by the start with a confidence of {confidence:g} or more"
    )


def _others(rows: pa.Table, *seen: pa.Table) -> pa.Table:
    """The rows of impressions that none of `seen` shows."""
    for table in seen:
        known = table["impression_id"].combine_chunks()
        rows = rows.filter(pc.invert(pc.is_in(rows["impression_id"], known)))
    return rows


def _ignored(validation: pa.Table, recipe: Recipe) -> list[str]:
    """What a validation that cannot judge makes of the recipe: the head alone is trained."""
    judged = not isinstance(recipe.ranker, Hybrid) or can_judge(validation, recipe)
    if judged or not trains_network(recipe):
        return []
    idle = ["adapter_epochs", *network_terms(recipe)]
    return [
        f"{count_impressions(validation):,} impressions of validation cannot judge a network, which "
        f"takes {FEWEST_JUDGES}: they are shots, only the head is trained, and {', '.join(idle)} "
        "have no effect; raise validation_share, or wait for more rows"
    ]
