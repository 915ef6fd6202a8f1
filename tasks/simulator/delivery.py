"""What a log goes through on its way: late, repeated and damaged rows, in exact numbers.

Shapes: N rows of a day.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.world import DELIVERY, World, stream

Ints = NDArray[np.int64]

MALFORMED = (
    "not a JSON object",
    "user_id is missing",
    "item_id is missing",
    "label is not 0 or 1",
    "event_time cannot be read",
)
"""What is wrong with a damaged row; `Delivery.damage` counts from 1."""
CUT, NO_USER, NO_ITEM, BAD_LABEL, BAD_TIME = range(1, 6)

CUT_CHARACTERS = 90
"""Where a cut line ends: within its keys."""

HOURS_LATE = 6
"""Half of what is late in a day's last hours comes so many hours later; the rest comes a day later."""


@dataclass(frozen=True)
class Delivery:
    """When each of a day's rows reaches the log, and in what state. Hour 24 is the next day's 0."""

    hour: Ints
    """(N,) hour of the file that holds the row."""
    repeat_hour: Ints
    """(N,) hour of the file that holds the row once more; −1 where none does."""
    damage: NDArray[np.int8]
    """(N,) 0 is whole, else a place in MALFORMED, from 1."""

    def malformed(self) -> Mapping[str, int]:
        """Damaged rows by what is wrong with them."""
        counts = np.bincount(self.damage, minlength=len(MALFORMED) + 1)[1:]
        return {kind: int(count) for kind, count in zip(MALFORMED, counts, strict=True)}


def plan_delivery(world: World, hour: Ints) -> Delivery:
    """Choose the rows that are late, come twice, or are damaged: no row is two of these.

    Args:
        world: whose settings name the shares, and whose day seeds the choice.
        hour: (N,) hour of each row's event, in the order of time; slates are whole.
    """
    settings = world.settings
    draw = stream(settings, world.number, DELIVERY)
    delay = _delays(draw, settings, hour)

    punctual = draw.permutation(np.flatnonzero(delay == 0))
    num_repeated = round(settings.duplicate_share * len(hour))
    num_damaged = round(settings.malformed_share * len(hour))
    repeated, damaged = np.split(punctual[: num_repeated + num_damaged], [num_repeated])
    repeat_hour = np.full(len(hour), -1)
    repeat_hour[repeated] = hour[repeated] + np.arange(num_repeated) % 2
    damage = np.zeros(len(hour), np.int8)
    damage[damaged] = np.arange(num_damaged) % len(MALFORMED) + 1
    return Delivery(hour + delay, repeat_hour, damage)


def _delays(draw: np.random.Generator, settings: SimulatorSettings, hour: Ints) -> Ints:
    """(N,) hours of delay into the next day; late is a whole slate, as of a phone off the network."""
    first = hour[:: settings.slate_size]
    chosen = draw.permutation(len(first))[: round(settings.late_share * len(first))]
    soon = (first[chosen] >= 24 - HOURS_LATE) & (draw.random(len(chosen)) < 0.5)
    delay = np.zeros(len(first), np.int64)
    delay[chosen] = np.where(soon, HOURS_LATE, 24)
    return np.repeat(delay, settings.slate_size)


def json_lines(rows: pa.Table, damage: NDArray[np.int8]) -> pa.Array:
    """(N,) the rows as JSON objects, each with its line feed, damaged where `damage` says so."""
    # the rows of an impression share their time, so that few texts have to be made
    distinct = rows["event_time"].combine_chunks().dictionary_encode()
    clock = pc.strftime(distinct.dictionary.cast(pa.timestamp("ms", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    clock = clock.take(distinct.indices)
    time = pc.if_else(pa.array(damage == BAD_TIME), "yesterday, 25:61", clock)
    label = pc.if_else(
        pa.array(damage == BAD_LABEL), '"maybe"', rows["label"].combine_chunks().cast(pa.string())
    )
    dwell = pc.fill_null(
        pc.binary_join_element_wise(
            ',"dwell_seconds":', rows["dwell_seconds"].combine_chunks().cast(pa.string()), ""
        ),
        "",
    )
    parts = [
        '{"event_id":"',
        rows["event_id"],
        '","event_time":"',
        time,
        '","impression_id":"',
        rows["impression_id"],
        _key_unless(damage == NO_USER, '","user_id":"', rows["user_id"]),
        _key_unless(damage == NO_ITEM, '","item_id":"', rows["item_id"]),
        '","position":',
        rows["position"].cast(pa.string()),
        ',"label":',
        label,
        ',"surface":"',
        rows["surface"],
        '"',
        dwell,
        "}\n",
    ]
    plain = [part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in parts]
    lines = pc.binary_join_element_wise(*plain, "")
    if not (damage == CUT).any():
        return lines
    cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(lines, 0, CUT_CHARACTERS), "\n", "")
    return pc.if_else(pa.array(damage == CUT), cut, lines)


def _key_unless(absent: NDArray[np.bool_], key: str, value: pa.ChunkedArray) -> pa.Array:
    """`key` and `value` in one text; empty where the key is absent."""
    keyed = pc.binary_join_element_wise(key, value.combine_chunks(), "")
    return pc.if_else(pa.array(absent), "", keyed)
