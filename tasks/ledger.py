"""The triggers' ledger, from the journal alone: what was asked, trained, promoted and gained."""

from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.models import day_start, learned_before, pruned_versions
from tasks.references import Published
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.trigger.ledger import Asked, DayGain, Fate, Firing

ENDED = ("kept", "rejected")
"""Events after which a version that never went live will not."""


class Before(NamedTuple):
    """The model that was live before the champion."""

    version: str | None
    """None is the zero-shot model."""


def replaced_model(
    workspace: Workspace, published: Published, champion: str | None
) -> Before | None:
    """The model that `champion` replaced, while the ledger measures what that gained; else None.

    It is measured on the first `retrain.ledger_days` days after the promotion of a version that was
    trained here, and no longer than that version is live.
    """
    journal, moves = workspace.journal, workspace.journal.moves()
    trained = {entry.model_version for entry in journal.entries(event="trained")}
    if champion is None or champion not in trained or not moves:
        return None
    move, earlier = moves[-1], moves[:-1]
    if move.model_version != champion or move.event == "rolled_back":
        return None
    since = takewhile(lambda entry: entry.key != move.key, reversed(journal.entries()))
    scored = {entry.day for entry in since if entry.event == "scored"} - {published.day}
    if len(scored) >= workspace.config.retrain.ledger_days:
        return None
    before = earlier[-1].model_version if earlier else None
    return Before(before) if _can_judge(workspace, published, before) else None


def _can_judge(workspace: Workspace, published: Published, version: str | None) -> bool:
    """Whether the version is still there, and has learned nothing of the day."""
    if version is None:
        return True
    if version in pruned_versions(workspace):
        return False
    moment = day_start(workspace, published.day)
    return learned_before(workspace.registry.version(version), moment)


def ledger_of(workspace: Workspace) -> list[dict[str, Any]]:
    """A line for each trigger that was ever asked, as `Line.to_json` has it."""
    from tasks.trigger.ledger import balance

    triggered = {
        entry.key: entry.evidence for entry in workspace.journal.entries(event="triggered")
    }
    asked = [each for evidence in triggered.values() for each in _asked(evidence)]
    return [line.to_json() for line in balance(_firings(workspace, triggered), asked)]


def _asked(triggered: dict[str, Any]) -> "list[Asked]":
    from tasks.trigger.ledger import Asked

    return [
        Asked(each["rule"], each["spoke"], each["seconds"])
        for each in triggered.get("opinions", ())
        if each["spoke"] is not None
    ]


def _firings(workspace: Workspace, triggered: dict[str, dict[str, Any]]) -> "list[Firing]":
    from tasks.trigger.ledger import Firing

    gains, fates = _gains(workspace), _fates(workspace)
    found = []
    for entry in workspace.journal.entries(event="trained"):
        version = entry.model_version
        assert version is not None, "a training is recorded with the version that it made"
        # Both are of one run of the day: <day>/r<revision>/a<attempt>/<step>
        asked = triggered.get(f"{entry.key.rpartition('/')[0]}/triggered", {})
        rules = tuple(dict.fromkeys(each.rule for each in _asked(asked) if each.spoke))
        found.append(
            Firing(
                rules,
                entry.evidence["train_seconds"],
                fates.get(version, "open"),
                tuple(gains.get(version, {}).values()),
            )
        )
    return found


def _gains(workspace: Workspace) -> "dict[str, dict[Any, DayGain]]":
    """By version and day after its promotion; a day that was scored again counts once."""
    from tasks.trigger.ledger import DayGain

    found: dict[str, dict[Any, DayGain]] = {}
    for entry in workspace.journal.entries(event="scored"):
        evidence = entry.evidence
        replaced = evidence.get("replaced")
        if replaced is not None:
            gain = DayGain(replaced["gain"], replaced["gain_error"])
            found.setdefault(evidence["version"], {})[entry.day] = gain
    return found


def _fates(workspace: Workspace) -> "dict[str, Fate]":
    """What became of each version; of those that are not named, nothing yet."""
    journal = workspace.journal
    ended: dict[str, Fate] = {
        entry.model_version: "not promoted"
        for entry in journal.entries()
        if entry.event in ENDED and entry.model_version
    }
    live: dict[str, Fate] = {
        move.model_version: "promoted"
        for move in journal.moves()
        if move.event != "rolled_back" and move.model_version
    }
    return {**ended, **live}
