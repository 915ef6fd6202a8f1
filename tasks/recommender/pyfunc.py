"""How MLflow loads a version: `loader_module="tasks.recommender.pyfunc"`, without any pickle.

Input, a data frame with one row for each slate:

    history          texts that the user has read, oldest first; may be empty
    candidates       texts to score
    candidate_ids    optional: their item ids, for the behaviour statistics saved with the version
    impression_time  optional: when the slate is shown; by default the time of those statistics

Output: for each row a list of click probabilities, one for each candidate, in their order.
"""

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tasks.errors import ModelError
from tasks.interactions.schema import HISTORY, ITEM_HOURS, UTC_TIME
from tasks.recommender.context import Context
from tasks.recommender.score import score
from tasks.recommender.snapshot import load_statistics

if TYPE_CHECKING:
    import pandas as pd

    from tasks.recommender.protocol import Ranker

NO_STATISTICS_AT = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
"""Without statistics every hour is alike."""


class SlateScorer:
    """Scores texts by a saved ranker and the statistics beside it."""

    def __init__(self, ranker: "Ranker", folder: Path) -> None:
        self._ranker = ranker
        found = load_statistics(folder)
        if found is None:
            self._item_hours, self._items = ITEM_HOURS.empty_table(), None
            self._as_of = NO_STATISTICS_AT
        else:
            self._item_hours, self._items, self._as_of = found
        # Texts repeat from call to call, so their embeddings outlive one.
        self._embeddings = tempfile.TemporaryDirectory(prefix="dayspring-embeddings-")

    def predict(self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None) -> Any:
        """A list of click probabilities for each row; `params` has no meaning here.

        Raises:
            ModelError: a column is missing, or ids and candidates differ in number.
        """
        slates = _read_slates(model_input, self._as_of)
        rows, texts = _as_rows(slates)
        context = Context(
            self._catalogue(texts), self._item_hours, None, Path(self._embeddings.name)
        )
        scores = score(self._ranker, rows, context)
        cuts = np.cumsum([len(slate.candidates) for slate in slates])[:-1]
        return [part.tolist() for part in np.split(scores, cuts)]

    def _catalogue(self, texts: dict[str, str]) -> pa.Table:
        """The texts that were sent, and the rest of the items that statistics exist of."""
        sent = pa.table(
            {"item_id": pa.array(list(texts), pa.string()), "title": list(texts.values())}
        )
        if self._items is None:
            return sent
        import pyarrow.compute as pc

        row = pc.index_in(sent["item_id"], self._items["item_id"])
        others = [n for n in self._items.column_names if n not in ("item_id", "title")]
        for name in others:
            sent = sent.append_column(name, self._items[name].take(row))
        rest = self._items.filter(pc.invert(pc.is_in(self._items["item_id"], sent["item_id"])))
        return pa.concat_tables(
            [sent, rest.select(sent.column_names)], promote_options="permissive"
        )


class _Slate:
    def __init__(
        self, history: Sequence[str], candidates: Sequence[str], ids: Sequence[str], time: datetime
    ) -> None:
        if len(ids) != len(candidates):
            raise ModelError(
                f"A row has {len(candidates)} candidates and {len(ids)} candidate_ids. "
                "Give each candidate one id, or leave the column out."
            )
        self.history, self.candidates, self.ids, self.time = history, candidates, ids, time


def _read_slates(frame: "pd.DataFrame", as_of: datetime) -> list[_Slate]:
    missing = [name for name in ("history", "candidates") if name not in frame.columns]
    if missing:
        raise ModelError(
            f"The input has no column {', '.join(missing)}; it has {list(frame.columns)}. "
            "Send one row a slate, with its history and its candidates as lists of texts."
        )
    histories = [_texts(value) for value in frame["history"]]
    candidates = [_texts(value) for value in frame["candidates"]]
    # An id made of the text itself names an item that no statistics know.
    ids = [_texts(value) for value in frame.get("candidate_ids", candidates)]
    if "impression_time" in frame.columns:
        import pandas as pd

        moments = pd.to_datetime(frame["impression_time"], utc=True).fillna(pd.Timestamp(as_of))
        times = [moment.to_pydatetime() for moment in moments]
    else:
        times = [as_of] * len(frame)
    return [_Slate(*slate) for slate in zip(histories, candidates, ids, times, strict=True)]


def _texts(value: Any) -> list[str]:
    return [] if value is None or isinstance(value, float) else [str(text) for text in value]


def _as_rows(slates: list[_Slate]) -> tuple[pa.Table, dict[str, str]]:
    """Rows of the interactions table, and the text of each id in them."""
    texts: dict[str, str] = {}
    columns: dict[str, list[Any]] = {name: [] for name in ("time", "slate", "item", "history")}
    for number, slate in enumerate(slates):
        history = [{"item_id": f"text {text}", "label": 1} for text in slate.history]
        texts.update((f"text {text}", text) for text in slate.history)
        texts.update(zip(slate.ids, slate.candidates, strict=True))
        columns["item"] += slate.ids
        for name, value in (("time", slate.time), ("slate", str(number)), ("history", history)):
            columns[name] += [value] * len(slate.ids)
    rows = {
        "event_time": pa.array(columns["time"], UTC_TIME),
        "impression_id": pa.array(columns["slate"], pa.string()),
        "user_id": pa.array(columns["slate"], pa.string()),
        "item_id": pa.array(columns["item"], pa.string()),
        "history": pa.array(columns["history"], HISTORY),
    }
    return pa.table(rows), texts


def _load_pyfunc(path: str) -> SlateScorer:
    """What MLflow calls with the folder of the version's data."""
    from tasks.recommender.store import load_ranker

    return SlateScorer(load_ranker(Path(path)), Path(path))
