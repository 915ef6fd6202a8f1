"""Worked examples for a prompt: some shots' questions with their answers.

Source: Brown et al. (2020), Language models are few-shot learners.
"""

import numpy as np
import pyarrow as pa

from tasks.recommender.context import Context
from tasks.recommender.rankers.prompt import Example, Questioning, lines_of
from tasks.recommender.rankers.questions import Composer, tell
from tasks.recommender.statistics import Ints


def draw_examples(
    questioning: Questioning, shots: pa.Table, context: Context, *, number: int, seed: int
) -> tuple[Example, ...]:
    """As many clicked as skipped candidates of the shots, by turns, as worked examples.

    Each may be as long as its share of the prompt, the question itself being one more. By turns, for a
    model leans towards the answer that it saw most and last (Zhao et al. 2021), and so that a prompt
    that has room for fewer still has about as many of each.

    Args:
        questioning: words the questions; examples that it has are not looked at.
        shots: labelled rows.
        context: catalogue and past clicks.
        number: of examples; an odd one is rounded down. Fewer if the shots hold fewer of a kind.
        seed: draws the candidates, and which kind comes first.
    """
    told = tell(shots, context, questioning.tokens, history=questioning.settings.history)
    template, settings = questioning.template, questioning.settings
    composer = Composer(lines_of(template), questioning.tokens, settings.max_tokens // (number + 1))
    texts, _, of_row = composer.compose(told)
    chosen = _by_turns(told.slates.label > 0, of_row, number // 2, np.random.default_rng(seed))
    words = {True: template.positive[0], False: template.negative[0]}
    return tuple(
        Example(texts[of_row[row]] + template.answered(words[clicked]), clicked)
        for row, clicked in ((row, bool(told.slates.label[row] > 0)) for row in chosen)
    )


def _by_turns(clicked: "np.ndarray", of_row: Ints, pairs: int, rng: np.random.Generator) -> Ints:
    """Rows of distinct texts, clicked and skipped by turns."""
    kinds = [np.flatnonzero(clicked), np.flatnonzero(~clicked)]
    drawn = []
    for kind in kinds:
        _, first = np.unique(of_row[kind], return_index=True)
        drawn.append(rng.permutation(kind[np.sort(first)]))
    pairs = min(pairs, *(len(kind) for kind in drawn))
    both = np.stack([kind[:pairs] for kind in drawn], axis=1)
    return both[:, :: rng.choice([1, -1])].ravel()
