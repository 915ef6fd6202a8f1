"""The ranker that a recipe names: before any shot, and after some."""

from dataclasses import replace
from time import perf_counter

import pyarrow as pa

from tasks.errors import ModelError
from tasks.recommender.base import load_base
from tasks.recommender.context import Context
from tasks.recommender.enrich import enrich
from tasks.recommender.finetuned import Finetuned, Progress
from tasks.recommender.hybrid import HybridRanker, zero_shot
from tasks.recommender.pretrained import finetune_pretrained
from tasks.recommender.protocol import Ranker
from tasks.recommender.rankers.cross_encoder import Classification
from tasks.recommender.rankers.prompt import Questioning
from tasks.recommender.rankers.ranker import Task, TextRanker
from tasks.recommender.rankers.template import load_template
from tasks.recommender.rankers.text_finetune import finetune_texts
from tasks.recommender.recipe import CrossEncoder, Hybrid, RankerKind, Recipe
from tasks.recommender.recipe_check import require_sense


def zero_shot_ranker(
    kind: RankerKind, base: str, *, device: str = "auto", precision: str = "auto"
) -> Ranker:
    """The ranker of that kind that has seen no shots.

    `hybrid` and `cross_encoder` rank by text match alone, `prompt` by what its model answers.

    Raises:
        ModelError: the base is missing, altered, or of no use to this ranker.
    """
    if isinstance(kind, Hybrid):
        return zero_shot(base, device=device, precision=precision)
    found = load_base(base, device=device, precision=precision)
    task: Task
    if isinstance(kind, CrossEncoder):
        task = Classification(found, kind)
    else:
        task = Questioning(found, kind, load_template(kind.template))
    return TextRanker(task, task.new_readout(seed=0))


def finetune_ranker(
    start: Ranker,
    shots: pa.Table,
    validation: pa.Table,
    context: Context,
    recipe: Recipe,
    *,
    unlabelled: pa.Table | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Move `start` by all of `recipe`: enrich the shots, then the fine-tuning of its kind.

    See `enrich` for the shots, `finetune_pretrained` and `finetune` for `hybrid`, and `finetune_texts`
    for the others.

    Args:
        start: a ranker of the recipe's kind. It is not changed.
        shots, validation, context, recipe, progress: as `finetune` takes them.
        unlabelled: rows of impressions that were not drawn as shots, no later than the validation,
            for `unlabelled.pseudo_labels`; their labels are not looked at.

    Raises:
        ModelError: the recipe is another ranker's, or training diverged.
    """
    began = perf_counter()
    require_sense(recipe)
    hybrid = isinstance(start, HybridRanker) and isinstance(recipe.ranker, Hybrid)
    if not hybrid and not isinstance(start, TextRanker):
        raise ModelError(
            f"The recipe's ranker is {recipe.ranker.kind}, and the start is a {type(start).__name__}. "
            "Begin with `zero_shot_ranker` of the recipe."
        )
    given = enrich(start, shots, validation, context, recipe, unlabelled)
    rows = (given.shots, validation, given.context, recipe)
    if isinstance(start, TextRanker):
        tuned = finetune_texts(start, *rows, progress=progress)
    else:
        assert isinstance(start, HybridRanker)
        tuned = finetune_pretrained(start, *rows, progress=progress)
    return replace(tuned, notes=(*given.notes, *tuned.notes), seconds=perf_counter() - began)
