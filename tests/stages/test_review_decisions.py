"""Approve, reject and roll back on a real MLflow and a real journal, killed and raced."""

import gzip
import json
import shutil
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from portal import write_config
from versions import crown, let_wait, register

from flows.cli import main
from tasks import live, review
from tasks.errors import ConfigError, RegistryError
from tasks.live import reconcile
from tasks.registry import version as versions_noun
from tasks.registry.journal import Outcome
from tasks.registry.store import open_client
from tasks.review import approve, follow_up, reject, review_of, roll_back
from tasks.sources import day_digest
from tasks.workspace import Workspace, open_workspace

ANA = "ana"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, tmp_path / "logs")


@pytest.fixture
def workspace(config: Path, migrated: Path) -> Workspace:
    """Version 1 was promoted over the zero-shot model, version 2 over version 1."""
    workspace = open_workspace(config, "portal")
    shutil.copy(migrated, workspace.home / "mlflow.db")
    crown(workspace, register(workspace, "f1"), over=None)
    crown(workspace, register(workspace, "f2"), over="1")
    return workspace


@pytest.fixture
def dayspring(config, capsys, monkeypatch):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dayspring", *arguments, "--config", str(config)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return left.value.code, printed.out, printed.err

    return run


def champion(workspace: Workspace) -> str | None:
    """As MLflow's own client resolves the alias."""
    client = open_client(workspace.tracking_uri)
    found = client.get_registered_model(workspace.registry.name).aliases.get("champion")
    return str(found) if found else None


def test_a_rollback_restores_the_champion_before_and_says_who_and_why(workspace):
    decided = roll_back(workspace, None, review_of(ANA, "clicks fell"))
    follow_up(workspace)

    assert (decided.version, decided.changed) == ("1", True)
    assert champion(workspace) == "1"
    taken_out, restored = workspace.registry.version("2"), workspace.registry.version("1")
    assert taken_out.tags["review"] == "rolled back"
    assert restored.tags["review"] == "restored"
    assert taken_out.tags["review_by"] == restored.tags["review_by"] == ANA
    assert "Review: rolled back by ana" in taken_out.description
    assert "clicks fell" in restored.description
    assert restored.live_since == decided.at
    entry = workspace.journal.moves()[-1]
    assert (entry.event, entry.actor, entry.reason) == ("rolled_back", ANA, "clicks fell")
    assert workspace.journal.ascent() == ["1"]


def test_a_second_rollback_leads_to_the_zero_shot_model_and_a_third_is_told(workspace):
    roll_back(workspace, None, review_of(ANA, "bad"))
    assert roll_back(workspace, None, review_of(ANA, "bad too")).champion is None

    assert champion(workspace) is None
    assert workspace.registry.champion() is None
    with pytest.raises(RegistryError, match="nothing to roll back"):
        roll_back(workspace, None, review_of(ANA, "again"))


def test_a_rollback_to_the_zero_shot_model_takes_the_alias_away(workspace):
    assert roll_back(workspace, "zero-shot", review_of(ANA, "start over")).champion is None
    assert champion(workspace) is None
    assert workspace.journal.champion_at(datetime.now(UTC) + timedelta(1)) is None


def test_a_rollback_that_was_overtaken_changes_nothing(workspace, config):
    """Two people roll back at once: the second must not take out what the first restored."""
    other = open_workspace(config, "portal")
    with pytest.raises(RegistryError, match=r"Version 1 is live, and not Version 2"):
        roll_back(workspace, None, review_of(ANA, "bad"))
        other.registry.roll_back(None, expected="2", review=review_of("ben", "bad"))
    assert champion(workspace) == "1"


def test_a_rollback_to_what_is_live_says_so_and_moves_nothing(workspace):
    roll_back(workspace, "1", review_of(ANA, "bad"))
    before = workspace.journal.entries()
    again = roll_back(workspace, "1", review_of("ben", "bad"))
    assert (again.changed, again.by) == (False, ANA)
    assert workspace.journal.entries() == before


def test_only_a_version_that_was_live_can_be_rolled_back_to(workspace):
    register(workspace, "f3")
    with pytest.raises(RegistryError, match=r"v3 of portal was never live.*v1, v2, zero-shot"):
        roll_back(workspace, "3", review_of(ANA, "try"))


def test_a_version_that_was_rolled_back_is_not_promoted_again(workspace):
    """A repeat of its day: its promotion was killed before the journal knew of it."""
    roll_back(workspace, None, review_of(ANA, "clicks fell"))
    again = workspace.registry.promote("2", compared_with="1", reason="it won", evidence={})
    assert not again.moved
    assert again.reason == "Version 2 was rolled back by ana: clicks fell"
    assert champion(workspace) == "1"


def test_a_version_that_was_rolled_back_can_be_restored_by_name(workspace):
    roll_back(workspace, "1", review_of(ANA, "clicks fell"))
    roll_back(workspace, "2", review_of(ANA, "it was the dashboard"))
    assert champion(workspace) == "2"
    assert workspace.registry.version("2").tags["review"] == "restored"


def test_a_winner_waits_and_an_approval_promotes_it(workspace):
    third = register(workspace, "f3")
    waited = let_wait(workspace, third, over="2")
    assert (waited.moved, waited.waiting) == (False, True)
    assert champion(workspace) == "2"
    assert workspace.registry.version(third).tags["verdict"] == "waiting for approval"

    decided = approve(workspace, third, review_of(ANA, "looks right"))

    assert champion(workspace) == third == decided.champion
    found = workspace.registry.version(third)
    assert (found.tags["review"], found.tags["verdict"]) == ("approved", "promote")
    assert found.tags["interval"].startswith("+0.0120")
    assert "| gain | 0.0120 |" in found.description
    entry = workspace.journal.moves()[-1]
    assert (entry.event, entry.actor, entry.model_version) == ("approved", ANA, third)
    assert entry.effective_at == found.live_since


def test_an_approval_fails_where_the_champion_is_another_one_and_the_version_waits_on(workspace):
    third, fourth = register(workspace, "f3"), register(workspace, "f4")
    let_wait(workspace, third, over="2")
    crown(workspace, fourth, over="2")

    with pytest.raises(
        RegistryError, match=r"version 4 won meanwhile.*Nothing was changed.*reject"
    ):
        approve(workspace, third, review_of(ANA, "looks right"))
    assert champion(workspace) == fourth
    assert workspace.registry.version(third).tags["review"] == "waiting"

    roll_back(workspace, None, review_of(ANA, "v4 was worse"))
    assert approve(workspace, third, review_of(ANA, "looks right")).champion == third


def test_a_rejection_ends_the_wait_and_the_decision_stays(workspace):
    third = register(workspace, "f3")
    let_wait(workspace, third, over="2")
    first = reject(workspace, third, review_of(ANA, "cold items suffer"))
    again = reject(workspace, third, review_of("ben", "me too"))

    assert (first.changed, again.changed) == (True, False)
    assert (again.by, again.reason) == (ANA, "cold items suffer")
    assert [e.actor for e in workspace.journal.entries(event="rejected")] == [ANA]
    assert champion(workspace) == "2"
    with pytest.raises(RegistryError, match=r"was rejected by ana: cold items suffer"):
        approve(workspace, third, review_of("ben", "I like it"))
    assert not let_wait(workspace, third, over="2").waiting, "a repeat of its day"
    assert workspace.registry.version(third).tags["review"] == "rejected"


def test_a_repeated_approval_tells_the_first_one(workspace):
    third = register(workspace, "f3")
    let_wait(workspace, third, over="2")
    approve(workspace, third, review_of(ANA, "looks right"))
    again = approve(workspace, third, review_of("ben", "fine"))
    assert (again.changed, again.by, again.reason) == (False, ANA, "looks right")
    with pytest.raises(RegistryError, match="was approved by ana"):
        reject(workspace, third, review_of("ben", "no"))


def test_what_does_not_wait_cannot_be_approved(workspace):
    third = register(workspace, "f3")
    with pytest.raises(RegistryError, match=r"does not wait for a review.*not reviewed"):
        approve(workspace, third, review_of(ANA, "why not"))


def test_a_decision_killed_before_its_entry_is_recorded_by_whoever_comes_next(
    workspace, config, monkeypatch
):
    monkeypatch.setattr(review, "reconcile", lambda _: None)
    decided = roll_back(workspace, "1", review_of(ANA, "clicks fell"))
    assert workspace.journal.moves()[-1].model_version == "2"

    entry = reconcile(open_workspace(config, "portal"))

    assert entry is not None
    assert (entry.event, entry.actor, entry.reason) == ("rolled_back", ANA, "clicks fell")
    assert entry.effective_at == decided.at
    assert reconcile(workspace) is None


def test_a_promotion_killed_before_its_entry_is_known_from_when_the_alias_moved(workspace):
    third = register(workspace, "f3")
    moved = workspace.registry.promote(third, compared_with="2", reason="it won", evidence={})
    entry = reconcile(workspace)
    assert entry is not None
    assert (entry.actor, entry.effective_at) == ("dayspring", moved.live_since)
    crown(workspace, third, over="2")  # the day is repeated, and records its verdict
    assert workspace.journal.ascent() == ["1", "2", third]
    assert reconcile(workspace) is None


def test_a_day_that_will_record_its_own_promotion_is_left_to_it(workspace, tmp_path):
    third, begun = register(workspace, "f3"), date(2026, 3, 4)
    rows = tmp_path / "logs" / "interactions" / str(begun) / "00.json.gz"
    for file in (rows, tmp_path / "logs" / "items" / f"{begun}.json.gz"):
        file.parent.mkdir(parents=True)
        file.write_bytes(gzip.compress(b"{}\n"))
    digest = day_digest(workspace.config.source, begun)
    for event, evidence in (("published", {"source_digest": digest}), ("trained", {})):
        outcome = Outcome("begun", day=begun, model_version=third, evidence=evidence)
        workspace.journal.once(f"{begun}/{event}", event, lambda told=outcome: told)
    workspace.registry.promote(third, compared_with="2", reason="it won", evidence={})

    assert reconcile(workspace, continued=begun) is None

    rows.write_bytes(gzip.compress(b"{}\n{}\n"))  # the day will train another challenger
    entry = reconcile(workspace, continued=begun)
    assert entry is not None
    assert (entry.event, entry.model_version) == ("promoted", third)


def test_a_move_made_in_mlflows_own_ui_is_found_and_a_rollback_knows_the_way_back(workspace):
    third = register(workspace, "f3")
    client = open_client(workspace.tracking_uri)
    client.set_registered_model_alias(workspace.registry.name, "champion", third)
    before = datetime.now(UTC)

    entry = reconcile(workspace)

    assert entry is not None
    assert (entry.model_version, entry.actor) == (third, live.FOUND)
    assert before <= entry.effective_at <= datetime.now(UTC)
    assert reconcile(workspace) is None
    assert roll_back(workspace, None, review_of(ANA, "who did that?")).champion == "2"


def test_an_alias_deleted_in_mlflows_own_ui_is_found(workspace):
    client = open_client(workspace.tracking_uri)
    client.delete_registered_model_alias(workspace.registry.name, "champion")
    entry = reconcile(workspace)
    assert entry is not None
    assert (entry.event, entry.model_version) == ("rolled_back", None)


def test_a_registry_and_a_journal_that_agree_are_left_alone(workspace, config, tmp_path):
    assert reconcile(workspace) is None
    (tmp_path / "fresh").mkdir()
    fresh = open_workspace(write_config(tmp_path / "fresh", tmp_path), "portal")
    assert reconcile(fresh) is None


def test_moves_keep_their_order_when_the_clock_is_set_back_between_them(workspace, monkeypatch):
    class EarlyClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2001, 1, 1, tzinfo=UTC)

    third = register(workspace, "f3")
    promoted = workspace.registry.version("2").live_since
    monkeypatch.setattr(versions_noun, "datetime", EarlyClock)
    crown(workspace, third, over="2")
    first = roll_back(workspace, "zero-shot", review_of(ANA, "bad"))
    second = roll_back(workspace, "1", review_of(ANA, "better"))
    monkeypatch.undo()

    times = [promoted, *(entry.effective_at for entry in workspace.journal.moves()[2:])]
    assert times[-2:] == [first.at, second.at]
    assert times == sorted(set(times))
    live_then = [workspace.journal.champion_at(time) for time in times]
    assert live_then == ["2", third, None, "1"]


def test_the_commands_print_one_json_document_and_name_the_actor(workspace, dayspring, monkeypatch):
    third = register(workspace, "f3")
    let_wait(workspace, third, over="2")
    code, out, _ = dayspring(
        "approve", "portal", "v3", "--reason", "looks right", "--actor", ANA, "--json"
    )
    assert code == 0
    told = json.loads(out)
    assert (told["decision"], told["champion"], told["by"]) == ("approved", "3", ANA)

    monkeypatch.setenv("DAYSPRING_ACTOR", "ben")
    code, out, _ = dayspring("rollback", "portal", "--reason", "clicks fell")
    assert (code, out) == (0, "portal: rolled back; v2 is live.\n")
    assert workspace.journal.moves()[-1].actor == "ben"
    assert "Review: restored by ben" in workspace.registry.version("2").description


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["approve", "portal", "three", "--reason", "x"], 2, "'three' is no version"),
        (["approve", "portal", "2", "--reason", " "], 2, "The reason is empty"),
        (["approve", "portal", "9", "--reason", "x"], 1, "has no version '9'"),
        (["reject", "portal", "2", "--reason", "x"], 1, "does not wait for a review"),
        (["rollback", "portal", "--to", "9", "--reason", "x"], 1, "was never live"),
        (["rollback", "nope", "--reason", "x"], 2, "There is no pipeline 'nope'"),
        (["rollback", "portal"], 2, "--reason"),
    ],
)
def test_a_wrong_decision_is_told_and_changes_nothing(workspace, dayspring, arguments, code, said):
    before = workspace.journal.entries()
    left, out, err = dayspring(*arguments)
    assert (left, out) == (code, "")
    assert said in " ".join(err.split())
    assert workspace.journal.entries() == before
    assert champion(workspace) == "2"


def test_a_reason_longer_than_mlflow_shows_is_refused():
    with pytest.raises(ConfigError, match=r"1,001 characters"):
        review_of(ANA, "x" * 1001)
