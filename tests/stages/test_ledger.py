"""The ledger from a real journal, and how the models that were replaced come to be scored."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from portal import DAYS, FIRST_DAY, write_config
from published import publish_days
from versions import crown

from tasks.ledger import Before, ledger_of, replaced_model
from tasks.recommender.hybrid import zero_shot
from tasks.recommender.store import save_ranker
from tasks.references import Published
from tasks.registry.journal import Outcome
from tasks.review import review_of, roll_back
from tasks.score_champion import score_champion
from tasks.workspace import Workspace, open_workspace

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path, warm_home: Path, portal_logs: Path) -> Workspace:
    return open_workspace(write_config(tmp_path, portal_logs, home=warm_home), "portal")


def add(workspace: Workspace, seed: int, through: datetime = NOON) -> str:
    """A version that ranks in a way of its own."""
    ranker = zero_shot("all-MiniLM-L6-v2")
    ranker.head.linear.data += seed * 0.5
    folder = workspace.home / f"ranker{seed}"
    save_ranker(ranker, folder)
    return workspace.registry.register(
        folder,
        fingerprint=f"f{seed}",
        loader_module="tasks.recommender.pyfunc",
        tags={"trained_from": NOON.isoformat(), "trained_through": through.isoformat()},
        params={},
        metrics={},
    ).version


def day(n: int) -> date:
    return FIRST_DAY + timedelta(days=n)


def of_day(n: int, attempt: int = 1) -> Published:
    counts = dict.fromkeys(
        ("revision", "rows_read", "published", "quarantined", "duplicates", "late"), 1
    )
    tables = {"interactions": 1, "items": 1, "item_hours": 1}
    return Published(day=day(n), attempt=attempt, quarantine_reasons={}, **counts, **tables)


def note(
    workspace: Workspace,
    n: int,
    step: str,
    evidence: dict[str, Any],
    *,
    event: str | None = None,
    version: str | None = None,
    attempt: int = 1,
) -> None:
    outcome = Outcome("", day=day(n), model_version=version, evidence=evidence)
    workspace.journal.once(of_day(n, attempt).key(step), event or step, lambda: outcome)


def train(workspace: Workspace, n: int, version: str, *rules: str, attempt: int = 1) -> None:
    """The rules spoke, one was silent, and the version was trained in ten seconds."""
    spoken = [{"rule": rule, "spoke": True, "words": "", "seconds": 0.0} for rule in rules]
    silent = {"rule": "cadence 9 d", "spoke": False, "words": "", "seconds": 0.0}
    told = {"retrain": True, "reasons": [], "opinions": [*spoken, silent]}
    note(workspace, n, "triggered", told, attempt=attempt)
    cost = {"train_seconds": 10.0}
    note(workspace, n, "trained", cost, version=version, attempt=attempt)


def settle(workspace: Workspace, n: int, version: str, event: str) -> None:
    since = {"live_since": f"{day(n)}T23:00:00+00:00"} if event == "promoted" else {}
    note(workspace, n, "verdict", since, event=event, version=version)


def score(workspace: Workspace, n: int, version: str, gain: float, attempt: int = 1) -> None:
    replaced = {"version": None, "gain": gain, "gain_error": 0.01}
    told = {"version": version, "replaced": replaced}
    note(workspace, n, "scored", told, attempt=attempt)


def test_a_ledger_from_the_journal_worked_by_hand(workspace):
    train(workspace, 0, "1", "no champion")
    settle(workspace, 0, "1", "promoted")
    for n, gain in ((1, 0.03), (2, 0.05)):
        score(workspace, n, "1", gain)
    train(workspace, 1, "2", "drift", "probe 256")
    settle(workspace, 1, "2", "kept")
    train(workspace, 2, "3", "drift")
    settle(workspace, 2, "3", "waiting")
    lines = {line["trigger"]: line for line in ledger_of(workspace)}
    assert list(lines) == ["no champion", "cadence 9 d", "drift", "probe 256"]
    first = lines["no champion"]
    assert (first["fired"], first["precision"]) == (1, 1.0)
    assert first["mean_gain"] == pytest.approx(0.04)
    drift = lines["drift"]
    assert (drift["asked"], drift["fired"], drift["promoted"], drift["open"]) == (2, 2, 0, 1)
    assert (drift["precision"], drift["mean_gain"], drift["measured"]) == (0.0, 0.0, 1)
    assert drift["train_seconds"] == 20.0
    silent = lines["cadence 9 d"]
    assert (silent["asked"], silent["spoke"], silent["fired"]) == (3, 0, 0)


def test_what_waited_is_promoted_or_lost_once_a_person_decides(workspace):
    train(workspace, 0, "1", "drift")
    settle(workspace, 0, "1", "waiting")
    moved = Outcome("", model_version="1", evidence={"live_since": "2026-03-02T23:00:00+00:00"})
    workspace.journal.once("approved", "approved", lambda: moved)
    train(workspace, 1, "2", "probe 256")
    settle(workspace, 1, "2", "waiting")
    workspace.journal.once("rejected", "rejected", lambda: Outcome("", model_version="2"))
    lines = {line["trigger"]: line for line in ledger_of(workspace)}
    assert (lines["drift"]["promoted"], lines["drift"]["open"]) == (1, 0)
    assert (lines["probe 256"]["precision"], lines["probe 256"]["open"]) == (0.0, 0)


def test_a_day_that_was_scored_again_counts_once_and_each_training_is_paid(workspace):
    train(workspace, 0, "1", "drift")
    settle(workspace, 0, "1", "promoted")
    score(workspace, 1, "1", 0.03)
    score(workspace, 1, "1", 0.01, attempt=2)
    train(workspace, 0, "2", "drift", attempt=2)
    (line,) = (line for line in ledger_of(workspace) if line["trigger"] == "drift")
    assert (line["fired"], line["train_seconds"]) == (2, 20.0)
    assert (line["measured"], line["mean_gain"]) == (1, pytest.approx(0.01))


def test_a_journal_from_before_the_ledger_has_an_empty_one(workspace):
    note(workspace, 0, "triggered", {"retrain": True, "reasons": ["every day"]})
    note(workspace, 0, "scored", {"version": None})
    note(workspace, 0, "trained", {"train_seconds": 10.0}, version="1")
    assert ledger_of(workspace) == []


def test_the_model_before_is_measured_on_the_first_days_after_the_promotion(workspace):
    one, two = add(workspace, 1), add(workspace, 2)
    train(workspace, 0, one, "drift")
    crown(workspace, one, over=None)
    assert replaced_model(workspace, of_day(1), one) == Before(None)
    train(workspace, 1, two, "drift")
    crown(workspace, two, over=one)
    for n in (2, 3, 4):
        assert replaced_model(workspace, of_day(n), two) == Before(one)
        note(workspace, n, "scored", {"version": two})
        # A repeat of the day that is being scored does not shorten the account.
        assert replaced_model(workspace, of_day(n, attempt=2), two) == Before(one)
    assert replaced_model(workspace, of_day(5), two) is None


def test_nothing_is_measured_of_a_model_that_came_back_or_was_not_trained_here(workspace):
    one, two = add(workspace, 1), add(workspace, 2)
    crown(workspace, one, over=None)
    assert replaced_model(workspace, of_day(1), one) is None
    train(workspace, 1, two, "drift")
    crown(workspace, two, over=one)
    train(workspace, 0, one, "drift")
    roll_back(workspace, None, review_of("ana", "clicks fell"))
    assert replaced_model(workspace, of_day(2), one) is None
    assert replaced_model(workspace, of_day(2), two) is None
    assert replaced_model(workspace, of_day(2), None) is None


def test_a_model_that_knows_the_day_or_is_gone_is_no_measure(workspace):
    knowing, two = add(workspace, 1, through=NOON + timedelta(days=9)), add(workspace, 2)
    crown(workspace, knowing, over=None)
    train(workspace, 1, two, "drift")
    crown(workspace, two, over=knowing)
    assert replaced_model(workspace, of_day(2), two) is None
    assert replaced_model(workspace, of_day(12), two) == Before(knowing)
    gone = Outcome("", evidence={"versions": [knowing]})
    workspace.journal.once("pruned", "pruned", lambda: gone)
    assert replaced_model(workspace, of_day(12), two) is None


def test_the_day_is_scored_with_the_replaced_model_too_and_says_what_was_gained(workspace):
    published = publish_days(workspace, DAYS[:2])[-1]
    one, two = add(workspace, 1), add(workspace, 2)
    crown(workspace, one, over=None)
    before = score_champion.fn(workspace, published)
    assert before.replaced is None
    assert 0 < before.champion_error < 0.1

    train(workspace, 0, two, "drift")
    crown(workspace, two, over=one)
    again = published.model_copy(update={"attempt": 5})
    after = score_champion.fn(workspace, again)
    old, new = before.champion_metrics, after.champion_metrics
    assert after.replaced is not None
    assert after.replaced.version == one
    expected = new["impression_auc"] - old["impression_auc"]
    assert after.replaced.gain == pytest.approx(expected)
    assert expected != 0
    assert after.replaced.gain_error > 0
    (line,) = (line for line in ledger_of(workspace) if line["trigger"] == "drift")
    assert line["mean_gain"] == pytest.approx(expected)
