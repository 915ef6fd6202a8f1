"""The page that an operator reads on a model version in MLflow's own UI, as markdown."""

import json
import re
from collections.abc import Mapping

from tasks.registry.version import (
    CODE_VERSION,
    COMPARED_WITH,
    DATA_VERSIONS,
    DIGEST,
    EVIDENCE,
    FINGERPRINT,
    INTERVAL,
    LIVE_SINCE,
    REASON,
    REVIEW,
    REVIEW_BY,
    REVIEW_REASON,
    REVIEWED_AT,
    TRAINED_THROUGH,
    TRIGGER,
    VERDICT,
    WARM_START,
)

_ORIGIN = {
    TRAINED_THROUGH: "Trained on rows through",
    TRIGGER: "Trained because",
    WARM_START: "Training started from",
    DATA_VERSIONS: "Table versions",
    CODE_VERSION: "Code version",
    FINGERPRINT: "Fingerprint",
    DIGEST: "SHA-256 of its files",
    COMPARED_WITH: "Compared with version",
}
_SHOWN_ABOVE = {
    VERDICT,
    REASON,
    INTERVAL,
    EVIDENCE,
    LIVE_SINCE,
    REVIEW,
    REVIEW_BY,
    REVIEW_REASON,
    REVIEWED_AT,
}


def describe(name: str, tags: Mapping[str, str], figures: Mapping[str, object]) -> str:
    """The review page: the verdict first, then its figures, its origin, and how to load it.

    Args:
        name: registered model.
        tags: all tags of the version.
        figures: scalars of the contest, in the order to show them; empty before there was one.
    """
    verdict = _plain(tags.get(VERDICT, "not judged")).capitalize()
    lines = [f"**{verdict}.** {_plain(tags.get(REASON, ''))}".rstrip()]
    if INTERVAL in tags:
        lines += ["", f"Gain over the champion: {_plain(tags[INTERVAL])}"]
    if LIVE_SINCE in tags:
        lines += ["", f"Live since {_plain(tags[LIVE_SINCE])}"]
    lines += ["", f"Review: {_plain(_review(tags))}"]
    lines += _table("Contest", {key.replace("_", " "): value for key, value in figures.items()})
    others = {key.replace("_", " "): value for key, value in tags.items() if key not in _ORIGIN}
    for key in _SHOWN_ABOVE:
        others.pop(key.replace("_", " "), None)
    origin = {label: tags[key] for key, label in _ORIGIN.items() if key in tags}
    if WARM_START in tags:
        origin[_ORIGIN[WARM_START]] = _start(tags[WARM_START])
    lines += _table("Origin", origin | others)
    lines += ["", f"Load the champion: `mlflow.pyfunc.load_model('models:/{name}@champion')`"]
    return "\n".join(lines)


def interval(figures: Mapping[str, object]) -> str | None:
    """The gain with its interval in words, where the figures hold one."""
    match figures:
        case {
            "gain": float() | int() as gain,
            "low": float() | int() as low,
            "high": float() | int() as high,
        }:
            confidence = figures.get("confidence")
            at = f" at {100 * confidence:g} % confidence" if isinstance(confidence, float) else ""
            return f"{gain:+.4f} [{low:+.4f}, {high:+.4f}]{at}"
    return None


def _start(tag: str) -> str:
    """The model that training began with, in words; as it is written where somebody edited it."""
    try:
        told = json.loads(tag)
        if told["version"] is None:
            return f"the zero-shot model: {told['pipeline']} had no champion yet"
        return f"version {told['version']} of {told['pipeline']}, SHA-256 {told['sha256']}"
    except (KeyError, TypeError, ValueError):
        return tag


def _review(tags: Mapping[str, str]) -> str:
    state = tags.get(REVIEW, "not reviewed")
    if REVIEW_BY not in tags:
        return state
    return f"{state} by {tags[REVIEW_BY]}, {tags[REVIEWED_AT]}: {tags[REVIEW_REASON]}"


def _table(title: str, rows: Mapping[str, object]) -> list[str]:
    if not rows:
        return []
    body = [f"| {_plain(key)} | {_plain(_number(value))} |" for key, value in rows.items()]
    return ["", f"### {title}", "", "| | |", "|---|---|", *body]


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _plain(text: str) -> str:
    """Text that markdown shows as it is: item titles and reasons come from outside."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))
