"""The states of network and head together that could be kept, each as soon as it was trained."""

from collections.abc import Callable, Iterator

from tasks.recommender.adapter_phase import prepare_run, train_adapter
from tasks.recommender.adapter_step import AdapterRun
from tasks.recommender.encoder import Encoder
from tasks.recommender.head import HybridHead
from tasks.recommender.head_phase import copy_state, measure_head
from tasks.recommender.labelled import Labels
from tasks.recommender.long_short import long_and_short, mixtures
from tasks.recommender.losses import Floats
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Recipe
from tasks.recommender.selection import Candidate, EpochRecord, State, mean_auc

HEAD = "head."
"""Names of the head's numbers in a candidate's state begin with this; the others are the adapter's."""
Tell = Callable[[EpochRecord, int], None]
"""Told an epoch, and how many candidate rows it trained on."""


class AdapterCandidates:
    """An adapter run, and what the validation makes of each state that it goes through."""

    def __init__(
        self,
        encoder: Encoder,
        head: HybridHead,
        shots: Prepared,
        labels: Labels,
        validation: Prepared,
        relevant: Floats | None,
        recipe: Recipe,
        tell: Tell,
    ) -> None:
        """Prepare the run; `encoder` and `head`, from which it begins, are not changed.

        Args:
            relevant: (N,) of the validation's rows; None where clicks are taken at their word.
            tell: after every epoch, and after every merge.
        """
        self.run = prepare_run(encoder, head, shots, labels, validation, recipe)
        self._recipe, self._tell = recipe, tell
        self._begun = (encoder, head, shots, labels, validation, recipe)
        self._relevant = None if relevant is None else relevant[self.run.validation.rows]
        self._epoch = 0

    def measure(self, run: AdapterRun) -> Floats:
        """(V,) how well the drawn validation is ranked by a run as it is now."""
        slates = self.run.validation.slates
        return measure_head(run.head, run.validation_features(), slates, self._relevant)

    def all(self) -> Iterator[Candidate]:
        """Each epoch; or each mixture of a long-term and a short-term adapter, if the recipe says so."""
        return self._mixtures() if self._recipe.long_short else self._epochs()

    def _epochs(self) -> Iterator[Candidate]:
        for loss in train_adapter(self.run, self._recipe):
            aucs = self._trained(self.run, loss)
            state = _joined(self.run.encoder.trained_state(), copy_state(self.run.head))
            yield Candidate(f"adapter, epoch {self._epoch}", state, aucs)

    def _mixtures(self) -> Iterator[Candidate]:
        both = long_and_short(self.run, *self._begun, self._trained)
        for number, (share, made) in enumerate(mixtures(self.run, *both, self._recipe), start=1):
            aucs = self.measure(self.run)
            self._tell(EpochRecord("merge", number, None, mean_auc(aucs)), 0)
            state = _joined(made.adapter, made.head)
            yield Candidate(f"adapter, {share:.0%} long-term", state, aucs)

    def _trained(self, run: AdapterRun, loss: float) -> Floats:
        self._epoch += 1
        aucs = self.measure(run)
        record = EpochRecord("adapter", self._epoch, loss, mean_auc(aucs))
        self._tell(record, len(run.shots.rows))
        return aucs


def _joined(adapter: State, head: State) -> State:
    return {**adapter, **{HEAD + name: value for name, value in head.items()}}
