"""What the choice and the weights of a day's shots rest on, beside the shots: computed where a knob asks."""

from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.context import published_context
from tasks.references import Published
from tasks.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tasks.recommender.context import Context
    from tasks.recommender.labels.evidence import Evidence
    from tasks.recommender.propensity import Examination
    from tasks.recommender.protocol import Ranker
    from tasks.recommender.recipe import Selection


def shot_evidence(
    workspace: Workspace,
    published: Published,
    recent: pa.Table,
    replay: pa.Table,
    start: "Ranker",
) -> "Evidence":
    """What `finetune.selection` asks for; nothing where it takes the newest and draws evenly.

    Args:
        recent: the day's rows that may be trained on.
        replay: those of the days before it.
        start: the ranker that training begins with.
    """
    from tasks.recommender.encoder import Encoder
    from tasks.recommender.hybrid import HybridRanker
    from tasks.recommender.labels.classes import category_shift
    from tasks.recommender.labels.evidence import Evidence, impression_vectors
    from tasks.recommender.prepare import prepare

    if not _asks(workspace.config.finetune.selection):
        return Evidence()
    context = _context(workspace, published, [recent, replay])

    def vectors(rows: pa.Table) -> "NDArray[np.float64]":
        # A ranker of whole texts has no vectors of items: its base gives them, as published.
        encoder = start.encoder if isinstance(start, HybridRanker) else Encoder(start.base)
        prepared = prepare(rows, context, encoder, start.base.device)
        return impression_vectors(prepared.slates, prepared.items.vectors)

    return Evidence(
        catalogue=context.catalogue,
        probabilities=lambda rows: start.probabilities(rows, context),
        vectors=vectors,
        # A first day has no earlier ones to have moved from.
        shift=category_shift(replay if len(replay) else recent, recent, context.catalogue),
    )


def examination_of(
    workspace: Workspace, published: Published, seen: list[pa.Table], ranker: "Ranker"
) -> "Examination":
    """How far readers of `seen` look, given the ranker's scores of what they were shown.

    Args:
        seen: rows that may be trained on: nothing of the validation or later.
        ranker: the log's own layout may have put first what suits the user, as its scores tell.

    Raises:
        ModelError: the log has no positions, or too few clicks to tell them apart.
    """
    from tasks.recommender.propensity import estimate_examination

    rows = pa.concat_tables(seen)
    scores = ranker.probabilities(rows, _context(workspace, published, seen))
    return estimate_examination(rows["position"], rows["label"], rows["item_id"], scores)


def debiased(rows: pa.Table, examination: "Examination") -> pa.Table:
    """`rows` with what inverse propensities make of their clicks.

    `weight` is what each row counts in the loss, `relevance` what a state is chosen by.
    """
    from tasks.recommender.labels.pseudo import WEIGHT
    from tasks.recommender.propensity import (
        RELEVANCE,
        expected_relevance,
        inverse_propensity_weights,
    )

    judged = (rows["position"], rows["label"], examination)
    weighed = rows.append_column(WEIGHT, pa.array(inverse_propensity_weights(*judged)))
    return weighed.append_column(RELEVANCE, pa.array(expected_relevance(*judged)))


def _asks(selection: "Selection") -> bool:
    drawn = selection.policy in ("recent", "random") and selection.replay == "random"
    return not drawn or selection.hardness > 0


def _context(workspace: Workspace, published: Published, rows: list[pa.Table]) -> "Context":
    days = workspace.config.finetune.window_days
    return published_context(workspace, pa.concat_tables(rows), published, days=days)
