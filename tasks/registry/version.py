"""What a model version is to the rest of Dayspring, and the tags that carry its story."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tasks.errors import RegistryError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CHAMPION = "champion"
"""Alias of the version that is live."""

CHALLENGER = "challenger"
"""Alias of the newest version that is not live."""

FINGERPRINT = "fingerprint"
"""Tag: what the version was made from; one fingerprint is one version."""

DIGEST = "sha256"
"""Tag: SHA-256 over the version's files, as registered."""

VERDICT = "verdict"
"""Tag: not judged | promote | reject | not enough evidence | waiting for approval."""

REASON = "reason"
"""Tag: the verdict's reason in one sentence."""

INTERVAL = "interval"
"""Tag: the gain over the champion with its confidence interval, in words."""

EVIDENCE = "evidence"
"""Tag: the figures that the verdict rests on, a JSON object."""

REVIEW = "review"
"""Tag: a person's state beside the gate's verdict, one of those below; "not reviewed" at first."""

WAITING = "waiting"
APPROVED = "approved"
REJECTED = "rejected"
ROLLED_BACK = "rolled back"
"""It was live, and a person took it out of service."""
RESTORED = "restored"
"""A person rolled back to it."""
FORCED = "forced"
"""A person put it live whatever the gate said of it; the tags of the verdict still tell that."""

REVIEW_BY = "review_by"
"""Tag: who brought the version into its state of review."""

REVIEW_REASON = "review_reason"
"""Tag: why, in that person's words."""

REVIEWED_AT = "reviewed_at"
"""Tag: when, ISO 8601 in UTC."""

COMPARED_WITH = "compared_with"
"""Tag: the champion that the gate compared the version with, `zero-shot` where there was none."""

ZERO_SHOT = "zero-shot"
"""What stands for the model that is live before the first promotion, which has no version."""

LAST_MOVE = "last_move"
"""Tag of the registered model: Dayspring's last move of the alias `champion`, a JSON object."""

LIVE_SINCE = "live_since"
"""Tag: when the alias `champion` moved here, ISO 8601 in UTC."""

TRAINED_FROM = "trained_from"
"""Tag: time of the oldest row the model was trained on, ISO 8601."""

TRAINED_THROUGH = "trained_through"
"""Tag: time of the newest row the model was trained on, ISO 8601."""

DATA_VERSIONS = "data_versions"
"""Tag: versions of the tables that the model was trained on, a JSON object."""

TRIGGER = "trigger"
"""Tag: why a model was trained at all."""

WARM_START = "dayspring.warm_start"
"""Tag: the version that training started from, a JSON object of pipeline, version and sha256."""

CODE_VERSION = "code_version"
"""Tag: version of Dayspring that trained the model."""


@dataclass(frozen=True)
class ModelVersion:
    """One complete version of a pipeline's registered model."""

    name: str
    """Registered model, `dayspring.<pipeline>`."""
    version: str
    """MLflow's number of the version, as text: "3"."""
    run_id: str
    fingerprint: str
    source: str
    """Location of the version's files."""
    created_at: datetime
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """What `mlflow.pyfunc.load_model` takes."""
        return f"models:/{self.name}/{self.version}"

    @property
    def trained_from(self) -> datetime | None:
        """Time of the oldest row it was trained on, where the tag says."""
        return self._time(TRAINED_FROM)

    @property
    def trained_through(self) -> datetime | None:
        """Time of the newest row it was trained on, where the tag says."""
        return self._time(TRAINED_THROUGH)

    @property
    def live_since(self) -> datetime | None:
        """When it last became champion; None for a version that never was."""
        return self._time(LIVE_SINCE)

    def _time(self, tag: str) -> datetime | None:
        written = self.tags.get(tag)
        try:
            return datetime.fromisoformat(written) if written else None
        except ValueError:
            raise RegistryError(
                f"Version {self.version} of {self.name} has the tag {tag} {written!r}, which is no "
                "ISO 8601 time: it was edited. Correct the tag on the version's page in MLflow."
            ) from None


@dataclass(frozen=True)
class Promotion:
    """Whether the alias stands where it was asked to stand, and why."""

    moved: bool
    """True also for a repeat: the challenger is the champion now."""
    reason: str
    live_since: datetime | None
    """When the challenger became champion; None if it did not."""
    waiting: bool = False
    """It won, and waits for a person."""


@dataclass(frozen=True)
class Review:
    """Who decided about a version, and why."""

    by: str
    reason: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def tags(self, state: str) -> dict[str, str]:
        """The version's tags in that state of review."""
        return {
            REVIEW: state,
            REVIEW_BY: self.by,
            REVIEW_REASON: self.reason,
            REVIEWED_AT: self.at.isoformat(),
        }


@dataclass(frozen=True)
class Move:
    """The alias `champion` came to stand elsewhere."""

    event: str
    """promoted | approved | forced | rolled_back."""
    version: str | None
    """The version that is live from then on; None is the zero-shot model."""
    at: datetime
    by: str
    reason: str

    def to_json(self) -> str:
        """The value of the tag `last_move`."""
        return json.dumps(asdict(self) | {"at": self.at.isoformat()})

    @classmethod
    def from_json(cls, written: str) -> "Move":
        """The move that the tag tells."""
        told = json.loads(written)
        return cls(**told | {"at": datetime.fromisoformat(told["at"])})


def moment_after(*earlier: datetime | None) -> datetime:
    """Now, or just after the latest of `earlier`: a clock set back must not reorder two moves."""
    floors = [time + timedelta(microseconds=1) for time in earlier if time is not None]
    return max(datetime.now(UTC), *floors) if floors else datetime.now(UTC)


def from_mlflow(found: "MlflowVersion") -> ModelVersion:
    """Read MLflow's record of a version.

    Raises:
        RegistryError: the version was not registered by Dayspring.
    """
    tags = dict(found.tags)
    if FINGERPRINT not in tags or DIGEST not in tags:
        raise RegistryError(
            f"Version {found.version} of {found.name} has no tags {FINGERPRINT} and {DIGEST}: "
            "it was not registered by Dayspring. Point the alias at a version that was."
        )
    return ModelVersion(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id,
        fingerprint=tags[FINGERPRINT],
        source=found.source,
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        description=found.description or "",
        tags=tags,
    )
