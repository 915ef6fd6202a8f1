"""Altered copies of the shots: other words, the same labels, the same statistics.

A copy of an impression has an id of its own, and shows items with ids of their own, whose titles
are altered. In the catalogue such an item names the one it was made of in `copy_of`, and all that
is counted (clicks, impressions, categories, age) is read of that one: to the statistics a copy is
its original, and only the text match sees a difference.
"""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import ModelError
from tasks.recommender.base import Base, load_base
from tasks.recommender.items import COPY_OF, item_texts
from tasks.recommender.labels.words import Alteration, Synonyms, drop_words, replace_words
from tasks.recommender.recipe import Augment

MARK = "\x1f"
"""Between an id and its copy's number: a separator that no log's id holds."""


def augment_shots(
    rows: pa.Table, catalogue: pa.Table, augment: Augment, base: Base, *, seed: int
) -> tuple[pa.Table, pa.Table]:
    """The shots and their altered copies, and the catalogue with the altered items.

    Each item is altered once for each copy, so all impressions of one copy show it alike. A copy of
    an impression that none of its texts lets alter is left out. Histories are altered where the
    rows log them; those that are derived from past clicks stay.

    Args:
        rows: shots, of whole impressions.
        catalogue: ITEMS.
        augment: how many copies, and what alters them.
        base: whose word embeddings give synonyms, and on whose device models run.
        seed: of all that is drawn.

    Raises:
        ModelError: `augment` asks for copies and names nothing that alters them, or a model that
            it names does not load.
    """
    if not augment.copies or not len(rows):
        return rows, catalogue
    return copy_shots(rows, catalogue, alterations(augment, base, seed=seed), augment.copies)


def alterations(augment: Augment, base: Base, *, seed: int) -> list[Alteration]:
    """What `augment` does to a text, in this order: translate and back, replace, leave out."""
    steps: list[Alteration] = []
    if augment.back_translation is not None:
        from tasks.recommender.labels.translate import BackTranslation

        steps.append(BackTranslation(*augment.back_translation, device=base.device, seed=seed))
    if augment.synonyms:
        synonyms = _synonyms(augment, base)
        steps.append(partial(replace_words, share=augment.synonyms, synonyms=synonyms, seed=seed))
    if augment.token_dropout:
        steps.append(partial(drop_words, share=augment.token_dropout, seed=seed))
    if not steps:
        raise ModelError(
            f"`augment.copies` is {augment.copies}, and nothing alters the copies. Set "
            "`token_dropout`, `synonyms` or `back_translation`, or `copies: 0`."
        )
    return steps


def copy_shots(
    rows: pa.Table, catalogue: pa.Table, steps: Sequence[Alteration], copies: int
) -> tuple[pa.Table, pa.Table]:
    """`augment_shots` with the alterations at hand."""
    if COPY_OF not in catalogue.column_names:
        catalogue = catalogue.append_column(COPY_OF, pa.nulls(len(catalogue), pa.string()))
    ids = named_items(rows)
    known = catalogue.take(pc.drop_null(pc.index_in(ids, catalogue["item_id"])))
    texts = item_texts(known)
    tables, catalogues = [rows], [catalogue]
    for copy in range(1, copies + 1):
        altered = texts
        for step in steps:
            altered = step(altered, copy)
        changed = pa.array(
            [new != old for new, old in zip(altered, texts, strict=True)], pa.bool_()
        )
        items = _retitled(
            known.filter(changed), pa.array(altered, pa.string()).filter(changed), copy
        )
        tables.append(_copied(rows, items[COPY_OF].combine_chunks(), copy))
        catalogues.append(items)
    return pa.concat_tables(tables), pa.concat_tables(catalogues)


def _synonyms(augment: Augment, base: Base) -> Synonyms:
    from tasks.recommender.labels.synonyms import MaskedWords, Neighbours

    if augment.synonyms_from == "neighbours":
        return Neighbours(base)
    if not augment.masked_lm:
        raise ModelError(
            "`augment.synonyms_from` is masked_lm, and `augment.masked_lm` names none. Name a "
            "masked LM by path or name, or take synonyms from `neighbours`."
        )
    return MaskedWords(load_base(augment.masked_lm, device=base.device, precision="fp32"))


def named_items(rows: pa.Table) -> pa.Array:
    """Distinct ids of the rows' candidates and logged histories, sorted."""
    ids = rows["item_id"].combine_chunks()
    if "history" in rows.column_names:
        entries = rows["history"].combine_chunks().flatten().field("item_id")
        ids = pa.concat_arrays([ids, entries.drop_null()])
    ids = ids.unique()
    return ids.take(pc.sort_indices(ids))


def _retitled(items: pa.Table, titles: pa.Array, copy: int) -> pa.Table:
    original = items["item_id"].combine_chunks()
    for name, column in (
        ("item_id", _marked(original, copy)),
        ("title", titles),
        (COPY_OF, original),
    ):
        place = items.schema.get_field_index(name)
        items = items.set_column(
            place, items.schema.field(name), column.cast(items.schema.field(name).type)
        )
    return items


def _copied(rows: pa.Table, altered: pa.Array, copy: int) -> pa.Table:
    """Rows of the impressions that show an altered item or have one in their history."""
    shows = pc.is_in(rows["item_id"], altered)
    renamed = {"item_id": _renamed(rows["item_id"].combine_chunks(), altered, copy)}
    if "history" in rows.column_names:
        history = rows["history"].combine_chunks()
        entries = history.flatten()
        item = entries.field("item_id")
        ids = _renamed(item, altered, copy)
        renamed["history"] = _relisted(history, ids, entries.field("label"))
        parents = pc.list_parent_indices(history).filter(pc.is_in(item, altered))
        shows = pc.or_(shows, pc.is_in(pa.array(range(len(rows)), parents.type), parents))
    for name in ("impression_id", "event_id"):
        if name in rows.column_names:
            renamed[name] = _marked(rows[name].combine_chunks(), copy)
    touched = rows["impression_id"].filter(shows).unique()
    kept = pc.is_in(rows["impression_id"], touched)
    for name, column in renamed.items():
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, column.cast(field.type))
    return rows.filter(kept)


def _renamed(ids: pa.Array, altered: pa.Array, copy: int) -> pa.Array:
    return pc.if_else(pc.is_in(ids, altered), _marked(ids, copy), ids)


def _relisted(history: pa.ListArray, item: pa.Array, label: pa.Array) -> pa.ListArray:
    """`history` with other item ids."""
    lengths = pc.fill_null(pc.list_value_length(history), 0)
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())]
    )
    entries = pa.StructArray.from_arrays([item, label], ["item_id", "label"])
    return pa.ListArray.from_arrays(offsets, entries, mask=history.is_null())


def _marked(ids: pa.Array, copy: int) -> pa.Array:
    return pc.binary_join_element_wise(ids.cast(pa.string()), str(copy), MARK)
