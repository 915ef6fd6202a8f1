import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.evidence import collect
from tasks.evaluation.fairness import fairness
from tasks.evaluation.impressions import read
from tasks.evaluation.limits import FairnessLimits
from tests.unit.evaluation.test_evidence import DAY

LIMITS = FairnessLimits()


def make_evidence(num=1500, *, boost=0.0, kinds=("category",), seed=0):
    """Slates of ten; the challenger puts group b's items higher by `boost`."""
    rng = np.random.default_rng(seed)
    is_b = rng.random(10 * num) < 0.3
    taste = rng.normal(size=10 * num)
    clicked = taste + rng.gumbel(size=10 * num) > 1.5
    champion = taste + rng.normal(size=10 * num)
    challenger = champion + boost * is_b
    squash = [1 / (1 + np.exp(-scores)) for scores in (champion, challenger)]
    rows = pa.table(
        {
            "label": clicked.astype(np.int8),
            "impression_id": pa.array(np.repeat(np.arange(num), 10)),
            "user_id": pa.array(np.repeat(rng.integers(0, num // 2, num), 10)).cast(pa.string()),
            "item_id": pa.array(rng.integers(0, 5 * num, 10 * num)).cast(pa.string()),
        }
    )
    groups = {f"{kind} a": ~is_b for kind in kinds} | {f"{kind} b": is_b for kind in kinds}
    return collect(*squash, rows, {}, groups, DAY)


def ask(evidence, limits=LIMITS, level=0.1):
    return {each.rule: each for each in fairness(evidence, read(evidence), limits, level)}


def test_equal_models_widen_no_gap():
    for found in ask(make_evidence()).values():
        assert (found.decision, found.value) == ("pass", pytest.approx(0, abs=1e-12))


def test_the_gaps_worked_by_hand():
    # b is a third of the candidates and last under the champion, first under the challenger
    rows = pa.table(
        {
            "label": [1, 0, 0, 0, 0, 1],
            "impression_id": ["i"] * 3 + ["j"] * 3,
            "user_id": ["u"] * 3 + ["v"] * 3,
            "item_id": ["a", "b", "c"] * 2,
        }
    )
    is_b = np.array([False, False, True] * 2)
    groups = {"category a": ~is_b, "category b": is_b}
    evidence = collect([0.3, 0.2, 0.1] * 2, [0.2, 0.1, 0.3] * 2, rows, {}, groups, DAY)
    found = ask(evidence, FairnessLimits(min_impressions=1))
    # AUC of a: 1, then ½; of b: 0, then 1. The gap falls from 1 to ½
    assert found["fairness of AUC by category"].value == pytest.approx(-0.5)
    # exposure over supply: ranks weigh 0.4693, 0.2961 and 0.2346 of the slate
    champion = (0.4693 + 0.2961) / (2 / 3) - 0.2346 * 3
    challenger = 0.4693 * 3 - (0.2961 + 0.2346) / (2 / 3)
    exposure = found["fairness of exposure by category"]
    assert exposure.value == pytest.approx(challenger - champion, abs=1e-3)
    assert "between category a and category b" in exposure.reason
    assert (exposure.impressions, exposure.users) == (2, 2)


def test_a_group_that_is_pushed_up_breaks_the_exposure_gap():
    found = ask(make_evidence(boost=2.0))
    assert found["fairness of exposure by category"].decision == "breach"


def test_a_group_whose_clicks_are_found_less_well_breaks_the_auc_gap():
    found = ask(make_evidence(boost=-2.0))["fairness of AUC by category"]
    assert found.decision == "breach"
    assert "between category b and category a, wider by +0.1" in found.reason


def test_each_kind_of_group_has_gaps_of_its_own():
    evidence = make_evidence(kinds=("category", "surface"))
    found = ask(evidence, FairnessLimits(groups=("surface", "age")))
    assert list(found) == [
        "fairness of AUC by surface",
        "fairness of exposure by surface",
        "fairness by age",
    ]
    missing = found["fairness by age"]
    assert (missing.decision, missing.decides) == ("not enough evidence", False)
    assert missing.reason == "of 0 groups fewer than two have 5 % of the impressions"


def test_a_group_with_little_traffic_is_left_out_of_the_gap():
    found = ask(make_evidence(), FairnessLimits(min_share=0.9))
    assert not found["fairness by category"].decides


def test_a_group_that_is_too_small_to_judge_keeps_a_winner_waiting():
    found = ask(make_evidence(60), FairnessLimits(min_impressions=50))["fairness by category"]
    assert (found.decision, found.decides) == ("not enough evidence", True)
    assert found.reason.startswith("category b has ")
    assert found.reason.endswith("judged impressions are fewer than the min_impressions of 50")
