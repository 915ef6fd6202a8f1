import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from killed_client import killed_at
from registries import open_registry

from tasks.errors import RegistryError
from tasks.registry.alias import champion_version
from tasks.registry.registry import Registry
from tasks.registry.version import ModelVersion

Register = Callable[[str], ModelVersion]

CONTEST = {
    "champion_auc": 0.671,
    "challenger_auc": 0.683,
    "gain": 0.012,
    "low": 0.004,
    "high": 0.02,
    "confidence": 0.95,
    "curves": {"roc": [[0.0, 0.0], [1.0, 1.0]]},
}

STEPS = [
    "set_model_version_tag",
    "update_model_version",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
]


def crown(registry: Registry, version: ModelVersion, *, over: str | None = None) -> bool:
    return registry.promote(
        version.version, compared_with=over, reason="It beat the champion.", evidence=CONTEST
    ).moved


def test_the_alias_moves_to_a_challenger_that_was_compared_with_the_champion(
    registry: Registry, register: Register
) -> None:
    assert crown(registry, register("f1"))
    assert crown(registry, register("f2"), over="1")

    champion = registry.champion()
    assert champion is not None
    assert champion.version == "2"
    assert registry.challenger() is None


def test_a_promotion_leaves_its_story_on_the_version(
    registry: Registry, register: Register
) -> None:
    before = datetime.now(UTC)
    crown(registry, register("f1"))

    version = registry.version("1")
    assert version.tags["verdict"] == "promote"
    assert version.tags["reason"] == "It beat the champion."
    assert version.tags["interval"] == "+0.0120 [+0.0040, +0.0200] at 95 % confidence"
    assert version.live_since is not None
    assert before <= version.live_since <= datetime.now(UTC)
    assert version.description.startswith("**Promote.** It beat the champion.")
    assert "| challenger auc | 0.6830 |" in version.description
    assert "| Trained because | no champion yet |" in version.description
    assert "curves" not in version.description


def test_the_alias_stays_when_another_version_won_meanwhile(
    registry: Registry, register: Register
) -> None:
    first, second, third = register("f1"), register("f2"), register("f3")
    crown(registry, first)
    crown(registry, second, over="1")

    promotion = registry.promote(
        third.version, compared_with="1", reason="It beat version 1.", evidence=CONTEST
    )

    assert not promotion.moved
    assert "version 2 won meanwhile" in promotion.reason
    assert champion_version(registry) == "2"
    assert registry.version("3").tags["verdict"] == "not enough evidence"
    assert registry.version("3").live_since is None


def test_the_alias_stays_when_there_is_a_champion_and_the_rival_was_zero_shot(
    registry: Registry, register: Register
) -> None:
    first, second = register("f1"), register("f2")
    crown(registry, first)

    promotion = registry.promote("2", compared_with=None, reason="x", evidence={})

    assert not promotion.moved
    assert promotion.reason.startswith(
        f"Version {second.version} was compared with the zero-shot model, but version 1 won"
    )


def test_a_repeated_promotion_succeeds_and_changes_nothing(
    registry: Registry, register: Register
) -> None:
    crown(registry, register("f1"))
    once = registry.version("1")

    repeated = registry.promote("1", compared_with=None, reason="again", evidence={})

    assert repeated.moved
    assert repeated.live_since == once.live_since
    assert registry.version("1") == once


@pytest.mark.parametrize(
    ("step", "moment"),
    [*((step, "before") for step in STEPS), (STEPS[0], "after"), (STEPS[-1], "after")],
)
def test_a_promotion_killed_anywhere_is_completed_by_its_repeat(
    home: Path,
    registry: Registry,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    moment: str,
) -> None:
    crown(registry, register("f1"))
    second = register("f2")
    with killed_at(monkeypatch, step, moment):
        crown(registry, second, over="1")
    through = STEPS.index(step) > 3 or (STEPS.index(step) == 3 and moment == "after")
    assert champion_version(registry) == ("2" if through else "1")

    assert crown(open_registry(home), second, over="1")

    champion = registry.champion()
    assert champion is not None
    assert champion.version == "2"
    assert champion.tags["verdict"] == "promote"
    assert registry.challenger() is None


def test_a_killed_promotion_that_is_overtaken_is_told_as_lost(
    registry: Registry, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = register("f1"), register("f2")
    with killed_at(monkeypatch, "set_registered_model_alias", "before"):
        crown(registry, first)
    crown(registry, second)

    assert not crown(registry, first)
    assert registry.version("1").tags["verdict"] == "not enough evidence"
    assert registry.version("1").live_since is None
    assert champion_version(registry) == "2"


def test_of_eight_threads_that_promote_at_once_exactly_one_wins(
    home: Path, register: Register
) -> None:
    versions = [register(f"f{i}") for i in range(8)]
    start = threading.Barrier(8)

    def promote(version: ModelVersion) -> bool:
        start.wait()
        return crown(open_registry(home), version)

    with ThreadPoolExecutor(8) as threads:
        moved = list(threads.map(promote, versions))

    assert sum(moved) == 1
    winner = versions[moved.index(True)]
    assert champion_version(open_registry(home)) == winner.version
    verdicts = [open_registry(home).version(v.version).tags["verdict"] for v in versions]
    assert sorted(verdicts) == ["not enough evidence"] * 7 + ["promote"]


def test_a_kept_champion_is_explained_on_the_challenger(
    registry: Registry, register: Register
) -> None:
    crown(registry, register("f1"))
    register("f2")

    registry.keep(
        "2",
        verdict="not enough evidence",
        reason="The interval holds 0: 300 impressions cannot tell.",
        evidence={"gain": 0.001, "low": -0.004, "high": 0.006},
    )

    kept = registry.version("2")
    assert champion_version(registry) == "1"
    assert kept.tags["verdict"] == "not enough evidence"
    assert kept.tags["interval"] == "+0.0010 [-0.0040, +0.0060]"
    assert "300 impressions cannot tell" in kept.description


def test_what_comes_from_outside_cannot_write_markdown_or_html(
    registry: Registry, register: Register
) -> None:
    register("f1")
    registry.keep("1", verdict="reject", reason="a | b\n# c <script> `d`", evidence={})

    page = registry.version("1").description
    assert "a \\| b # c \\<script\\> \\`d\\`" in page


def test_the_fast_answer_agrees_with_mlflow(registry: Registry, register: Register) -> None:
    assert champion_version(registry) is None
    for step in ("f1", "f2"):
        crown(registry, register(step), over=champion_version(registry))
        champion = registry.champion()
        assert champion is not None
        assert champion_version(registry) == champion.version


def test_evidence_that_is_no_number_is_refused_before_anything_is_written(
    registry: Registry, register: Register
) -> None:
    register("f1")

    with pytest.raises(RegistryError, match=r"evidence\.gain is nan"):
        registry.promote("1", compared_with=None, reason="x", evidence={"gain": float("nan")})
    assert registry.version("1").tags["verdict"] == "not judged"


def test_a_version_that_does_not_exist_cannot_be_promoted(
    registry: Registry, register: Register
) -> None:
    register("f1")

    with pytest.raises(RegistryError, match=r"dayspring\.portal has no version '7'"):
        registry.promote("7", compared_with=None, reason="x", evidence={})
