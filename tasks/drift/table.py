"""Profiles as rows of the lake's `profiles` table."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.drift import sketches
from tasks.drift.profile import MeanEmbedding, Novelty, Profile
from tasks.errors import DriftError

VERSION = 1
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
"""One row: one day's profile: exact counts as JSON, sketches of ids, embedding sum (float64)."""


def to_table(profile: Profile, revision: int) -> pa.Table:
    """The profile of one day as one row of PROFILES, under 1 MB.

    Raises:
        DriftError: the profile is of several days: those are merged again when they are needed.
    """
    if len(profile.days) != 1:
        raise DriftError(f"Only single days are stored, not {profile.period}: store its days.")
    embedding = profile.embedding
    facts = {
        "clicks": profile.clicks,
        "impressions": profile.impressions,
        "counts": profile.counts,
        "clicks_by": profile.clicks_by,
        "nulls": profile.nulls,
        "new_items": asdict(profile.new_items),
        "new_users": asdict(profile.new_users),
        "embedding": embedding
        and {
            "encoder": embedding.encoder,
            "squares": embedding.squares,
            "rows": embedding.rows,
        },
    }
    row = {
        "event_date": profile.days[0],
        "revision": revision,
        "version": VERSION,
        "rows": profile.rows,
        "facts": json.dumps(facts, ensure_ascii=False, sort_keys=True),
        "items": profile.items.serialize(),
        "users": profile.users.serialize(),
        "embedding": None if embedding is None else embedding.total.astype("<f8").tobytes(),
    }
    return pa.Table.from_pylist([row], schema=PROFILES)


def from_table(rows: pa.Table) -> list[Profile]:
    """The profiles in `rows`, oldest day first.

    Raises:
        DriftError: a row is of another version, or damaged.
    """
    found = [_profile(row) for row in rows.to_pylist()]
    return sorted(found, key=lambda profile: profile.days)


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
            impressions=facts["impressions"],
            counts=facts["counts"],
            clicks_by=facts["clicks_by"],
            nulls=facts["nulls"],
            items=sketches.restore(row["items"]),
            users=sketches.restore(row["users"]),
            new_items=Novelty(**facts["new_items"]),
            new_users=Novelty(**facts["new_users"]),
            embedding=_embedding(facts["embedding"], row["embedding"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DriftError(
            f"The profile of {day} is damaged ({error!r}): run the day again with --force."
        ) from error


def _embedding(facts: dict[str, Any] | None, raw: bytes | None) -> MeanEmbedding | None:
    if facts is None or raw is None:
        return None
    total = np.frombuffer(raw, dtype="<f8").astype(np.float64)
    return MeanEmbedding(facts["encoder"], total, facts["squares"], facts["rows"])
