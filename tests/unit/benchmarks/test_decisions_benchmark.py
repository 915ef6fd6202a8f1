"""`benchmarks/decisions.py`: its contests are the gate's, and its figures are what they say."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.evaluation.item_gains import gains_by_item
from tasks.evaluation.metrics import auc_by_slate
from tasks.evaluation.slates import group_slates, tie_runs

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports one of the benchmarks' modules by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return lambda name: __import__(name)


@pytest.fixture
def portal(benchmarks: Any) -> Any:
    return benchmarks("decisions_portal").open_portal(300, 60, 3, seed=5)


def test_a_share_has_wilsons_interval(benchmarks):
    share_interval = benchmarks("decisions_row").share_interval
    # Brown, Cai & DasGupta: n = 10, 2 hits, 95 %: 0.057 to 0.510
    assert share_interval(2, 10) == pytest.approx((0.2, 0.057, 0.510), abs=0.001)
    assert share_interval(0, 10)[:2] == (0, 0)
    assert share_interval(10, 10)[::2] == (1, 1)


def test_the_evidence_is_that_of_the_gates_own_functions(benchmarks, portal):
    made = benchmarks("decisions_portal")
    day = portal.days[1]
    pair = made.draw_pair(portal, made.Errors(by_item=0.5), np.random.default_rng(1))
    found = made.evidence_of(day, pair, np.random.default_rng(2), with_items=True)
    draw = np.random.default_rng(2)
    click = draw.random(day.probability.shape, dtype=np.float32) < day.probability
    scores = pair.scores(day, draw)
    slates = group_slates(click.ravel(), np.repeat(np.arange(len(click)), click.shape[1]))
    old, new = (score.ravel().astype(float) for score in scores)
    for side, values in (("champion", old), ("challenger", new)):
        expected = auc_by_slate(values, slates)[slates.ranks]
        assert found[f"{side}_auc"].to_numpy() == pytest.approx(expected)
    items = gains_by_item(tie_runs(old, slates), tie_runs(new, slates), slates, day.item.ravel())
    listed = [
        [{**each, "item_id": str(each["item_id"])} for each in slate]
        for slate in found["items"].to_pylist()
    ]
    assert listed == [slate for slate in items.to_pylist() if slate is not None]
    assert found["user_id"].to_pylist() == day.user[slates.ranks].tolist()


def test_an_item_that_is_misjudged_is_misjudged_on_every_day(benchmarks, portal):
    made = benchmarks("decisions_portal")
    pair = made.draw_pair(portal, made.Errors(common=0.0, by_item=1.0), np.random.default_rng(1))
    errors: dict[int, set[float]] = {}
    for day in portal.days:
        champion, challenger = pair.scores(day, np.random.default_rng(day.number))
        off = np.round(champion - day.log_odds, 4)
        assert not np.allclose(champion, challenger)
        for item, error in zip(day.item.ravel().tolist(), off.ravel().tolist(), strict=True):
            errors.setdefault(item, set()).add(error)
    spread = [max(found) - min(found) for found in errors.values()]
    assert max(spread) < 1e-3


def test_the_gap_found_gives_the_gain_asked_for(benchmarks, portal):
    made = benchmarks("decisions_portal")
    errors = made.find_gap(portal, made.Errors(), 0.03, seed=1, slates=18_000)
    # 18,000 slates, 70 % of which rank, of standard deviation 0.16: 0.0014
    assert made.true_gain(portal, errors, 20, seed=2) == pytest.approx(0.03, abs=0.006)
    assert made.true_gain(portal, made.Errors(), 20, seed=2) == pytest.approx(0, abs=0.006)


def test_a_large_gain_is_promoted_and_a_large_loss_rejected(benchmarks, portal):
    gate, made = benchmarks("decisions_gate"), benchmarks("decisions_portal")
    bar = gate.Bar(min_gain=0.002, level=1 / 365, min_impressions=50, looks=3)
    won = gate.challenge(portal, gate.Trial("", made.Errors(gap=0.8), bar, 1), seed=1)
    assert won.decision == "promote"
    lost = gate.challenge(portal, gate.Trial("", made.Errors(hurt=0.8), bar, 1), seed=1)
    assert lost.decision == "reject"


def test_the_table_and_the_document_hold_every_row(benchmarks, monkeypatch, capsys):
    decisions, row = benchmarks("decisions"), benchmarks("decisions_row")
    told = [
        row.Row("alarms in 60 days", "1,000 rows", "at most 1", 0.5, 0.2, 1.1, 40, 3.0, True),
        row.Row("alarms in 60 days, thresholds", "1,000 rows", "", 7.0, 6.0, 8.0, 40, 3.0, True),
        row.Row("flagged on the first day", "new topic", "95 %", 0.9, 0.8, 0.95, 40, 3.0, False),
    ]
    monkeypatch.setattr(decisions, "_measured", lambda parts, share: iter(told))
    monkeypatch.setattr(sys, "argv", ["decisions.py", "--json"])
    assert decisions.main() == 1
    document = json.loads(capsys.readouterr().out)
    assert [each["met"] for each in document] == [True, True, False]
    monkeypatch.setattr(sys, "argv", ["decisions.py"])
    decisions.main()
    printed = capsys.readouterr().out
    assert "+ alarms in 60 days (goal: at most 1): 0.5 [0.2, 1.1]" in printed
    assert "! flagged on the first day" in printed
    assert "1 of 2 goals met" in printed
