"""The fields of the context that producers log beside a candidate, each a column of its own.

A context is a JSON object in text. Its numbers are columns of numbers, its texts and truth values
columns of values; what is not an object is one value.

Shapes: N rows.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]

MAX_FIELDS = 16
"""Fields profiled: those in most rows."""

FIELD_VALUES = 200
"""Values kept of one field."""

NULL = "null"

_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}


@dataclass(frozen=True)
class Field:
    """One field of the contexts."""

    name: str
    """`context.device`; `context` is of contexts that are no objects."""
    types: dict[str, int]
    """Rows by JSON type; `null` where the field is missing or null."""
    texts: tuple[str, ...]
    """Distinct texts and truth values."""
    codes: Ints
    """(N,) number of the row's text; -1 where it has none."""
    numbers: npt.NDArray[np.float64]
    """(N,) NaN where it is no number."""


def read_fields(contexts: pa.ChunkedArray) -> list[Field]:
    """The fields of (N,) contexts, those in most rows first; each distinct context is read once."""
    encoded = contexts.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    parsed = [_parse(text) for text in encoded.dictionary.to_pylist()]
    rows = np.bincount(codes[codes >= 0], minlength=len(parsed))
    seen: Counter[str] = Counter()
    for fields, times in zip(parsed, rows.tolist(), strict=True):
        for name, value in fields.items():
            seen[name] += times if value is not None else 0
    names = sorted((n for n in seen if seen[n]), key=lambda name: (-seen[name], name))
    return [_field(name, parsed, rows, codes) for name in names[:MAX_FIELDS]]


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"context": text}
    if not isinstance(value, dict):
        return {"context": text}
    return {f"context.{name}": each for name, each in value.items()}


def _field(name: str, parsed: list[dict[str, Any]], rows: Ints, codes: Ints) -> Field:
    values = [fields.get(name) for fields in parsed]
    types: Counter[str] = Counter()
    texts: dict[str, int] = {}
    numbers, places = np.full(len(values) + 1, np.nan), np.full(len(values) + 1, -1)
    for place, value in enumerate(values):
        kind = _type_of(value)
        types[kind] += int(rows[place])
        if kind == "number":
            numbers[place] = _as_float(value)
        elif kind in ("string", "boolean"):
            text = value if isinstance(value, str) else str(value).lower()
            places[place] = texts.setdefault(text, len(texts))
    types[NULL] += int((codes < 0).sum())
    # a row without a context, numbered -1, takes the last entry: none
    return Field(name, _nonzero(types), tuple(texts), places[codes], numbers[codes])


def _type_of(value: Any) -> str:
    return NULL if value is None else _TYPES.get(type(value), "object")


def _as_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number may have any number of digits
        return math.inf


def _nonzero(counts: Counter[str]) -> dict[str, int]:
    return {name: times for name, times in sorted(counts.items()) if times}
