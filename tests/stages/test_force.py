"""A version put in service by a person whatever the gate said: who, why, and what it still says."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from portal import write_config
from versions import CONTEST, crown, let_wait, register

from flows.cli import main
from tasks import review
from tasks.errors import ConfigError, RegistryError
from tasks.live import reconcile
from tasks.review import force, gate_said, review_of, roll_back
from tasks.status import waiting_versions
from tasks.workspace import Workspace, open_workspace

ANA = "ana"
SENTENCE = "gain +0.0010 is no gain over the champion"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, tmp_path / "logs")


@pytest.fixture
def workspace(config: Path, migrated: Path) -> Workspace:
    """Version 1 is live, and the gate rejected version 2."""
    workspace = open_workspace(config, "portal")
    shutil.copy(migrated, workspace.home / "mlflow.db")
    crown(workspace, register(workspace, "f1"), over=None)
    version = register(workspace, "f2")
    workspace.registry.keep(version, verdict="reject", reason=SENTENCE, evidence=CONTEST)
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


def test_a_forced_version_is_live_and_the_journal_says_who_and_why(workspace):
    decided = force(workspace, "2", review_of(ANA, "the holdout was a holiday"))

    assert (decided.decision, decided.champion, decided.changed) == ("promoted by force", "2", True)
    entry = workspace.journal.moves()[-1]
    assert (entry.event, entry.model_version) == ("forced", "2")
    assert (entry.actor, entry.reason) == (ANA, "the holdout was a holiday")
    assert entry.effective_at == workspace.registry.version("2").live_since >= decided.at
    assert workspace.journal.champion_at(entry.effective_at) == "2"


def test_what_the_gate_said_stays_on_the_version_beside_who_forced_it(workspace):
    force(workspace, "2", review_of(ANA, "the holdout was a holiday"))
    found = workspace.registry.version("2")
    assert (found.tags["verdict"], found.tags["reason"]) == ("reject", SENTENCE)
    assert (found.tags["review"], found.tags["review_by"]) == ("forced", ANA)
    assert found.description.startswith("**Reject.** gain +0.0010 is no gain")
    assert "Review: forced by ana" in found.description


def test_a_repeat_changes_nothing_and_tells_the_first(workspace):
    first = force(workspace, "2", review_of(ANA, "a holiday"))
    before = workspace.journal.entries()
    again = force(workspace, "2", review_of("ben", "me too"))
    assert (again.changed, again.by, again.at) == (False, ANA, first.at)
    assert again.words == "portal: v2 already promoted by force by ana; v2 is live."
    assert workspace.journal.entries() == before


def test_a_champion_that_the_gate_promoted_needs_no_force(workspace):
    decided = force(workspace, "1", review_of(ANA, "to be sure"))
    assert decided.words == "portal: v1 already promoted by dayspring; v1 is live."
    assert workspace.registry.version("1").tags["review"] == "not reviewed"


def test_of_two_who_force_at_once_the_second_is_told(workspace):
    third = register(workspace, "f3")
    force(workspace, "2", review_of(ANA, "a holiday"))
    with pytest.raises(RegistryError, match=r"Version 2 is live, and not Version 1.*replaced"):
        workspace.registry.force(third, expected="1", review=review_of("ben", "mine"))
    assert workspace.registry.standing()[0] == "2"


def test_a_version_whose_files_were_altered_is_not_forced(workspace):
    folder = workspace.registry.download("2")
    (folder / "head.json").write_text('{"other": 1}')
    with pytest.raises(RegistryError, match="were altered"):
        force(workspace, "2", review_of(ANA, "a holiday"))
    assert workspace.registry.standing()[0] == "1"


def test_a_force_killed_before_its_entry_is_recorded_by_whoever_comes_next(
    workspace, config, monkeypatch
):
    monkeypatch.setattr(review, "reconcile", lambda _: None)
    force(workspace, "2", review_of(ANA, "a holiday"))
    assert workspace.journal.moves()[-1].model_version == "1"

    entry = reconcile(open_workspace(config, "portal"))

    assert entry is not None
    assert (entry.event, entry.actor, entry.reason) == ("forced", ANA, "a holiday")
    assert entry.effective_at == workspace.registry.version("2").live_since
    assert reconcile(workspace) is None


def test_a_forced_version_can_be_rolled_back_and_no_repeat_of_its_day_promotes_it(workspace):
    force(workspace, "2", review_of(ANA, "a holiday"))
    assert roll_back(workspace, None, review_of("ben", "clicks fell")).champion == "1"
    again = workspace.registry.promote("2", compared_with="1", reason="it won", evidence={})
    assert not again.moved


def test_a_version_that_waits_is_forced_and_waits_no_more(workspace):
    third = register(workspace, "f3")
    let_wait(workspace, third, over="1")
    assert gate_said(workspace, third).next == "dayspring approve portal 3 --reason TEXT"
    force(workspace, third, review_of(ANA, "now"))
    assert waiting_versions(workspace) == []
    assert workspace.registry.version(third).tags["review"] == "forced"


def test_without_force_the_command_says_what_the_gate_said_and_what_force_would_do(
    workspace, dayspring
):
    before = workspace.journal.entries()
    code, out, _ = dayspring("promote", "portal", "v2")
    assert code == 1
    assert f"v2 is not live. The gate said reject: {SENTENCE}." in out
    assert "it would replace v1" in out
    assert "dayspring promote portal 2 --force --reason TEXT" in out
    code, out, _ = dayspring("promote", "portal", "2", "--json")
    assert (code, json.loads(out)["verdict"], json.loads(out)["live"]) == (1, "reject", False)
    assert dayspring("promote", "portal", "1")[:2] == (0, "portal: v1 is live.\n")
    assert workspace.journal.entries() == before


def test_the_command_forces_with_actor_and_reason(workspace, dayspring):
    code, out, _ = dayspring(
        "promote", "portal", "2", "--force", "--reason", "a holiday", "--actor", ANA, "--json"
    )
    assert (code, json.loads(out)["champion"], json.loads(out)["by"]) == (0, "2", ANA)
    assert workspace.journal.moves()[-1].actor == ANA


def test_force_without_a_reason_is_refused(workspace, dayspring):
    code, _, err = dayspring("promote", "portal", "2", "--force")
    assert code == 2
    assert "The reason is empty; the journal records it. Give it: --reason TEXT." in err
    assert workspace.registry.standing()[0] == "1"
    with pytest.raises(ConfigError):
        review_of(ANA, " ")
