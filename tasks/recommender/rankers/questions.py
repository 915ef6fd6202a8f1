"""From rows to texts about user and item, by column operations, each as long as the network may read.

What does not fit goes in this order: worked examples, then the oldest history; never the candidate.

Shapes: N rows, S slates, A history entries that are told, I items, P pairs of slate and length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.context import Context
from tasks.recommender.items import item_texts
from tasks.recommender.rankers.tokens import Tokens
from tasks.recommender.slates import Slates, group_rows
from tasks.recommender.statistics import Ints

TITLE_TOKENS = 64
"""What follows of a longer item text is not read, as with `hybrid`."""
UNTITLED = "unknown"
"""Stands for a candidate of which no text is known."""


@dataclass(frozen=True)
class Lines:
    """What a text is made of: the template's lines."""

    liked: str
    disliked: str
    separator: str
    item: str
    tail: str = ""
    """After the item."""


@dataclass(frozen=True)
class Told:
    """Rows grouped by slate, the items' titles, and the history that is told of each slate."""

    slates: Slates
    titles: list[str]
    """(I,) empty where no text is known."""
    entry: Ints
    """(S, A) numbers of items, newest first; −1 fills up."""
    liked: NDArray[np.bool_]
    """(S, A)"""


def tell(rows: pa.Table, context: Context, tokens: Tokens, *, history: int) -> Told:
    """Group `rows`, look up their titles, and keep the `history` newest likes and dislikes each."""
    slates = group_rows(rows, context.clicks)
    known = context.catalogue.take(pc.index_in(slates.items, context.catalogue["item_id"]))
    titles = tokens.cut(tokens.plain(item_texts(known)), TITLE_TOKENS)
    titled = np.array([bool(title) for title in titles], np.bool_)
    there = (slates.history >= 0) & titled[np.maximum(slates.history, 0)]
    liked, disliked = there & slates.liked, there & ~slates.liked
    kept = (liked & (liked.cumsum(1) <= history)) | (disliked & (disliked.cumsum(1) <= history))
    order = np.argsort(~kept, axis=1, kind="stable")[:, : int(kept.sum(1).max(initial=0))]
    entry = np.where(kept, slates.history, -1)
    return Told(
        slates,
        titles,
        np.take_along_axis(entry, order, 1),
        np.take_along_axis(liked & kept, order, 1),
    )


class Composer:
    """Writes one text for each row."""

    def __init__(
        self,
        lines: Lines,
        tokens: Tokens,
        limit: int,
        *,
        instruction: str = "",
        examples: Sequence[str] = (),
    ) -> None:
        """Take the words.

        Args:
            lines: the template's.
            tokens: of the network that will read.
            limit: most tokens of a text.
            instruction: said before all; empty for none.
            examples: worked ones, the first kept longest.
        """
        self._lines, self._tokens, self._limit = lines, tokens, limit
        heads = [instruction] if instruction else []
        # The text before the question, with 0, 1, … all of the examples.
        self._heads = pa.array(
            [
                "".join(f"{part}\n\n" for part in [*heads, *examples[:number]])
                for number in range(len(examples) + 1)
            ]
        )

    def compose(self, told: Told) -> tuple[list[str], list[list[int]], Ints]:
        """Each distinct text, its token ids, and (N,) which of them each row has.

        Raises:
            ModelError: a question does not fit, though all that may go has gone.
        """
        rows = _Rows(told, *self._hope(told))
        known: dict[str, list[int]] = {}
        while True:
            texts = pc.dictionary_encode(self.write(told, rows))
            distinct = texts.dictionary.to_pylist()
            fresh = [text for text in distinct if text not in known]
            known.update(zip(fresh, self._tokens.ids(fresh), strict=True))
            ids = [known[text] for text in distinct]
            of_row = texts.indices.to_numpy().astype(np.int64)
            length = np.array([len(text) for text in ids], np.int64)[of_row]
            if not len(length) or length.max() <= self._limit:
                return distinct, ids, of_row
            self._require_room(length, rows)
            rows.shorten(length > self._limit)

    def _require_room(self, length: Ints, rows: "_Rows") -> None:
        bare = (rows.examples == 0) & (rows.entries == 0)
        shortest = int(length[bare].max(initial=0))
        if shortest > self._limit:
            raise ModelError(
                f"A question of {shortest} tokens exceeds the {self._limit} that "
                "`ranker.max_tokens` leaves, even without examples and history. Raise it, or "
                "shorten the template."
            )

    def write(self, told: Told, rows: "_Rows") -> pa.Array:
        """(N,) the texts, with so many examples and history entries as `rows` says."""
        pair, of_row = np.unique(
            np.stack([told.slates.slate, rows.entries]), axis=1, return_inverse=True
        )
        of_row = pa.array(of_row.ravel())
        titles = pa.array([title or UNTITLED for title in told.titles], pa.string())
        liked, disliked = (
            self._history_line(told, pair, titles, liked=liked).take(of_row)
            for liked in (True, False)
        )
        item = _filled(self._lines.item, "{title}", titles.take(pa.array(told.slates.candidate)))
        heads = self._heads.take(pa.array(rows.examples))
        tail = f"\n{self._lines.tail}" if self._lines.tail else ""
        return pc.binary_join_element_wise(heads, liked, disliked, item, tail, "")

    def _history_line(self, told: Told, pair: Ints, titles: pa.Array, *, liked: bool) -> pa.Array:
        """(P,) the line of liked or disliked titles, oldest first; empty without any."""
        slate, entries = pair
        entry, polarity = told.entry[slate][:, ::-1], told.liked[slate][:, ::-1]
        age = np.arange(entry.shape[1])[::-1]
        told_here = (entry >= 0) & (polarity == liked) & (age < entries[:, None])
        offsets = np.append(0, np.cumsum(told_here.sum(1))).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), titles.take(pa.array(entry[told_here])))
        joined = pc.binary_join(lists, self._lines.separator)
        line = self._lines.liked if liked else self._lines.disliked
        empty = pa.array(~told_here.any(1))
        return pc.if_else(empty, "", _filled(f"{line}\n", "{titles}", joined))

    def _hope(self, told: Told) -> tuple[Ints, Ints]:
        """(N,) examples and (N,) history entries that fit if nothing but titles took room."""
        slates, there = told.slates, told.entry >= 0
        cost = self._lengths(told.titles)
        heads = self._lengths(self._heads.to_pylist())
        room = self._limit - int(self._lengths([self._lines.tail])[0]) - cost[slates.candidate]
        used = np.where(there, cost[np.maximum(told.entry, 0)], 0).cumsum(1)
        whole = used.max(1, initial=0)[slates.slate]
        fits = heads[None, :] <= (room - whole)[:, None]
        examples = np.maximum(fits.sum(1) - 1, 0)
        left = room - heads[examples]
        entries = (used[slates.slate] <= left[:, None]) & there[slates.slate]
        return examples, entries.sum(1)

    def _lengths(self, texts: Sequence[str]) -> Ints:
        return np.array([len(ids) for ids in self._tokens.ids(texts)], np.int64)


class _Rows:
    """(N,) how many examples and history entries each row's text has."""

    def __init__(self, told: Told, examples: Ints, entries: Ints) -> None:
        self.examples, self.entries = examples, entries

    def shorten(self, long: NDArray[np.bool_]) -> None:
        """Take one example from each row that is too long, or its oldest entry where none is left."""
        with_examples = long & (self.examples > 0)
        self.entries = self.entries - (long & ~with_examples)
        self.examples = self.examples - with_examples


def _filled(line: str, place: str, values: pa.Array) -> pa.Array:
    before, after = line.split(place)
    return pc.binary_join_element_wise(before, values, after, "")
