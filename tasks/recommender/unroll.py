"""What a shot's history says besides: each entry is an answer of the user's, given those before it.

TALLRec's shot names ten titles with the user's opinion of each, and then asks for one more. The ten were
once such questions too. Unrolled, a shot gives eleven labelled candidates instead of one, and
nothing is read that the shot does not hold. As sequence recommenders train on every position
(Kang and McAuley 2018, SASRec).

Only where candidates come alone and histories log dislikes; a history of likes answers nothing.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LONG_AGO = 0
"""Time of an unrolled row, in µs since 1970: it happened before the shot, nobody knows when, so it may
see no statistics at all, which may have counted it already."""


def unroll(shots: pa.Table) -> pa.Table:
    """Rows for the history entries of impressions with one candidate, each (user, item) once.

    An entry's history is what stands before it. Of several copies the one with the longest history
    stays; what `shots` judges itself is left out. A column `weight` is the shot's.
    """
    alone = _alone(shots)
    if not len(alone) or "history" not in alone.column_names:
        return shots.slice(0, 0)
    entries = _entries(alone)
    answered = pc.fill_null(pc.equal(entries["label"], 0), False)
    if not pc.any(answered).as_py():
        return shots.slice(0, 0)
    entries = _once(entries, shots)
    rows = alone.take(entries["shot"])
    histories = rows["history"].combine_chunks()
    before = _prefixes(histories, entries["place"].to_numpy())
    ids = pc.binary_join_element_wise(
        rows["impression_id"], pc.cast(entries["place"], pa.string()), "/before/"
    )
    columns = {
        "event_time": pa.array(np.full(len(rows), LONG_AGO), pa.int64()).cast(
            rows.schema.field("event_time").type
        ),
        "impression_id": ids,
        "item_id": entries["item_id"],
        "label": entries["label"].cast(rows.schema.field("label").type),
        "history": before,
    }
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return rows.cast(shots.schema)


def _alone(shots: pa.Table) -> pa.Table:
    counted = shots["impression_id"].combine_chunks().value_counts()
    ids = counted.field("values").filter(pc.equal(counted.field("counts"), 1))
    return shots.filter(pc.is_in(shots["impression_id"], ids))


def _entries(alone: pa.Table) -> pa.Table:
    """Shot, place, user, item and label of each history entry that has a label."""
    history = alone["history"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(history), 0).to_numpy().astype(np.int64)
    shot = np.repeat(np.arange(len(alone)), lengths)
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    flat = history.flatten()
    found = pa.table(
        {
            "shot": shot,
            "place": place,
            "impression_id": alone["impression_id"].take(pa.array(shot)),
            "user_id": alone["user_id"].take(pa.array(shot)),
            "item_id": flat.field("item_id"),
            "label": flat.field("label"),
        }
    )
    return found.filter(pc.is_valid(found["label"]))


def _once(entries: pa.Table, shots: pa.Table) -> pa.Table:
    """Each (user, item) with its longest history, without those that the shots judge."""
    pair = _pairs(entries["user_id"], entries["item_id"])
    judged = _pairs(shots["user_id"], shots["item_id"])
    entries = entries.append_column("pair", pair)
    entries = entries.filter(pc.invert(pc.is_in(pair, judged.combine_chunks())))
    entries = entries.sort_by([("place", "descending"), ("impression_id", "ascending")])
    pairs = entries["pair"].combine_chunks()
    first = pc.index_in(pairs.unique(), pairs)
    return entries.take(first).sort_by([("shot", "ascending"), ("place", "ascending")])


def _pairs(users: pa.ChunkedArray, items: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(users, items, "\x1f")


def _prefixes(histories: pa.ListArray, lengths: np.ndarray) -> pa.ListArray:
    """The first `lengths` entries of each history."""
    starts = histories.offsets.to_numpy()[:-1]
    ends = np.cumsum(lengths)
    offsets = np.concatenate([[0], ends])
    within = np.arange(offsets[-1]) - np.repeat(ends - lengths, lengths)
    taken = histories.values.take(pa.array(np.repeat(starts, lengths) + within))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), taken)
