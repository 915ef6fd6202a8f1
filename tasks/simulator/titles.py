"""Headlines and sentences composed from a topic's words, among words that belong to none."""

import numpy as np
from numpy.typing import NDArray

from tasks.simulator.vocabulary import (
    EVENT,
    GENERIC_NOUNS,
    GENERIC_PEOPLE,
    HEADLINES,
    SENTENCES,
    TOPICS,
)

Codes = NDArray[np.int64]


def compose(
    draw: np.random.Generator, topic: Codes, about_event: NDArray[np.bool_]
) -> tuple[list[str], list[str]]:
    """Titles and texts of items; two to four words of a title are its topic's.

    Args:
        draw: the same state gives the same words.
        topic: (I,) index into TOPICS.
        about_event: (I,) items in whose title two of the event's words take the place of their
            topic's first two nouns.

    Returns:
        I titles of about ten words, and I texts of one sentence.
    """
    # every item draws the same number of times, so that one item's words do not move another's
    nouns = draw.random((len(topic), 20)).argsort(axis=1)[:, :3]
    events = draw.random((len(topic), len(EVENT))).argsort(axis=1)[:, :2]
    others = draw.random((len(topic), 6))
    titles, texts = [], []
    for item, code in enumerate(topic):
        words = _words(int(code), nouns[item], others[item])
        if about_event[item]:
            words |= {"noun": EVENT[events[item, 0]], "second": EVENT[events[item, 1]]}
        title = _pick(HEADLINES, others[item, 4]).format(**words)
        titles.append(title[0].upper() + title[1:])
        texts.append(_pick(SENTENCES, others[item, 5]).format(**words))
    return titles, texts


def _words(topic: int, nouns: Codes, others: NDArray[np.float64]) -> dict[str, str]:
    vocabulary = TOPICS[topic]
    first, second, third = (vocabulary.nouns[noun] for noun in nouns)
    return {
        "noun": first,
        "second": second,
        "third": third,
        "verb": _pick(vocabulary.verbs, others[0]),
        "adjective": _pick(vocabulary.adjectives, others[1]),
        "generic": _pick(GENERIC_NOUNS, others[2]),
        "people": _pick(GENERIC_PEOPLE, others[3]),
    }


def _pick(among: tuple[str, ...], uniform: float) -> str:
    return among[int(uniform * len(among))]
