"""Long histories of a simulated portal, in memory: profiles, and the verdicts of the code of a day.

Slates and clicks are the simulator's (`tasks.simulator`), whose interests wander, whose items come and
go, and whose weekends differ. A title's embedding is a mean of its words' embeddings, in which
words of no topic hardly count, so that a history of thousands of items takes seconds; for days with and
without an event's words, mean and MMD then move as much as with the encoder's own embeddings.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.drift.effects import measure_effects
from tasks.drift.past import CHAMPION, ROLLING, PastDay, past_day
from tasks.drift.profile import ItemEmbeddings, Profile, merge, profile_day
from tasks.drift.verdict import DriftReport, Measured, judge
from tasks.simulator import vocabulary
from tasks.simulator.clicks import day_rows, find_level, item_ids
from tasks.simulator.settings import Shift, SimulatorSettings
from tasks.simulator.world import World, first_world, next_world

FIRST = date(2026, 3, 2)
SLATE = 10
MOST_SLATES = 20_000
"""Impressions that are drawn one by one; of larger days each is shown several times, and clicked anew:
days that vary a little more than they would."""
ROLLING_DAYS, NOVELTY_DAYS = 7, 14
GENERIC = 0.1
"""Weight of a word of no topic in a title."""
Vector = npt.NDArray[np.float32]
CHAMPION_DAYS = 14
"""A new champion after so many days."""


@dataclass
class Portal:
    """A portal that goes from day to day, with what drift remembers of it."""

    seed: int
    impressions: int
    false_alarm_days: float = 60
    thresholds: Mapping[str, float] = field(default_factory=dict)
    profiles: list[Profile] = field(default_factory=list)
    past: list[PastDay] = field(default_factory=list)
    learned_through: int = 0
    """Days that the champion has seen."""

    def __post_init__(self) -> None:
        self.settings = SimulatorSettings(
            seed=self.seed,
            impressions_per_day=min(self.impressions, MOST_SLATES),
            num_users=max(1000, self.impressions // 20),
        )
        self.click_level = find_level(self.settings, FIRST)
        self.world = first_world(self.settings, FIRST)

    def branch(self) -> "Portal":
        """The same portal, whose days to come leave this one as it is."""
        other = copy.copy(self)
        other.profiles, other.past = [*self.profiles], [*self.past]
        return other

    def live(self, **shifts: float) -> DriftReport:
        """The next day, with shifts on it or none, remembered; the verdict on it."""
        profile = self.profile(self.world_with(**shifts))
        report = self.verdict(profile)
        self.past.append(past_day(profile.days[0], report.to_json()))
        self.profiles.append(profile)
        if len(self.profiles) % CHAMPION_DAYS == ROLLING_DAYS:
            self.learned_through = len(self.profiles)
        self.world = next_world(self.world)
        return report

    def shifted(self, kind: str, strength: float) -> DriftReport:
        """The verdict on the next day if a shift began on it; nothing is remembered."""
        return self.verdict(self.profile(self.world_with(**{kind: strength})))

    def world_with(self, **shifts: float) -> World:
        """The next day's world, its births among what the shifts begin with."""
        if not shifts:
            return self.world
        day = self.world.number
        planted = tuple(Shift(kind, day, strength) for kind, strength in shifts.items())
        changed = replace(self.settings, shifts=planted)
        return next_world(replace(self._before, settings=changed)) if day > 1 else self.world

    def verdict(self, profile: Profile) -> DriftReport:
        """The code that decides in a day, on the day's profile."""
        known = self.profiles
        if not known:
            return DriftReport("", [])
        windows = {ROLLING: known[-ROLLING_DAYS:]}
        if 0 < self.learned_through < len(known):
            windows[CHAMPION] = known[self.learned_through - ROLLING_DAYS : self.learned_through]
        measured = {name: _measured(window, profile) for name, window in windows.items()}
        return judge(
            profile.days[0],
            measured,
            self.past,
            thresholds=self.thresholds,
            false_alarm_days=self.false_alarm_days,
        )

    def profile(self, world: World) -> Profile:
        """The day's profile, as the stage makes it."""
        rows = day_rows(world, self.click_level)
        if self.impressions > MOST_SLATES:
            rows = repeated(rows, round(self.impressions / MOST_SLATES), self.seed)
        ids = item_ids(world.items.number)
        topics = pa.array([vocabulary.TOPICS[topic].topic for topic in world.items.topic])
        earlier = self.profiles[-NOVELTY_DAYS:]
        return profile_day(
            rows.drop_columns(["event_id", "click_probability"]),
            world.day,
            catalogue=pa.table({"item_id": ids, "category": topics}),
            before=merge(earlier) if earlier else None,
            embeddings=ItemEmbeddings(ids, title_vectors(world.items.title), "words"),
        )

    @property
    def world(self) -> World:
        """The world of the next day."""
        return self._world

    @world.setter
    def world(self, world: World) -> None:
        self._before = getattr(self, "_world", world)
        self._world = world


def _measured(window: Sequence[Profile], profile: Profile) -> Measured:
    reference = merge(window)
    return Measured(reference.period, len(window), measure_effects(reference, profile))


def repeated(rows: pa.Table, times: int, seed: int) -> pa.Table:
    """The same slates `times` times, each with clicks of its own."""
    draw = np.random.default_rng([seed, rows.num_rows, rows["event_time"][0].value])
    parts = []
    for number in range(times):
        clicked = draw.random(rows.num_rows) < rows["click_probability"].to_numpy()
        dwell = np.exp(np.log(40) + 0.7 * draw.standard_normal(rows.num_rows))
        changed = {
            "impression_id": pc.binary_join_element_wise(rows["impression_id"], str(number), "-"),
            "label": pa.array(clicked.astype(np.int8)),
            "dwell_seconds": pa.array(dwell, mask=~clicked),
        }
        for name, column in changed.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, column)
        parts.append(rows)
    return pa.concat_tables(parts)


def title_vectors(titles: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(I, D) of length 1."""
    vectors = np.stack([_title_vector(title) for title in titles])
    return vectors.astype(np.float32)


@cache
def _title_vector(title: str) -> Vector:
    vectors = word_vectors()
    mean = np.sum([vectors[word] for word in _words(title) if word in vectors], axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


@cache
def word_vectors() -> Mapping[str, Vector]:
    """The base encoder's vector of every word of the simulator, by how much it says of a title."""
    from tasks.recommender.base import load_base
    from tasks.recommender.encoder import Encoder

    about = {
        word
        for topic in vocabulary.TOPICS
        for part in (topic.nouns, topic.verbs, topic.adjectives)
        for word in part
    } | set(vocabulary.EVENT)
    others = {*vocabulary.GENERIC_NOUNS, *vocabulary.GENERIC_PEOPLE}
    others |= {word for line in vocabulary.HEADLINES for word in _words(line) if "{" not in word}
    ordered = sorted(about | others)
    encoder = Encoder(load_base("all-MiniLM-L6-v2", device="cpu", precision="fp32"))
    encoded = zip(ordered, encoder.encode(ordered), strict=True)
    return {word: vector * (1.0 if word in about else GENERIC) for word, vector in encoded}


def _words(title: str) -> list[str]:
    return title.lower().replace(":", "").split()
