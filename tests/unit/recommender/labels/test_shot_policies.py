import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.interactions.schema import UTC_TIME
from tasks.recommender.labels.classes import category_shift, proportional, quotas
from tasks.recommender.labels.evidence import Evidence, impression_vectors
from tasks.recommender.labels.impressions import newest, number_impressions
from tasks.recommender.labels.policies import shift_weights, uncertainty
from tasks.recommender.recipe import Selection
from tasks.recommender.shots import select_shots
from tasks.recommender.slates import group_rows

POLICIES = ["recent", "random", "balanced", "drift", "uncertain", "k_center"]


def table(slates: list[list[tuple[str, int]]], times: list[int] | None = None) -> pa.Table:
    """Impressions `s0`, `s1`, … of (item, label), a second apart unless `times` says otherwise."""
    times = times or list(range(len(slates)))
    rows = [
        (times[n] * 1_000_000, f"s{n}", f"u{n}", item, label)
        for n, slate in enumerate(slates)
        for item, label in slate
    ]
    time, slate, user, item, label = zip(*rows, strict=True) if rows else ([],) * 5
    return pa.table(
        {
            "event_time": pa.array(time, pa.int64()).cast(UTC_TIME),
            "impression_id": pa.array(slate, pa.string()),
            "user_id": pa.array(user, pa.string()),
            "item_id": pa.array(item, pa.string()),
            "label": pa.array(label, pa.int8()),
        }
    )


NONE = table([])


def chosen(rows: pa.Table, shots: int, policy: str, evidence: Evidence = Evidence(), seed: int = 1):  # noqa: B008
    picked = select_shots(
        rows,
        NONE,
        shots=shots,
        replay_share=0,
        seed=seed,
        selection=Selection(policy=policy),
        evidence=evidence,
    )
    return set(picked["impression_id"].to_pylist())


def catalogue(**category: str | None) -> pa.Table:
    return pa.table(
        {
            "item_id": list(category),
            "title": list(category),
            "category": pa.array(list(category.values()), pa.string()),
        }
    )


def test_recent_takes_the_newest_and_of_one_moment_those_whose_ids_come_last():
    rows = table([[("a", 1)]] * 4, times=[5, 9, 5, 1])
    assert chosen(rows, 2, "recent") == {"s1", "s2"}
    assert set(newest(rows, 1)["impression_id"].to_pylist()) == {"s1"}
    assert not len(newest(rows, 0))


def test_random_differs_by_seed_and_not_by_call():
    rows = table([[("a", 1)]] * 30)
    assert chosen(rows, 5, "random", seed=3) == chosen(rows, 5, "random", seed=3)
    assert len({frozenset(chosen(rows, 5, "random", seed=seed)) for seed in range(8)}) > 1


def test_balanced_takes_as_many_clicked_single_candidates_as_skipped():
    rows = table([[("a", int(n % 10 == 0))] for n in range(60)])
    ids = chosen(rows, 8, "balanced")
    assert sum(int(each[1:]) % 10 == 0 for each in ids) == 4
    assert len(ids) == 8


def test_balanced_takes_as_many_slates_of_each_clicked_category():
    slates = [[("sport", 1), ("food", 0)]] * 40 + [[("food", 1), ("sport", 0)]] * 5
    known = Evidence(catalogue=catalogue(sport="sport", food="food"))
    ids = chosen(table(slates), 6, "balanced", known)
    assert sum(int(each[1:]) >= 40 for each in ids) == 3
    # The five of the small class do not fill half of 20: the large class gives the rest.
    ids = chosen(table(slates), 20, "balanced", known)
    assert sum(int(each[1:]) >= 40 for each in ids) == 5
    assert len(ids) == 20


def test_the_share_of_a_category_among_drift_shots_follows_its_shift():
    rng = np.random.default_rng(0)
    items = rng.permutation(["grew"] * 1000 + ["fell"] * 1000 + ["stayed"] * 2000)
    rows = table([[(item, 1), ("stayed", 0)] for item in items])
    shift = {"grew": (0.1, 0.4), "fell": (0.4, 0.1), "stayed": (0.5, 0.5)}
    known = Evidence(catalogue=catalogue(grew="grew", fell="fell", stayed="stayed"), shift=shift)
    picked = [
        items[int(each[1:])]
        for seed in range(10)
        for each in chosen(rows, 40, "drift", known, seed=seed)
    ]
    share = {name: picked.count(name) / len(picked) for name in shift}
    # In proportion to share × weight: 1/4 · 4, 1/4 · 1/4 and 1/2 · 1, over 1.5625.
    assert share["grew"] == pytest.approx(0.64, abs=0.07)
    assert share["stayed"] == pytest.approx(0.32, abs=0.07)
    assert share["fell"] == pytest.approx(0.04, abs=0.03)


def test_drift_weights_are_clipped_and_what_is_not_named_weighs_one():
    shift = {"new": (0.0, 0.2), "gone": (0.2, 0.0), "never": (0.0, 0.0), "half": (0.2, 0.1)}
    weights = shift_weights(np.array([*shift, "unheard"], object), shift)
    assert weights.tolist() == [10.0, 0.1, 1.0, 0.5, 1.0]


def test_a_shift_is_read_off_two_tables():
    before, now = (
        table([[("a", 1), ("b", 0)]] * 2),
        table([[("a", 0), ("a", 0), ("a", 1), ("c", 0)]]),
    )
    assert category_shift(before, now, catalogue(a="x", b="y", c=None)) == {
        "": (0.0, 0.25),
        "x": (0.5, 0.75),
        "y": (0.5, 0.0),
    }


def test_uncertain_takes_the_single_candidates_nearest_to_a_half():
    rows = table([[("a", 0)]] * 5)
    known = Evidence(probabilities=lambda _: np.array([0.9, 0.55, 0.1, 0.4, 0.99]))
    assert chosen(rows, 2, "uncertain", known) == {"s1", "s3"}


def test_uncertain_takes_the_slates_whose_shares_are_evenest_whatever_their_length():
    rows = table([[("a", 0)] * 2, [("a", 0)] * 4, [("a", 0)] * 3])
    p = np.array([0.2, 0.2, 0.9, 0.1, 0.1, 0.1, 0.5, 0.4, 0.5])
    known = Evidence(probabilities=lambda _: p)
    assert chosen(rows, 1, "uncertain", known) == {"s0"}
    assert chosen(rows, 2, "uncertain", known) == {"s0", "s2"}
    # By hand: odds 1/4 and 1/4 are shares of one half, the most uncertain that two can be.
    assert uncertainty(p, number_impressions(rows))[0] == pytest.approx(1.0)


def test_k_center_leaves_no_cluster_without_a_shot():
    rows = table([[("a", 0)]] * 30)
    where = np.repeat([0.0, 10.0, 20.0], [26, 2, 2])
    known = Evidence(vectors=lambda _: np.stack([where, np.zeros(30)], axis=1))
    ids = chosen(rows, 3, "k_center", known)
    assert {float(where[int(each[1:])]) for each in ids} == {0.0, 10.0, 20.0}


def test_herded_replay_keeps_the_mean_of_each_class_and_each_class_its_share():
    rng = np.random.default_rng(2)
    # Three in four were clicked. Both classes lie around a point of their own.
    label = np.arange(80) % 4 > 0
    vectors = rng.standard_normal((80, 4)) + 5 * label[:, None]
    rows = table([[("a", int(clicked))] for clicked in label])

    def error(replay: str, seed: int) -> float:
        shots = select_shots(
            rows.slice(0, 0),
            rows,
            shots=16,
            replay_share=1,
            seed=seed,
            selection=Selection(replay=replay),
            evidence=Evidence(vectors=lambda _: vectors),
        )
        places = np.array([int(each[1:]) for each in shots["impression_id"].to_pylist()])
        if replay == "herding":
            assert label[places].sum() == 12
        return float(np.linalg.norm(vectors[places].mean(0) - vectors.mean(0)))

    assert error("herding", 0) < min(error("random", seed) for seed in range(50))


def test_nothing_is_computed_that_the_policy_does_not_need():
    def never(_: pa.Table) -> np.ndarray:
        raise AssertionError("asked")

    rows = table([[("a", 1)], [("b", 0)], [("a", 0)]])
    evidence = Evidence(probabilities=never, vectors=never)
    for policy in ("recent", "random", "balanced"):
        assert len(chosen(rows, 2, policy, evidence)) == 2
    # All fit, so there is nothing to choose.
    assert len(chosen(rows, 3, "uncertain", evidence)) == 3


@pytest.mark.parametrize(
    ("policy", "missing"),
    [
        ("drift", "shift"),
        ("uncertain", "probabilities"),
        ("k_center", "vectors"),
        ("balanced", "catalogue"),
    ],
)
def test_missing_evidence_is_named(policy, missing):
    with pytest.raises(ModelError, match=f"{missing}.*not given"):
        chosen(table([[("a", 1), ("b", 0)]] * 3), 2, policy)


@given(
    st.permutations(range(24)), st.sampled_from(POLICIES), st.sampled_from(["random", "herding"])
)
@settings(max_examples=60, deadline=None)
def test_no_choice_hangs_on_the_order_of_the_rows(order, policy, replay):
    rng = np.random.default_rng(5)
    slates = [[(f"i{rng.integers(6)}", int(place == 0)) for place in range(2)] for _ in range(12)]
    rows = table(slates, times=[n // 3 for n in range(12)])
    vector = {f"s{n}": rng.random(3) for n in range(12)}
    score = {f"i{n}": float(rng.random()) for n in range(6)}
    evidence = Evidence(
        catalogue=catalogue(**{f"i{n}": "xyz"[n % 3] for n in range(6)}),
        probabilities=lambda t: np.array([score[item] for item in t["item_id"].to_pylist()]),
        vectors=lambda t: np.stack(
            [vector[s] for s in dict.fromkeys(t["impression_id"].to_pylist())]
        ),
        shift={"x": (0.1, 0.3), "y": (0.5, 0.3)},
    )
    selection = Selection(policy=policy, replay=replay, negatives=1, hardness=0.5)

    def pick(of: pa.Table) -> list[tuple[str, str, int]]:
        shots = select_shots(
            of, of, shots=8, replay_share=0.5, seed=2, selection=selection, evidence=evidence
        )
        columns = (shots[name].to_pylist() for name in ("impression_id", "item_id", "label"))
        return sorted(zip(*columns, strict=True))

    assert pick(rows.take(pa.array(order))) == pick(rows)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 60))
def test_quotas_give_all_there_is_to_give_and_no_class_more_than_it_has(sizes, num):
    sizes = np.array(sizes)
    for quota in (quotas(sizes, num), proportional(sizes, num)):
        assert quota.sum() == min(num, sizes.sum())
        assert (quota <= sizes).all()
    # No class gets two fewer than another, unless it has no more.
    even = quotas(sizes, num)
    assert all(mine >= even.max() - 1 for mine, has in zip(even, sizes, strict=True) if mine < has)


def test_an_impression_lies_at_the_mean_of_its_clicks_or_of_all_if_none_was_clicked():
    rows = table([[("a", 1), ("b", 0)], [("a", 0), ("b", 0)], [("a", 1), ("b", 1)]])
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    found = impression_vectors(group_rows(rows, None), vectors)
    assert found.tolist() == [[1, 0], [0.5, 0.5], [0.5, 0.5]]
