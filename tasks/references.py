"""What stages hand to each other: small, typed, JSON-able facts and versions, never rows or models.

The journal keeps each of them as evidence, so a run that was killed finds its own results again.
"""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class Reference(BaseModel):
    """A stage's result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = 0.0
    """Wall-clock seconds the stage took when it did the work; a repeat reads the result back."""


class Staged(Reference):
    """A day's rows, read and sorted out, not yet published."""

    day: date
    folder: str
    files: list[str]
    """Staged Parquet of the rows that were accepted."""
    source_digest: str
    """Digest of the day's logs and how they are read: equal digests are the same input."""
    rows_read: int
    quarantined: int
    reasons: dict[str, int]
    """Refused rows by reason."""


class Validated(Reference):
    """What the expectations found; it exists only if no critical one failed."""

    results: list[dict[str, Any]]
    passed: bool


class Published(Reference):
    """One revision of a day in the lake; the versions of the tables as of its commit."""

    day: date
    revision: int
    attempt: int
    rows_read: int
    published: int
    quarantined: int
    duplicates: int
    late: int
    quarantine_reasons: dict[str, int]
    interactions: int
    items: int
    item_hours: int

    def key(self, step: str) -> str:
        """The journal's key of `step`: the same for every repeat of this run of this revision."""
        return f"{self.day}/r{self.revision}/a{self.attempt}/{step}"


class Replaced(BaseModel):
    """The model that the champion replaced, on the same impressions: what the ledger counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str | None
    """None is the zero-shot model."""
    gain: float
    """The champion's impression AUC less this model's."""
    gain_error: float
    """Its standard error, clustered by user."""


class ChampionRecord(Reference):
    """How the model that was live would have ranked the day, before anything trained on it."""

    champion: str
    """`v3`, or `zero-shot` before there is a champion."""
    version: str | None
    champion_metrics: dict[str, Any] | None
    """None when the day ranks nothing: no impression with both a click and a skip."""
    zero_shot_metrics: dict[str, Any] | None
    overtaken_by: str | None
    """The champion, if it has learned from later days: this one is then only published."""
    champion_error: float | None = None
    """Standard error of the champion's impression AUC, clustered by user."""
    replaced: Replaced | None = None
    """On the days after a promotion: how the model before it ranked this day."""
    predictions: dict[str, Any] | None = None
    """The champion's on the day, by bins of log-odds: `tasks.drift.predictions`."""


class DriftFound(Reference):
    """What moved against the champion's training window."""

    report: dict[str, Any] | None
    """None on the first day, which has nothing to be compared with."""


class RuleOpinion(BaseModel):
    """What one rule said, for the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    """Its kind and the knobs that make it another rule."""
    spoke: bool | None
    """Whether it asked for a training; None where the others had decided before it was asked."""
    words: str
    seconds: float
    """What asking took."""


class Trigger(Reference):
    """Whether to retrain, and why or why not."""

    retrain: bool
    reasons: list[str]
    opinions: list[RuleOpinion] = []
    """Of every rule; none where no rule was asked."""


class Started(Reference):
    """The registered model that a training begins with."""

    pipeline: str
    """Whose version it is."""
    version: str | None
    """None where that pipeline had no champion yet: the zero-shot model."""
    sha256: str | None
    """Of the version's files, as its tag says."""


class Trained(Reference):
    """A challenger on this machine's disk, not yet in the registry."""

    folder: str
    trained_from: datetime
    trained_through: datetime
    """Time of the newest row seen in training or early stopping."""
    holdout_from: datetime
    """Time of the first row on which it may be judged."""
    summary: dict[str, Any]
    """Shots, rows, epochs, and which state was kept."""


class Challenger(Reference):
    """A registered model version that wants to be champion."""

    version: str
    train_seconds: float
    """What the training took; `seconds` is the registration's."""
    trained_from: datetime
    trained_through: datetime
    holdout_from: datetime
    summary: dict[str, Any]


class ContestHeld(Reference):
    """Champion against challenger on impressions neither has seen."""

    compared_with: str | None
    """The champion's version; None is the zero-shot model."""
    decision: str
    reason: str
    contest: dict[str, Any] | None
    """Both models' metrics, gain and interval; None when the holdout ranks nothing."""


class Shadow(BaseModel):
    """A challenger that is judged again on the days after its own, before anything trains on them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    begun: date
    """The day that it was trained and first judged on."""
    until: date
    """The last day on which it is judged."""
    compared_with: str | None
    """The champion's version; None is the zero-shot model. Evidence against another one is void."""
    level: float
    """The error that it may spend, over all days on which it is judged."""
    looks: int
    """Most such days."""


class Verdict(Reference):
    """What became of the challenger."""

    decision: str
    reason: str
    model_version: str
    live_since: datetime | None
    """When it became champion; None if it did not."""
    shadow: Shadow | None = None
    """Set where it stays to be judged on the following days."""
    contest: dict[str, Any] | None = None
    """The figures of its first contest, where it stays; the `judged` entry has all of it."""


class ShadowJudged(Reference):
    """What one day made of one challenger in shadow."""

    shadow: Shadow
    decision: str
    reason: str
    contest: dict[str, Any] | None
    """Over all its days so far; None where it was not judged on this one."""
    stays: bool
    """Whether it is in shadow after this day."""
    live_since: datetime | None = None
    """When it became champion; None if it did not."""

    @property
    def verdict(self) -> Verdict:
        """As a challenger of its own day has one."""
        return Verdict(
            decision=self.decision,
            reason=self.reason,
            model_version=self.shadow.version,
            live_since=self.live_since,
            shadow=self.shadow if self.stays else None,
        )


class ShadowsJudged(Reference):
    """What one day made of all challengers in shadow, oldest first."""

    shadows: list[ShadowJudged]

    @property
    def promoted(self) -> ShadowJudged | None:
        """The one that went live on this day."""
        return next((each for each in self.shadows if each.live_since), None)

    def serving(self, champion: ChampionRecord) -> ChampionRecord:
        """The record of the model that is live now, on the same rows: `champion` without a promotion."""
        if self.promoted is None:
            return champion
        version, contest = self.promoted.shadow.version, self.promoted.contest
        assert contest is not None, "what won was judged"
        return champion.model_copy(
            update={
                "champion": f"v{version}",
                "version": version,
                "champion_metrics": contest["challenger"],
            }
        )


class DayClosed(Reference):
    """A complete day."""

    record: dict[str, Any]
    """The document that `--json` prints and the report is rendered from."""
