import time
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import EvaluationError
from tasks.evaluation.contest import hold_contest
from tasks.evaluation.debiased import debiased_impression_auc
from tasks.evaluation.evidence import EVIDENCE, collect, exposure_by_row
from tasks.evaluation.metrics import log_loss, measure
from tasks.evaluation.slates import group_slates, tie_runs
from tests.unit.evaluation.test_contest import make_rows

DAY = date(2026, 11, 3)


def make_table(num_users=60, seed=0):
    champion, challenger, clicked, impressions, users = make_rows(num_users, seed)
    rows = pa.table(
        {
            "label": clicked.astype(np.int8),
            "impression_id": impressions,
            "user_id": users,
            "item_id": [f"n{n % 97}" for n in range(len(clicked))],
        }
    )
    return champion, challenger, rows


def test_a_slate_worked_by_hand():
    # ranks under the champion: a, b, c; under the challenger: c, then a and b tied
    rows = pa.table(
        {
            "label": [0, 1, 0],
            "impression_id": ["i"] * 3,
            "user_id": ["u"] * 3,
            "item_id": ["a", "b", "c"],
        }
    )
    sports = np.array([True, True, False])
    [row] = collect(
        [0.5, 0.4, 0.1],
        [0.2, 0.2, 0.8],
        rows,
        {"b": np.array([False, True, False]), "c": np.array([False, False, True])},
        {"sports": sports, "none": np.zeros(3, bool)},
        DAY,
    ).to_pylist()
    assert (row["day"], row["impression_id"], row["user_id"]) == (DAY, "i", "u")
    assert (row["clicks"], row["candidates"]) == (1, 3)
    # the click is above one of two skips; then below one and tied with the other
    assert (row["champion_auc"], row["challenger_auc"]) == (0.5, 0.25)
    assert row["champion_loss"] == pytest.approx(-np.log([0.5, 0.4, 0.9]).mean())
    assert row["challenger_expected"] == pytest.approx(1.2)
    assert row["slices"] == ["b"]
    # b's pairs with a and c: half of them won, then a quarter
    gains = {each["item_id"]: (each["gain"], each["weight"]) for each in row["items"]}
    assert gains == {"a": (0.25, 0.5), "b": (-0.25, 1.0), "c": (-0.5, 0.5)}
    # 1/log2(1 + rank) is 1, 0.6309 and 0.5
    [group] = row["exposure"]
    assert group["group"] == "sports"
    assert group["champion"] == pytest.approx(1.6309 / 2.1309, abs=1e-4)
    assert group["challenger"] == pytest.approx(1.1309 / 2.1309, abs=1e-4)
    assert group["share"] == pytest.approx(2 / 3)
    assert group["clicked"]


def test_the_means_over_impressions_are_the_metrics_of_the_rows():
    champion, challenger, rows = make_table()
    evidence = collect(champion, challenger, rows, {}, {}, DAY)
    assert evidence.schema == EVIDENCE
    for scores, name in ((champion, "champion"), (challenger, "challenger")):
        metrics = measure(scores, rows["label"], rows["impression_id"])
        auc = evidence[f"{name}_auc"].drop_null().to_numpy()
        assert auc.mean() == pytest.approx(metrics.impression_auc)
        assert len(auc) == metrics.impressions < evidence.num_rows
        loss = evidence[f"{name}_loss"].to_numpy() @ evidence["candidates"].to_numpy()
        assert loss / rows.num_rows == pytest.approx(log_loss(scores, rows["label"]))
        assert evidence[f"{name}_expected"].to_numpy().sum() == pytest.approx(scores.sum())


def test_with_examinations_the_aucs_are_against_relevance():
    champion, challenger, rows = make_table()
    examined = np.tile(1 / np.arange(1, 11) ** 0.3, rows.num_rows // 10)
    evidence = collect(champion, challenger, rows, {}, {}, DAY, examined=examined)
    for scores, name in ((champion, "champion"), (challenger, "challenger")):
        whole = debiased_impression_auc(scores, rows["label"], rows["impression_id"], examined)
        assert evidence[f"{name}_auc"].to_numpy().mean() == pytest.approx(whole)


def test_evidence_does_not_depend_on_the_order_of_the_rows():
    champion, challenger, rows = make_table()
    member = np.random.default_rng(1).random(rows.num_rows) < 0.4
    order = np.random.default_rng(2).permutation(rows.num_rows)
    first = collect(champion, challenger, rows, {"s": member}, {"g": member}, DAY)
    again = collect(
        champion[order],
        challenger[order],
        rows.take(pa.array(order)),
        {"s": member[order]},
        {"g": member[order]},
        DAY,
    )
    for name in first.column_names:
        if name.endswith(("_loss", "_expected")):  # sums in another order
            assert again[name].to_numpy() == pytest.approx(first[name].to_numpy())
        elif name not in ("exposure", "items"):  # candidates as they came
            assert again[name].equals(first[name])
    shares = [
        [group["challenger"] for slate in found["exposure"].to_pylist() for group in slate]
        for found in (first, again)
    ]
    assert shares[1] == pytest.approx(shares[0])
    for listed in zip(first["items"].to_pylist(), again["items"].to_pylist(), strict=True):
        one, other = (sorted(map(str, each or [])) for each in listed)
        assert one == other


def test_a_slate_is_in_the_slices_of_its_clicks_and_has_the_groups_of_its_candidates():
    champion, challenger, rows = make_table(num_users=30)
    first_half = np.tile(np.arange(10) < 5, rows.num_rows // 10)
    members = {"first": first_half, "second": ~first_half}
    evidence = collect(champion, challenger, rows, members, members, DAY)
    clicked = rows["label"].to_numpy().reshape(-1, 10) == 1
    by_id = {row["impression_id"]: row for row in evidence.to_pylist()}
    for number, clicks in enumerate(clicked):
        row = by_id[f"i{number}"]
        assert ("first" in row["slices"]) == clicks[:5].any()
        assert ("second" in row["slices"]) == clicks[5:].any()
        assert [each["group"] for each in row["exposure"]] == ["first", "second"]
        assert [each["clicked"] for each in row["exposure"]] == [clicks[:5].any(), clicks[5:].any()]
        assert sum(each["challenger"] for each in row["exposure"]) == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.integers(1, 4))
def test_the_exposure_of_a_slate_sums_to_one_and_never_falls_with_the_score(levels, num_slates):
    scores = np.tile(np.array(levels) / 4, num_slates)
    slates = group_slates(np.zeros(len(scores)), np.repeat(np.arange(num_slates), len(levels)))
    exposure = exposure_by_row(tie_runs(scores, slates), slates).reshape(num_slates, -1)
    assert exposure.sum(axis=1) == pytest.approx(np.ones(num_slates))
    order = np.argsort(levels)
    assert (np.diff(exposure[0][order]) >= -1e-12).all()
    tied = exposure[0][np.array(levels) == levels[0]]
    assert tied == pytest.approx(np.full(len(tied), tied[0]))


def test_the_mean_gain_of_the_evidence_is_the_contests():
    champion, challenger, rows = make_table()
    evidence = collect(champion, challenger, rows, {}, {}, DAY)
    gain = evidence["challenger_auc"].drop_null().to_numpy() - (
        evidence["champion_auc"].drop_null().to_numpy()
    )
    contest = hold_contest(
        champion,
        challenger,
        rows["label"],
        rows["impression_id"],
        rows["user_id"],
        confidence=0.9,
        seed=1,
    )
    assert gain.mean() == pytest.approx(contest.gain)


@pytest.mark.parametrize(
    ("scores", "member", "words"),
    [
        ([0.5, 1.2], [True, False], "needs probabilities"),
        ([0.5, 0.2], [True], "The membership of 's' is bool of shape (1,), and 2 rows need"),
        ([0.5, 0.2], [1, 0], "The membership of 's' is int64"),
    ],
)
def test_what_does_not_fit_the_rows_is_refused(scores, member, words):
    rows = pa.table(
        {"label": [0, 1], "impression_id": ["i"] * 2, "user_id": ["u"] * 2, "item_id": ["a", "b"]}
    )
    with pytest.raises(EvaluationError) as refused:
        collect([0.5, 0.2], scores, rows, {"s": np.array(member)}, {}, DAY)
    assert words in str(refused.value)


def test_a_hundred_thousand_rows_of_evidence_take_a_fraction_of_a_second():
    champion, challenger, rows = make_table(num_users=4000)
    rng = np.random.default_rng(5)
    members = {f"slice {n}": rng.random(rows.num_rows) < 0.2 for n in range(10)}
    began = time.process_time()
    evidence = collect(champion, challenger, rows, members, members, DAY)
    assert time.process_time() - began < 1
    assert evidence.num_rows == rows.num_rows // 10 > 9_000
