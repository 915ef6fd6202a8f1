"""Which challengers are in shadow, and who leaves where there are too many: by the journal alone."""

from typing import TYPE_CHECKING, Any

from tasks.references import Shadow
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry

SHADOWED = "shadowed"
"""The journal's event of a challenger that stays to be judged on the following days."""

ENDS = ("promoted", "waiting", "kept", "approved", "rejected", "forced", "rolled_back")
"""Events after which their version is not in shadow."""


def in_shadow(workspace: Workspace) -> "dict[str, Entry]":
    """The newest entry of each challenger in shadow, by version, oldest challenger first."""
    newest: dict[str, Entry] = {}
    for entry in workspace.journal.entries():
        if entry.model_version and entry.event in (SHADOWED, *ENDS):
            newest[entry.model_version] = entry
    shadowed = [version for version, entry in newest.items() if entry.event == SHADOWED]
    return {version: newest[version] for version in sorted(shadowed, key=int)}


def shadow_of(entry: "Entry") -> Shadow:
    """The challenger that a `shadowed` entry is about."""
    return Shadow.model_validate(entry.evidence["shadow"])


FIGURES = ("gain", "low", "high", "confidence", "impressions", "users", "looks")
"""Of a contest, what is told of a challenger in shadow."""


def figures(contest: dict[str, Any] | None) -> dict[str, Any]:
    """The contest's figures by name; None each where it is undefined."""
    return {name: (contest or {}).get(name) for name in FIGURES}


def could_gain(contest: dict[str, Any] | None) -> float:
    """The upper end of a contest's gain; 1, the most there is, where nothing is known yet."""
    high = (contest or {}).get("high")
    return 1.0 if high is None else float(high)


def told(workspace: Workspace) -> list[dict[str, Any]]:
    """Those in shadow as `status` and a card tell of them."""
    return [_told(entry) for entry in in_shadow(workspace).values()]


def _told(entry: "Entry") -> dict[str, Any]:
    shadow = shadow_of(entry)
    return {
        "version": shadow.version,
        "begun": str(shadow.begun),
        "until": str(shadow.until),
        "judged": str(entry.day),
        "compared_with": shadow.compared_with,
        "reason": entry.reason,
        **figures(entry.evidence.get("contest")),
    }
