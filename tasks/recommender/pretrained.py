"""Fine-tuning from an encoder that has read the catalogue first.

Source: Gururangan et al. (2020), Don't stop pretraining.
"""

from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import torch

from tasks.recommender.calibration import calibrate
from tasks.recommender.context import Context
from tasks.recommender.encoder import Encoder, carried
from tasks.recommender.finetune import can_judge, finetune
from tasks.recommender.finetuned import Finetuned, Progress
from tasks.recommender.head_phase import measure_head
from tasks.recommender.hybrid import HybridRanker
from tasks.recommender.items import item_texts
from tasks.recommender.labels.augment import named_items
from tasks.recommender.labels.pretrain import known_texts, pretrain
from tasks.recommender.prepare import Prepared
from tasks.recommender.propensity import row_relevance
from tasks.recommender.recipe import Recipe
from tasks.recommender.selection import mean_auc

KNOB = "unlabelled.pretrain"


def finetune_pretrained(
    start: HybridRanker,
    shots: pa.Table,
    validation: pa.Table,
    context: Context,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
) -> Finetuned:
    """`finetune`, from the start with an encoder that was adapted to the catalogue's texts.

    Shots and validation are embedded by that encoder. What comes of it stays if it ranks the
    validation no worse than `start`; else `start` itself is fine-tuned. Where the validation cannot
    judge (`can_judge`), or fewer than two texts are known, nothing is pre-trained.

    Raises:
        ModelError: as `finetune` and `pretrain` do.
    """
    wanted = recipe.unlabelled.pretrain != "none" and len(shots) and len(validation)
    if not wanted or not can_judge(validation, recipe):
        return finetune(start, shots, validation, context, recipe, progress=progress)
    texts = texts_at_training(shots, validation, context, limit=recipe.unlabelled.pretrain_items)
    if len(texts) < 2:
        tuned = finetune(start, shots, validation, context, recipe, progress=progress)
        return _noted(tuned, f"{KNOB}: skipped, for {len(texts)} texts were known at the time")
    begun, losses = pretrained(start, texts, recipe)
    read = f"{KNOB}: {len(texts):,} texts, mean loss {losses[0]:.4f} to {losses[-1]:.4f}"
    # Most of what this encoder makes of texts is of no use to anybody else.
    with TemporaryDirectory() as folder:
        own = replace(context, embeddings_folder=Path(folder))
        tuned = finetune(begun, shots, validation, own, recipe, progress=progress)
        assert isinstance(tuned.ranker, HybridRanker)
        before = _auc(start, start.prepare(validation, context), validation)
        held = tuned.ranker.prepare(validation, own)
    after = tuned.validation_auc
    if before is None or after is None or after < before:
        again = finetune(start, shots, validation, context, recipe, progress=progress)
        again = replace(again, epochs=[*tuned.epochs, *again.epochs], rows=tuned.rows + again.rows)
        return _noted(again, f"{read}; dropped, for it ranks the validation below the start")
    if tuned.kept == "start":
        calibrate(tuned.ranker.head, held.features, torch.from_numpy(held.slates.label))
    kept = "pre-trained" + ("" if tuned.kept == "start" else f", {tuned.kept}")
    return _noted(replace(tuned, kept=kept), read)


def pretrained(
    start: HybridRanker, texts: list[str], recipe: Recipe
) -> tuple[HybridRanker, list[float]]:
    """A copy of `start` whose adapter has read `texts`, and the mean loss of each pass."""
    training = Encoder(start.base)
    training.start_training(recipe.tuning, carried(start.encoder, recipe.tuning), seed=recipe.seed)
    losses = pretrain(training, texts, recipe.unlabelled, recipe.optimization, seed=recipe.seed)
    encoder = Encoder(start.base)
    encoder.set_adapter(training.trained_state(), recipe.tuning)
    return HybridRanker(encoder, deepcopy(start.head)), losses


def texts_at_training(
    shots: pa.Table, validation: pa.Table, context: Context, *, limit: int
) -> list[str]:
    """Distinct texts of the items that shots and validation name, then of others known by then."""
    seen = [named_items(rows) for rows in (shots, validation)]
    named = context.catalogue.filter(
        pc.is_in(context.catalogue["item_id"], pa.concat_arrays(seen).unique())
    )
    others = known_texts(
        context.catalogue, context.item_hours, as_of=_latest(shots, validation), limit=limit
    )
    own = [text for text in item_texts(named) if text]
    return list(dict.fromkeys([*own, *others]))[:limit]


def _latest(*tables: pa.Table) -> datetime:
    return max(pc.max(rows["event_time"]).as_py() for rows in tables)


def _auc(ranker: HybridRanker, held: Prepared, rows: pa.Table) -> float | None:
    relevant = row_relevance(rows, held.slates.order)
    return mean_auc(measure_head(ranker.head, held.features, held.slates, relevant))


def _noted(tuned: Finetuned, note: str) -> Finetuned:
    return replace(tuned, notes=(*tuned.notes, note))
