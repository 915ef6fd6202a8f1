"""`prompt`: a question put to a language model; the log-odds of its answers are the score.

    score = log Σ_yes p(word | question) − log Σ_no p(word | question)

A masked model answers at its mask token, a causal one goes on after the question.

Sources: Schick and Schütze (2021) for masked models; Brown et al. (2020) for worked examples in the
context; Bao et al. (2023), TALLRec, for questions about a user's taste.

Shapes: B sequences, V sequences of a text, T tokens, D embedding width.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tasks.recommender.base import Base
from tasks.recommender.context import Context
from tasks.recommender.rankers.network import TextNetwork
from tasks.recommender.rankers.questions import Composer, Lines, tell
from tasks.recommender.rankers.reading import Reading
from tasks.recommender.rankers.readout import Readout
from tasks.recommender.rankers.template import Template
from tasks.recommender.rankers.tokens import Tokens
from tasks.recommender.rankers.verbalizer import read_answers
from tasks.recommender.recipe import Prompt


@dataclass(frozen=True)
class Example:
    """A worked example: a shot's question, answered."""

    text: str
    clicked: bool


class Questioning:
    """What is asked of rows, and how the answers score them."""

    def __init__(
        self, base: Base, settings: Prompt, template: Template, examples: tuple[Example, ...] = ()
    ) -> None:
        """Take the words.

        Args:
            base: of a masked or causal language model.
            settings: the recipe's; `template` and `examples` here are what they led to.
            template: the words.
            examples: worked ones, in the order of the prompt.

        Raises:
            ModelError: the base answers no questions, or not with these answers.
        """
        self.base, self.settings = base, settings
        self.template, self.examples = template, examples
        self.ends_in = base.language_model
        self.tokens = Tokens(base.tokenizer)
        self.verbalizer = read_answers(template, self.tokens, masked=self.masked)
        self._ending: list[int] = []
        if self.masked:
            assert self.tokens.mask is not None, "read_answers has looked"
            self._ending = [self.tokens.mask, *self.verbalizer.after, *self.tokens.after]
        self._composer = Composer(
            lines_of(template),
            self.tokens,
            settings.max_tokens - self._around,
            instruction=template.instruction,
            examples=[example.text for example in examples],
        )

    @property
    def masked(self) -> bool:
        """Whether the model answers at a mask."""
        return self.ends_in == "masked_lm"

    @property
    def described(self) -> dict[str, Any]:
        """All that decides a text beside base and rows, for digest and storage."""
        return {
            "settings": asdict(self.settings),
            "template": asdict(self.template),
            "examples": [asdict(example) for example in self.examples],
        }

    @property
    def _around(self) -> int:
        """Tokens of a sequence beside the question."""
        longest = max(len(one) for one in self.verbalizer.continuations)
        return len(self.tokens.before) + len(self._ending) + longest

    def new_readout(self, *, seed: int, dropout: float = 0.0) -> Readout:
        """No head: the score is the model's own."""
        return Readout()

    def read(self, rows: pa.Table, context: Context) -> Reading:
        """The question of each row."""
        told = tell(rows, context, self.tokens, history=self.settings.history)
        _, bodies, of_row = self._composer.compose(told)
        questions = [[*self.tokens.before, *body] for body in bodies]
        continuations = self.verbalizer.continuations
        # What a tokenizer puts after a text would end a causal model's before its answer.
        sequences = [
            [*question, *self._ending, *one] for question in questions for one in continuations
        ]
        # A mask stands where its answer is; a causal model's last token says what comes next.
        slot = [len(question) - (not self.masked) for question in questions for _ in continuations]
        return Reading(
            slates=told.slates,
            sequences=sequences,
            slot=np.array(slot, np.int64),
            variants=len(continuations),
            text=of_row,
            match=np.zeros(len(of_row), np.float32),
        )

    def logits(
        self,
        network: TextNetwork,
        readout: Readout,
        embeddings_BTD: torch.Tensor,
        mask_BT: torch.Tensor,
        slot_B: torch.Tensor,
    ) -> torch.Tensor:
        """(B / V,) log-odds of the answers to each question."""
        continuations = self.verbalizer.continuations
        along = torch.arange(max(len(one) for one in continuations) + 1, device=slot_B.device)
        # Beyond a short continuation's end nothing is read, so any place will do.
        places_BJ = (slot_B[:, None] + along).clamp(max=mask_BT.shape[1] - 1)
        logits = network.logits(embeddings_BTD, mask_BT, places_BJ)
        return self.verbalizer.log_odds(logits.unflatten(0, (-1, len(continuations))))


def lines_of(template: Template) -> Lines:
    """What of the template is written for each row."""
    return Lines(
        liked=template.liked,
        disliked=template.disliked,
        separator=template.separator,
        item=template.item,
        tail=template.asked,
    )
