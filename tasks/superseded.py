"""Models that learned from rows which a correction has replaced since."""

from datetime import date, timedelta

from tasks.models import pruned_versions
from tasks.workspace import Workspace


def superseded_models(workspace: Workspace) -> dict[str, list[date]]:
    """Model version to the days of its training window that were corrected after it was trained.

    A model names the state of the table that it was trained on, and a correction the state that it
    made; a day's first publication takes no rows away, however late it comes.
    """
    window = timedelta(days=workspace.config.finetune.window_days)
    states: dict[date, int] = {}
    corrected: dict[date, int] = {}
    trained: dict[str, tuple[date, int]] = {}
    for entry in workspace.journal.entries():
        if entry.day is None or entry.event not in ("published", "trained"):
            continue
        if entry.event == "published":
            evidence = entry.evidence
            states[entry.day] = evidence["interactions"]
            if evidence["revision"] > 1:
                corrected[entry.day] = evidence["interactions"]
        elif entry.model_version:
            # Only the first attempt reads the state that the day was published with.
            state = states[entry.day] if "/a0/" in entry.key else max(states.values())
            trained[entry.model_version] = (entry.day, state)
    gone = pruned_versions(workspace)
    found = {
        version: [
            each
            for each, made in sorted(corrected.items())
            if day - window < each <= day and made > state
        ]
        for version, (day, state) in trained.items()
        if version not in gone
    }
    return {version: days for version, days in found.items() if days}
