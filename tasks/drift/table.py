"""Profiles as rows of the lake's `profiles` table."""

import json
from base64 import b64decode, b64encode
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.drift import sketches
from tasks.drift.mix import Mix
from tasks.drift.numbers import Numbers
from tasks.drift.predictions import Predictions
from tasks.drift.profile import Novelty, Profile
from tasks.drift.quantiles import Quantiles
from tasks.drift.text import CELLS, FEATURES, WIDTH, Sample, Text
from tasks.errors import DriftError

VERSION = 2
"""Of the row's meaning; raise it when an older reader would misread a row."""

PROFILES = pa.schema(
    [
        pa.field("event_date", pa.date32(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("facts", pa.string(), nullable=False),
        pa.field("items", pa.binary(), nullable=False),
        pa.field("users", pa.binary(), nullable=False),
        pa.field("embedding", pa.binary()),
    ]
)
"""One row: one day's profile: counts and quantile sketches as JSON, theta sketches of ids, and the
sums over embeddings (`_TEXT`, one after the other)."""

_TEXT = {
    "total": "<f8",
    "projected": "<f8",
    "outer": "<f4",
    "features": "<f4",
    "shown": "<f8",
    "keys": "<f8",
    "hashes": "<u8",
    "vectors": "<f2",
}


def to_table(profile: Profile, revision: int) -> pa.Table:
    """The profile of one day as one row of PROFILES, under 1 MB.

    Raises:
        DriftError: the profile is of several days: those are merged again when they are needed.
    """
    if len(profile.days) != 1:
        raise DriftError(f"Only single days are stored, not {profile.period}: store its days.")
    text = profile.text
    facts = {
        "clicks": profile.clicks,
        "click_spread": profile.click_spread,
        "impressions": profile.impressions,
        "mixes": {name: _mix_facts(mix) for name, mix in profile.mixes.items()},
        "numbers": {name: _number_facts(each) for name, each in profile.numbers.items()},
        "types": profile.types,
        "novelty": {name: asdict(each) for name, each in profile.novelty.items()},
        "predictions": {name: each.to_json() for name, each in profile.predictions.items()},
        "text": text
        and {
            "encoder": text.encoder,
            "rows": text.rows,
            "squares": text.squares,
            "width": len(text.total),
            "sample": len(text.sample.keys),
        },
    }
    row = {
        "event_date": profile.days[0],
        "revision": revision,
        "version": VERSION,
        "rows": profile.rows,
        "facts": json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        "items": profile.items.serialize(),
        "users": profile.users.serialize(),
        "embedding": None if text is None else _text_bytes(text),
    }
    return pa.Table.from_pylist([row], schema=PROFILES)


def from_table(rows: pa.Table) -> list[Profile]:
    """The profiles in `rows`, oldest day first; those that `outdated` names are left out.

    Raises:
        DriftError: a row is of a newer version, or damaged.
    """
    current = rows.filter(pc.greater_equal(rows["version"], VERSION))
    found = [_profile(row) for row in current.to_pylist()]
    return sorted(found, key=lambda profile: profile.days)


def outdated(rows: pa.Table) -> list[date]:
    """The days whose profile an older Dayspring wrote, with less in it than is compared now."""
    days = rows.filter(pc.less(rows["version"], VERSION))["event_date"].to_pylist()
    return sorted(days)


def _mix_facts(mix: Mix) -> dict[str, Any]:
    return {
        "values": mix.values,
        "rows": _plain(mix.rows),
        "clicks": _plain(mix.clicks),
        "spread": [float(f"{each:.6g}") for each in mix.spread.tolist()],
        "total": mix.total,
        "error": mix.error,
        "capacity": mix.capacity,
    }


def _plain(counts: Any) -> list[float]:
    """Whole numbers without their `.0`: most are, and JSON is text."""
    return [int(each) if each.is_integer() else each for each in counts.tolist()]


def _number_facts(each: Numbers) -> dict[str, Any]:
    return {
        "sketch": b64encode(each.sketch.serialize()).decode(),
        "units": each.units,
        "total": each.total,
        "squares": each.squares,
    }


def _text_bytes(text: Text) -> bytes:
    arrays = {**vars(text), **vars(text.sample)}
    return b"".join(arrays[name].astype(kind).tobytes() for name, kind in _TEXT.items())


def _profile(row: dict[str, Any]) -> Profile:
    day, version = row["event_date"], row["version"]
    if version != VERSION:
        raise DriftError(
            f"The profile of {day} has version {version}, this Dayspring reads {VERSION}: "
            "run the day again with --force, or use the Dayspring that wrote it."
        )
    try:
        facts = json.loads(row["facts"])
        return Profile(
            days=(day,),
            rows=row["rows"],
            clicks=facts["clicks"],
            click_spread=facts["click_spread"],
            impressions=facts["impressions"],
            mixes={name: _mix(each) for name, each in facts["mixes"].items()},
            numbers={name: _numbers(each) for name, each in facts["numbers"].items()},
            types=facts["types"],
            items=sketches.restore(row["items"]),
            users=sketches.restore(row["users"]),
            novelty={name: Novelty(**each) for name, each in facts["novelty"].items()},
            text=_text(facts["text"], row["embedding"]),
            predictions={
                name: Predictions.from_json(each) for name, each in facts["predictions"].items()
            },
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DriftError(
            f"The profile of {day} is damaged ({error!r}): run the day again with --force."
        ) from error


def _mix(facts: dict[str, Any]) -> Mix:
    counts = {name: np.array(facts[name], np.float64) for name in ("rows", "clicks", "spread")}
    return Mix(**{**facts, **counts, "values": tuple(facts["values"])})


def _numbers(facts: dict[str, Any]) -> Numbers:
    return Numbers(**{**facts, "sketch": Quantiles.deserialize(b64decode(facts["sketch"]))})


def _text(facts: dict[str, Any] | None, raw: bytes | None) -> Text | None:
    if facts is None or raw is None:
        return None
    width, sample = facts.pop("width"), facts.pop("sample")
    shapes = {
        "total": (width,),
        "projected": (WIDTH,),
        "outer": (WIDTH, WIDTH),
        "features": (FEATURES,),
        "shown": (CELLS,),
        "keys": (sample,),
        "hashes": (sample,),
        "vectors": (sample, WIDTH),
    }
    arrays, start = {}, 0
    for name, kind in _TEXT.items():
        size = int(np.prod(shapes[name]))
        found = np.frombuffer(raw, kind, size, start)
        arrays[name] = found.reshape(shapes[name]).astype(np.dtype(kind).newbyteorder("="))
        start += found.nbytes
    kept = Sample(**{name: arrays.pop(name) for name in ("keys", "hashes", "vectors")})
    sums = {name: each.astype(np.float64) for name, each in arrays.items()}
    return Text(**{**facts, **sums, "sample": kept})
