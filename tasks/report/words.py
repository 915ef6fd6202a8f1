"""A record's values as people read them. What is missing, NaN or no number becomes a dash."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MISSING = "–"
Record = Mapping[str, Any]
"""A day as one JSON document, or a part of it."""
METRIC_NAMES = {
    "impression_auc": "impression AUC",
    "pooled_auc": "pooled AUC",
    "mrr": "MRR",
    "ndcg_5": "nDCG@5",
    "ndcg_10": "nDCG@10",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}


@dataclass(frozen=True)
class Verdict:
    """How a day's outcome is said: a mark and words, and a tone that only repeats them."""

    mark: str
    headline: str
    outcome: str
    """In a word or three, without the version."""
    tone: str
    version: str = ""
    """Of a model that is promoted or waits, such as "v4"."""

    @property
    def short(self) -> str:
        """For a table's cell: "promoted v4"."""
        return f"{self.outcome} {self.version}".strip()


def verdict_words(record: Record) -> Verdict:
    """The day's verdict in words, with the model version that it concerns.

    Where a challenger of an earlier day went live, that is the day's news; the day's own then did not.
    """
    if found := from_shadow(record):
        name = str(found.get("version"))
        headline = f"Promoted: version {name} is live, after days in shadow"
        return Verdict("✓", headline, "promoted", "good", f"v{name}")
    version = record.get("model_version")
    number = f"version {version}" if version else "the challenger"
    champion = champion_words(record)
    known = {
        "promote": Verdict(
            "✓", f"Promoted: {number} is live", "promoted", "good", f"v{version}" if version else ""
        ),
        "reject": Verdict("=", f"Rejected: {champion} stays live", "rejected", "calm"),
        # of days before there were three verdicts
        "keep": Verdict("=", f"Kept: {champion} stays live", "kept", "calm"),
        "not enough evidence": _undecided(record, number, champion),
        "waiting for approval": Verdict(
            "…",
            f"Waiting for approval: {number} won, {champion} stays live",
            "waiting",
            "warn",
            f"v{version}" if version else "",
        ),
        "no retrain": Verdict("–", f"No retraining: {champion} stays live", "no retrain", "calm"),
        "published only": Verdict(
            "–", "Published only: a newer day is already live", "published only", "calm"
        ),
    }
    verdict = str(record.get("verdict") or "no verdict")
    return known.get(verdict, Verdict("!", verdict.capitalize(), verdict, "warn"))


def _undecided(record: Record, number: str, champion: str) -> Verdict:
    said = "Not enough evidence"
    if not record.get("in_shadow_until"):
        return Verdict("?", f"{said}: {champion} stays live", said.lower(), "warn")
    shadow = f"{said}: {number} stays in shadow, {champion} stays live"
    version = record.get("model_version")
    return Verdict("?", shadow, "in shadow", "warn", f"v{version}" if version else "")


def from_shadow(record: Record) -> Record | None:
    """The challenger of an earlier day that went live on this one."""
    return next((each for each in record.get("shadows") or [] if each.get("live")), None)


def went_live(record: Record) -> str | None:
    """The version that went live on the day."""
    if found := from_shadow(record):
        return str(found.get("version"))
    promoted = record.get("verdict") == "promote"
    return record.get("model_version") if promoted else None


def champion_words(record: Record) -> str:
    """The model that served the day: "version 3" or "the zero-shot model"."""
    champion = str(record.get("champion") or "zero-shot")
    if champion == "zero-shot":
        return "the zero-shot model"
    return f"version {champion.removeprefix('v')}"


def as_number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def count(value: Any) -> str:
    """12345 as 12,345."""
    number = as_number(value)
    return MISSING if number is None else f"{number:,.0f}"


def decimal(value: Any, digits: int = 3) -> str:
    """0.67189 as 0.672."""
    number = as_number(value)
    return MISSING if number is None else f"{number:.{digits}f}"


def signed(value: Any, digits: int = 4) -> str:
    """−0.01234 as −0.0123, with the true minus sign; zero as 0.0000."""
    number = as_number(value)
    if number is None:
        return MISSING
    rounded = round(number, digits)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{abs(rounded):.{digits}f}"


def percent(part: Any, whole: Any = 1) -> str:
    """3, 100 as 3.0 %."""
    numerator, denominator = as_number(part), as_number(whole)
    if numerator is None or not denominator:
        return MISSING
    return f"{100 * numerator / denominator:.1f} %"


def seconds(value: Any) -> str:
    """0.41 as 0.41 s, 12.3 as 12.3 s, 83 as 1 min 23 s."""
    number = as_number(value)
    if number is None:
        return MISSING
    if number >= 60:
        whole = round(number)
        return f"{whole // 60:,} min {whole % 60} s"
    return f"{number:.1f} s" if number >= 1 else f"{number:.2f} s"


def total_seconds(record: Record) -> float | None:
    """Seconds of all stages together, or None where none was recorded."""
    values = [as_number(value) for value in (record.get("seconds") or {}).values()]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def expectation_words(name: Any) -> str:
    """ExpectColumnValuesToNotBeNull as "column values to not be null"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", clip(name))
    return spaced.removeprefix("Expect ").lower()


def gain_words(contest: Record | None, digits: int = 4) -> str:
    """The challenger's gain with its interval: "+0.0120 (+0.0040 to +0.0200)"."""
    if not contest:
        return MISSING
    low, high = signed(contest.get("low"), digits), signed(contest.get("high"), digits)
    return f"{signed(contest.get('gain'), digits)} ({low} to {high})"


def drift_words(record: Record) -> str:
    """The drifted columns, "none", or a dash on a day that was not compared."""
    drift = record.get("drift")
    if not drift:
        return MISSING
    drifted = [str(column.get("column")) for column in drifted_columns(record)]
    return ", ".join(drifted) or "none"


def drifted_columns(record: Record) -> list[Record]:
    """The columns over their threshold, the farthest over it first."""
    columns = (record.get("drift") or {}).get("columns") or []
    return sorted((c for c in columns if c.get("drifted")), key=excess, reverse=True)


AGAINST = {"rolling": "the days before", "champion": "the champion's days"}
"""A drift's reference in words: sudden drifts show against the first, gradual ones against the other."""


def against_words(column: Record) -> str:
    """The reference from which a column moved most."""
    return AGAINST.get(str(column.get("reference")), MISSING)


def usual_words(column: Record) -> list[tuple[str, bool]]:
    """A column's effect beside what is usual, against each reference; and whether it drifted."""
    told = []
    for name, seen in (column.get("against") or {}).items():
        high = as_number(seen.get("high"))
        usual = "learning what is usual" if high is None else f"usual up to {high:.3f}"
        effect = f"{AGAINST.get(name, name)}: {decimal(seen.get('value'))}, {usual}"
        told.append((effect, bool(seen.get("drifted"))))
    return told


def excess(column: Record) -> float:
    """A column's drift as a multiple of its threshold; 0 where either is unknown."""
    value, threshold = as_number(column.get("value")), as_number(column.get("threshold"))
    return value / threshold if value is not None and threshold else 0.0


def trigger_words(record: Record) -> str:
    """Why the day retrained or did not."""
    trigger = record.get("trigger") or {}
    return "; ".join(str(reason) for reason in trigger.get("reasons") or []) or MISSING


def percent_whole(value: Any) -> str:
    """0.95 as 95 %."""
    number = as_number(value)
    return MISSING if number is None else f"{100 * number:g} %"


def clip(value: Any, most: int = 160) -> str:
    """`value` as visible text of at most `most` characters; a dash for None and for nothing."""
    text = ("" if value is None else visible(str(value))) or MISSING
    return text if len(text) <= most else text[: most - 1] + "…"


def visible(text: str) -> str:
    """`text` on one line, with spaces for what could redraw a terminal or turn text around."""
    return "".join(c if c.isprintable() else " " for c in text)
