"""How far a day is from its reference, column by column: sizes and words, and no verdict.

A size is on a scale on which equal shifts are equal whatever the number of rows; what sampling
alone would show stands beside it. Whether a size is unusual is for who knows the days before.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from tasks.drift import measures, rates, same_items, shares, text_effects
from tasks.drift.classifier import classify
from tasks.drift.context import NULL
from tasks.drift.effect import Effect
from tasks.drift.item_clicks import ITEM
from tasks.drift.mix import Mix
from tasks.drift.numbers import Numbers
from tasks.drift.profile import Profile
from tasks.drift.words import percent
from tasks.errors import DriftError

__all__ = ["Effect", "measure_effects"]

ORDERED = ("position", "hour")
"""Mixes of whole numbers: neighbours are grouped."""

_UNITS = {
    "candidates": "of impressions",
    "history_length": "of impressions",
    "dwell_seconds": "of dwell times",
}

Column = TypeVar("Column")


def measure_effects(
    reference: Profile, current: Profile, *, classifier: bool = False
) -> list[Effect]:
    """Every column's shift from `reference` to `current`.

    | column | measure |
    |---|---|
    | category, surface, context.FIELD of texts; position, hour | JS distance of the shares |
    | candidates, history_length, dwell_seconds, context.FIELD of numbers | the same, between quantiles |
    | click_rate, clicks_on_same_items, volume, calibration | log ratio |
    | clicks_by_category, clicks_by_position, calibration_by_prediction | log ratio by group |
    | new_items, new_users, new_categories | share shift |
    | item_embedding, item_covariance, item_mmd | standardised, relative distance; MMD |
    | item_classifier | AUC above 1/2, if `classifier` |
    | predictions | JS distance, where both have predictions of one version |
    | any column that may be null | null share |
    | schema | share of values of a type unseen before |

    A column that one of the sides lacks is left out (its null share says so), and so is novelty that
    no earlier day was there to judge, and embeddings of different encoders.

    Raises:
        DriftError: one of the two is empty.
    """
    if not reference.rows or not current.rows:
        raise DriftError("A profile without rows cannot be compared: profile the days again.")
    found = [
        *_in_both(_but_items(reference.mixes), current.mixes, _mix),
        *_in_both(reference.numbers, current.numbers, _numbers),
        _volume(reference, current),
        rates.click_rate(reference, current),
        same_items.measure(reference, current),
        rates.clicks_by("category", reference, current),
        rates.clicks_by("position", reference, current),
        _novelty("items", reference, current, _impressions),
        _novelty("users", reference, current, _users),
        _novelty("categories", reference, current, _impressions),
        *text_effects.measure(reference.text, current.text),
        classify(reference, current) if classifier else None,
        _predictions(reference, current),
        rates.calibration(reference, current),
        rates.calibration_by_prediction(reference, current),
        *_nulls(reference, current),
        _schema(reference, current),
    ]
    return [effect for effect in found if effect is not None]


def _in_both(
    reference: Mapping[str, Column],
    current: Mapping[str, Column],
    measure: Callable[[str, Column, Column], Effect],
) -> list[Effect]:
    names = [name for name in reference if name in current]
    return [measure(name, reference[name], current[name]) for name in names]


def _but_items(mixes: Mapping[str, Mix]) -> dict[str, Mix]:
    return {name: each for name, each in mixes.items() if name != ITEM}


def _mix(column: str, reference: Mix, current: Mix) -> Effect:
    measure = shares.of_whole_numbers if column in ORDERED else shares.of_values
    return measure(column, reference, current, "of candidates")


def _numbers(column: str, reference: Numbers, current: Numbers) -> Effect:
    return shares.of_numbers(column, reference, current, _UNITS.get(column, "of values"))


def _volume(reference: Profile, current: Profile) -> Effect:
    """Rows of a day: each impression is one draw, with all its rows."""
    before = reference.rows / len(reference.days)
    now = current.rows / len(current.days)
    ratio = measures.log_ratio(
        measures.Rate(reference.impressions, len(reference.days)),
        measures.Rate(current.impressions, len(current.days)),
        of_rows=False,
    )
    words = f"{now:,.0f} candidates a day, was {before:,.0f}"
    return Effect("volume", "log ratio", abs(ratio.signed), ratio.noise, words)


def _impressions(profile: Profile) -> float:
    """Rows of one impression share its hour, surface and topics: they count once."""
    return profile.impressions


def _users(profile: Profile) -> float:
    return float(profile.users.get_estimate())


def _novelty(
    what: str, reference: Profile, current: Profile, size: Callable[[Profile], float]
) -> Effect | None:
    """Against the reference's own novelty: half of a news day is new on any day."""
    if what not in reference.novelty or what not in current.novelty:
        return None
    before, now = reference.novelty[what].share, current.novelty[what].share
    if before is None or now is None:
        return None
    value, noise = measures.share_shift(before, size(reference), now, size(current))
    words = f"{percent(now)} of candidates from {what} unseen before, was {percent(before)}"
    return Effect(f"new_{what}", "share shift", value, noise, words)


def _predictions(reference: Profile, current: Profile) -> Effect | None:
    """Two models differ in their predictions of one world: only equal versions are compared."""
    same = [version for version in current.predictions if version in reference.predictions]
    if not same:
        return None
    version = max(same, key=lambda each: float(reference.predictions[each].rows.sum()))
    before, now = reference.predictions[version], current.predictions[version]
    part = before.rows.sum() / reference.rows
    return shares.of_predictions(
        before, now, (max(part * reference.impressions, 1.0), current.impressions)
    )


def _nulls(reference: Profile, current: Profile) -> list[Effect]:
    """Columns whose values went missing or came back; those always full or empty are left out."""
    effects = []
    for column in sorted({*reference.types, *current.types}):
        before, now = _null_share(reference, column), _null_share(current, column)
        if before is None or now is None or (before == now and before in (0.0, 1.0)):
            continue
        value, noise = measures.share_shift(before, reference.impressions, now, current.impressions)
        words = f"{percent(now)} missing, was {percent(before)}"
        effects.append(Effect(column, "null share", value, noise, words))
    return effects


def _null_share(profile: Profile, column: str) -> float | None:
    types = profile.types_of(column)
    rows = sum(types.values())
    return types.get(NULL, 0) / rows if rows else None


def _schema(reference: Profile, current: Profile) -> Effect | None:
    """The column with most values of a type that it never had; new columns are `_nulls`'."""
    found = []
    for column in sorted(current.types):
        known, now = set(reference.types_of(column)) - {NULL}, current.types[column]
        rows = sum(now.values())
        for kind, times in now.items():
            if known and rows and kind not in known and kind != NULL:
                was = " or ".join(sorted(known))
                words = f"{column} is {kind} in {percent(times / rows)} of rows, was {was}"
                found.append((times / rows, words))
    if not found:
        return Effect("schema", "unseen type", 0.0, 0.0, "every column has the types it had")
    value, words = max(found)
    return Effect("schema", "unseen type", value, 0.0, words)
