"""One trial of a sweep: fine-tune by a recipe, and rank the whole validation with what came of it.

Shapes: V validation impressions that hold a click and a skip.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.recommender.context import Context
from tasks.recommender.hybrid import HybridRanker
from tasks.recommender.losses import Floats, slate_aucs
from tasks.recommender.prepare import Prepared
from tasks.recommender.propensity import debiased_slate_aucs, row_relevance
from tasks.recommender.protocol import Ranker
from tasks.recommender.rankers.choose import finetune_ranker
from tasks.recommender.recipe import Recipe
from tasks.recommender.selection import EpochRecord

Report = Callable[[int, float], None]
"""Told a step and the validation AUC at it; may raise to end the trial."""

FIRST_STEP = {"head": 0, "adapter": 1_000, "network": 1_000}
"""Steps of a phase are counted from here, so that epochs are compared with the same phase's."""


class PreparesOnce(HybridRanker):
    """A ranker that remembers the features of the tables it was asked for last.

    They depend on its encoder alone, which fine-tuning copies and never changes; so all trials that
    train only a head share them.
    """

    KEPT = 4

    def __init__(self, ranker: HybridRanker) -> None:
        super().__init__(ranker.encoder, ranker.head)
        self._known: list[tuple[pa.Table, Context, Prepared]] = []

    def prepare(self, rows: pa.Table, context: Context) -> Prepared:
        """Features of `rows`, computed at the first asking."""
        for known, beside, prepared in self._known:
            if beside is context and (known is rows or known.equals(rows)):
                return prepared
        prepared = super().prepare(rows, context)
        self._known = [*self._known[1 - self.KEPT :], (rows, context, prepared)]
        return prepared


def preparing_once(ranker: Ranker) -> Ranker:
    """`ranker`, with a memory for features if it computes any."""
    return PreparesOnce(ranker) if isinstance(ranker, HybridRanker) else ranker


@dataclass(frozen=True)
class Bench:
    """What all trials of a sweep have in common."""

    start: Ranker
    shots: pa.Table
    validation: pa.Table
    context: Context
    unlabelled: pa.Table | None = None
    """Impressions that were not drawn as shots, for pseudo-labels."""

    def run(self, recipe: Recipe, *, seeds: int, report: Report) -> Floats:
        """Fine-tune under `seeds` seeds; the mean AUC of each validation impression.

        Args:
            recipe: its seed is the first.
            seeds: runs, which differ in shuffling, dropout and initial weights.
            report: told each epoch of the first run.

        Returns:
            (V,) AUC of each impression that ranks anything, in the order of their ids, mean over seeds.
        """
        runs = [
            self._run(replace(recipe, seed=recipe.seed + n), report if n == 0 else None)
            for n in range(seeds)
        ]
        return np.mean(runs, axis=0)

    def _run(self, recipe: Recipe, report: Report | None) -> Floats:
        def tell(epoch: EpochRecord) -> None:
            if report and epoch.phase in FIRST_STEP and epoch.validation_auc is not None:
                report(FIRST_STEP[epoch.phase] + epoch.epoch, epoch.validation_auc)

        tuned = finetune_ranker(
            self.start,
            self.shots,
            self.validation,
            self.context,
            replace(recipe, learn_validation=False),  # it judges the trial
            unlabelled=self.unlabelled,
            progress=tell,
        )
        return self.aucs(tuned.ranker)

    def aucs(self, ranker: Ranker) -> Floats:
        """(V,) AUC of each validation impression under `ranker`; by relevance where it is known."""
        if not len(self.validation):
            return np.empty(0)
        scores = self._scores(ranker)
        ids = pc.rank(self.validation["impression_id"], tiebreaker="dense").to_numpy()
        clicked = self.validation["label"].to_numpy().astype(np.float64)
        slate = ids.astype(np.int64) - 1
        relevant = row_relevance(self.validation, np.arange(len(slate)))
        if relevant is not None:
            return debiased_slate_aucs(scores, relevant, slate)
        return slate_aucs(scores, clicked, slate)

    def _scores(self, ranker: Ranker) -> Floats:
        """(N,) click probabilities of the validation's rows."""
        if not isinstance(ranker, HybridRanker):
            return ranker.probabilities(self.validation, self.context)
        start = self.start
        if isinstance(start, HybridRanker) and ranker.encoder is start.encoder:
            return ranker.predict(start.prepare(self.validation, self.context))
        # What a trial's encoder makes of the catalogue is of no use to anybody else.
        with TemporaryDirectory() as folder:
            context = replace(self.context, embeddings_folder=Path(folder))
            return ranker.probabilities(self.validation, context)
