"""What a reviewer sees of a version: one card, from the journal and the registry alone.

Nothing is computed or loaded here, so a year of versions is listed in a second.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from tasks.config import zone
from tasks.config_finetune import Finetune
from tasks.models import name_of
from tasks.superseded import superseded_models
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry
    from tasks.registry.pointer import Listed

Card = dict[str, Any]

METRICS = ("calibration_error", "log_loss", "ndcg_10", "mrr")
"""Figures of a contest that the gate does not ask for, and that should not have fallen."""

SHADOW = "shadow-v"
"""What the step of a day begins with that judged a version in shadow."""


def cards(workspace: Workspace, *, everything: bool = False) -> list[Card]:
    """The versions that wait or that a person decided about, newest first.

    Args:
        everything: also those that the gate alone decided about.
    """
    live = workspace.registry.standing()[0]
    steps = _steps(workspace)
    stale: dict[str, set[str]] = {}
    for each in superseded_models(workspace):
        stale.setdefault(each.version, set()).add(str(each.day))
    return [
        _card(workspace, found, steps.get(found.version, {}), live, stale.get(found.version, set()))
        for found in reversed(workspace.registry.listed())
        if everything or found.tags.get("review", "not reviewed") != "not reviewed"
    ]


def card_of(workspace: Workspace, version: str) -> Card | None:
    """The card of one version; None where there is no such version."""
    every = cards(workspace, everything=True)
    return next((card for card in every if card["version"] == version), None)


def _steps(workspace: Workspace) -> "dict[str, dict[str, Entry]]":
    """By version, the entries of the run of the day that made it, by step.

    `shadow` is the newest that judged it in shadow.
    """
    runs: dict[str, dict[str, Entry]] = {}
    version_by_run: dict[str, str] = {}
    shadows: dict[str, dict[str, Entry]] = {}
    for entry in workspace.journal.entries():
        run, _, step = entry.key.rpartition("/")
        runs.setdefault(run, {})[step] = entry
        if entry.event == "trained" and entry.model_version:
            version_by_run[run] = entry.model_version
        if step.startswith(SHADOW):
            shadows[step.removeprefix(SHADOW)] = {"shadow": entry}
    return {
        version: runs[run] | shadows.get(version, {}) for run, version in version_by_run.items()
    }


def _card(
    workspace: Workspace,
    found: "Listed",
    steps: "dict[str, Entry]",
    live: str | None,
    stale: set[str],
) -> Card:
    told = {step: entry.evidence for step, entry in steps.items()}
    first = told.get("judged", {}).get("contest") or {}
    # In shadow it was judged by all its days; where it only left, by those before.
    contest = first | (told.get("shadow", {}).get("contest") or {})
    record = told.get("closed", {}).get("record") or {}
    recipe = told.get("trained", {}).get("summary", {}).get("recipe")
    return {
        "pipeline": workspace.name,
        "version": found.version,
        "day": found.tags.get("day"),
        "verdict": found.tags.get("verdict"),
        "reason": found.tags.get("reason"),
        "live": found.version == live,
        "live_since": found.tags.get("live_since"),
        "review": _review(found),
        "obstacle": _obstacle(found, live),
        "gain": _some(contest, "gain", "low", "high", "confidence", "impressions", "users"),
        "slices": contest.get("slices") or _slices(contest.get("rules")),
        "guardrails": contest.get("rules"),
        "metrics": _metrics(contest),
        "data": _data(workspace, steps, told, stale),
        "validation": record.get("validation"),
        "drift": told.get("profiled", {}).get("report"),
        "trigger": told.get("triggered", {}).get("reasons") or [found.tags.get("trigger", "")],
        "recipe": recipe,
        "turned": _turned(recipe),
        "cost": _cost(told, record),
        "lineage": _lineage(found, told),
    }


def _review(found: "Listed") -> Card:
    tags = found.tags
    return {
        "state": tags.get("review", "not reviewed"),
        "by": tags.get("review_by"),
        "reason": tags.get("review_reason"),
        "at": tags.get("reviewed_at"),
    }


def _obstacle(found: "Listed", live: str | None) -> str | None:
    """Why a version that waits cannot be approved at the moment."""
    rival = found.tags.get("compared_with")
    if found.tags.get("review") != "waiting" or rival == (live or "zero-shot"):
        return None
    compared = rival if rival in (None, "zero-shot") else f"v{rival}"
    return f"it was compared with {compared}, and {name_of(live)} is live"


def _slices(rules: list[Card] | None) -> list[Card]:
    """The slices that guardrails are about, as a contest without those tells of them."""
    told = ("low", "high", "impressions", "users")
    return [
        {
            "slice": rule["rule"].removeprefix("slice "),
            "gain": rule["value"],
            **{name: rule[name] for name in told},
        }
        for rule in rules or []
        if rule["rule"].startswith("slice ") and rule["value"] is not None
    ]


def _metrics(contest: Card) -> Card | None:
    """The figures of both models on the newest day's rows, if these rank anything."""
    sides = {side: contest.get(side) for side in ("champion", "challenger")}
    if not all(sides.values()):
        return None
    return {
        name: {side: found.get(name) for side, found in sides.items() if found}
        for name in METRICS
        if name in contest["challenger"]
    }


def _data(
    workspace: Workspace, steps: "dict[str, Entry]", told: Card, stale: set[str]
) -> Card | None:
    """Versions of the tables, and the revision of each day, that the version learned from.

    Args:
        stale: days that were corrected since.
    """
    trained = told.get("trained")
    if not trained:
        return None
    local = zone(workspace.config)
    first, last = (
        datetime.fromisoformat(trained[name]).astimezone(local).date()
        for name in ("trained_from", "trained_through")
    )
    made = steps["trained"]
    before = [
        entry
        for entry in workspace.journal.entries(event="published")
        if entry.recorded_at <= made.recorded_at
    ]
    published = [entry.evidence for entry in before if entry.day == made.day][-1]
    learned = _revisions(before, first, last)
    return {
        "tables": {name: published[name] for name in ("interactions", "items", "item_hours")},
        "days": learned,
        "superseded": [day for day in learned if day in stale],
    }


def _revisions(published: "Iterable[Entry]", first: date, last: date) -> dict[str, int]:
    newest = {e.day: e.evidence["revision"] for e in published if e.day and first <= e.day <= last}
    return {str(day): newest[day] for day in sorted(newest)}


def _turned(recipe: Card | None) -> Card | None:
    """The knobs that do not stand where they stand by default; `shots` has no default."""
    if recipe is None:
        return None
    default = Finetune(shots=1).flat()
    return {
        knob: value
        for knob, value in recipe.items()
        if knob == "shots" or default.get(knob) != value
    }


def _cost(told: Card, record: Card) -> Card | None:
    trained = told.get("trained")
    if not trained:
        return None
    return {
        "train_seconds": trained["train_seconds"],
        "day_seconds": sum((record.get("seconds") or {}).values()) or None,
        "rows": trained["summary"].get("rows"),
        "shots": trained["summary"].get("shots"),
    }


def _lineage(found: "Listed", told: Card) -> Card:
    trained = told.get("trained", {})
    return {
        "trained_from": trained.get("trained_from") or found.tags.get("trained_from"),
        "trained_through": trained.get("trained_through") or found.tags.get("trained_through"),
        "compared_with": told.get("judged", {}).get("compared_with") or "zero-shot"
        if "judged" in told
        else found.tags.get("compared_with"),
        "base": trained.get("summary", {}).get("base"),
        "warm_start": trained.get("summary", {}).get("warm_start"),
        "code_version": found.tags.get("code_version"),
        "run_id": found.run_id,
        "sha256": found.tags.get("sha256"),
        "created_at": found.created_at.isoformat(),
    }


def _some(values: Card, *names: str) -> Card | None:
    return {name: values.get(name) for name in names} if values else None
