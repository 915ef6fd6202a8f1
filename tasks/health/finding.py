"""What a check hands back, and running many checks so that none can stop or delay the others."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
"""error: a run will fail, or a wrong thing is served. warning: it will, if nobody looks. note: known."""

_CREDENTIALS = re.compile(r"://[^/@\s]+@")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, or (a note) one that was measured."""

    check: str
    severity: Severity
    words: str
    """One sentence with the value and the rule."""
    command: str = ""
    """What repairs it."""
    fix: Callable[[], str] | None = field(default=None, compare=False, repr=False)
    """Repairs it safely and says what was done; None where a person has to decide."""

    def to_json(self) -> dict[str, Any]:
        """The finding as `doctor --json` prints it."""
        return {
            "check": self.check,
            "severity": self.severity,
            "words": self.words,
            "command": self.command,
            "fixable": self.fix is not None,
        }


@dataclass(frozen=True)
class Check:
    """A named look at something."""

    name: str
    look: Callable[[], list[Finding]]


def run_checks(checks: Sequence[Check], *, timeout_seconds: float) -> list[Finding]:
    """The findings of all checks, in their order; they run side by side.

    A check that fails, or does not end in time, is itself a finding. One that hangs is left behind:
    its thread ends with the process.
    """
    results: list[list[Finding] | None] = [None] * len(checks)

    def run(place: int, check: Check) -> None:
        results[place] = _looked(check)

    threads = [
        threading.Thread(target=run, args=(place, check), daemon=True, name=check.name)
        for place, check in enumerate(checks)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    findings: list[Finding] = []
    for check, result in zip(checks, results, strict=True):
        findings += _late(check, timeout_seconds) if result is None else result
    return findings


def _looked(check: Check) -> list[Finding]:
    try:
        found = check.look()
    except Exception as error:
        cause = (str(error).splitlines() or [""])[0] or type(error).__name__
        found = [Finding(check.name, "error", f"The check could not be made: {cause}")]
    # An address may hold a password.
    return [replace(one, words=_CREDENTIALS.sub("://…@", one.words)) for one in found]


def _late(check: Check, timeout_seconds: float) -> list[Finding]:
    words = (
        f"The check did not end within {timeout_seconds:g} s: what it asks does not answer. "
        "Look at the other findings first, or give it longer with --timeout."
    )
    return [Finding(check.name, "error", words)]
