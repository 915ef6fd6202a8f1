"""Days with challengers whose strength is known: stages as a day runs them, without training."""

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from versions import register

from tasks.evaluate import evaluate
from tasks.models import live_champion, name_of
from tasks.promote import promote
from tasks.references import (
    Challenger,
    ChampionRecord,
    ContestHeld,
    Published,
    ShadowsJudged,
    Verdict,
)
from tasks.shadow import judge_shadows
from tasks.workspace import Workspace

HOLDOUT_HOUR = 17

BAR = {
    "min_gain": 0.0,
    "false_promotions_a_year": 36.5,
    "min_impressions": 100,
    "shadow_days": 2,
    "shadows": 3,
    "guardrails": {"calibration": None, "slices": None, "latency": None, "size": None},
}
"""A tenth of error for each challenger, over three days; no guardrails."""


def barred(workspace: Workspace, **changes: object) -> Workspace:
    """The workspace under another bar."""
    promote = replace(workspace.config.promote, **changes)  # type: ignore[arg-type]
    return replace(workspace, config=workspace.config.model_copy(update={"promote": promote}))


@dataclass(frozen=True)
class Known:
    """A ranker that knows each click with a strength of its own, and guesses beside it."""

    strength: float
    seed: int

    def probabilities(self, rows: pa.Table, context: object) -> Any:
        keys = zip(rows["impression_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True)
        salted = (f"{self.seed}/{impression}/{item}".encode() for impression, item in keys)
        noise = np.array([zlib.crc32(key) / 2**32 for key in salted])
        label = rows["label"].to_numpy().astype(np.float64)
        return np.clip(0.05 + 0.1 * noise + 0.1 * self.strength * label, 0.0, 1.0)


def know(monkeypatch: pytest.MonkeyPatch, strengths: dict[str | None, float]) -> None:
    """Let versions rank with these strengths; 0 is a random order."""

    def load(_: Workspace, version: str | None) -> Known:
        return Known(strengths[version], seed=int(version or 0))

    for module in ("weighing", "evaluate"):
        monkeypatch.setattr(f"tasks.{module}.load", load)


def scored(workspace: Workspace, **changes: object) -> ChampionRecord:
    """What `score_champion` says of a day, as far as shadows ask."""
    live = live_champion(workspace)
    version = live.version if live else None
    record = ChampionRecord(
        champion=name_of(version),
        version=version,
        champion_metrics=None,
        zero_shot_metrics=None,
        overtaken_by=None,
    )
    return record.model_copy(update=changes)


def challenger_of(workspace: Workspace, published: Published, name: str) -> Challenger:
    """A version that was trained on the day, all but its last hours."""
    begin = datetime.combine(published.day, time(), UTC)
    return Challenger(
        version=register(workspace, name),
        train_seconds=1.0,
        trained_from=begin,
        trained_through=begin + timedelta(hours=HOLDOUT_HOUR),
        holdout_from=begin + timedelta(hours=HOLDOUT_HOUR),
        summary={},
    )


def contend(
    workspace: Workspace,
    published: Published,
    name: str,
    shadows: ShadowsJudged | None = None,
) -> tuple[Challenger, ContestHeld, Verdict]:
    """Train, evaluate and promote on that day."""
    challenger = challenger_of(workspace, published, name)
    held = evaluate.fn(workspace, published, challenger)
    shadows = shadows or ShadowsJudged(shadows=[])
    return challenger, held, promote.fn(workspace, published, challenger, held, shadows)


def judge(workspace: Workspace, published: Published, **changes: object) -> ShadowsJudged:
    """The stage that judges those in shadow."""
    return judge_shadows.fn(workspace, published, scored(workspace, **changes))
