from datetime import date
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.recommender.learning.objectives import listwise
from tasks.recommender.propensity import (
    HIGHEST,
    LOWEST,
    Examination,
    debiased_slate_aucs,
    estimate_examination,
    expected_relevance,
    inverse_propensity_weights,
)
from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.simulate import generate_day

HALVES = Examination(np.array([1, 2, 3]), np.array([1.0, 0.5, 0.25]))


def table(cells):
    """Columns position, clicked, item of (position, item, shown, clicks)."""
    columns = [[], [], []]
    for position, item, shown, clicks in cells:
        columns[0] += [position] * shown
        columns[1] += [1] * clicks + [0] * (shown - clicks)
        columns[2] += [item] * shown
    return np.array(columns[0]), np.array(columns[1]), pa.array(columns[2])


def test_examination_worked_by_hand_although_the_better_item_stands_on_top():
    # relevance .4 and .1, examination 1 and .5: clicks are shown · examination · relevance
    cells = [
        (1, "good", 1800, 720),
        (1, "bad", 200, 20),
        (2, "good", 200, 40),
        (2, "bad", 1800, 90),
    ]
    # click rates alone would say 130/2000 over 740/2000 = 0.18
    found = estimate_examination(*table(cells))
    np.testing.assert_allclose(found.examined, [1, 0.5], rtol=1e-4)


def test_scores_tell_examination_from_a_layout_that_knows_the_reader():
    # one item; half of the readers like it (.4) and mostly see it on top, the others (.1) below
    cells = [(1, "it", 1800, 720), (1, "it", 200, 20), (2, "it", 200, 40), (2, "it", 1800, 90)]
    position, clicked, item = table(cells)
    likes = np.repeat([1.0, 0.0, 1.0, 0.0], [1800, 200, 200, 1800])
    without = estimate_examination(position, clicked, item)
    assert without.examined[1] == pytest.approx(130 / 740, rel=1e-3), "the click rates' ratio"
    within = estimate_examination(position, clicked, item, likes)
    assert within.examined[1] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("order", ["random", "newest"])
def test_the_simulators_examination_is_recovered(order):
    portal = SimulatorSettings(
        position_bias=1.0, slate_order=order, impressions_per_day=10_000, num_users=300
    )
    rows = generate_day(portal, first_day=date(2026, 3, 2), number=1)
    found = estimate_examination(rows["position"], rows["label"], rows["item_id"])
    np.testing.assert_allclose(found.at(np.arange(1, 11)), 1 / np.arange(1, 11), atol=0.04)


def test_where_the_best_stands_first_scores_bring_the_estimate_closer_than_click_rates():
    portal = SimulatorSettings(
        position_bias=1.0, slate_order="best", impressions_per_day=10_000, num_users=300
    )
    rows = generate_day(portal, first_day=date(2026, 3, 2), number=1)
    position, clicked = rows["position"].to_numpy(), rows["label"].to_numpy()
    relevance = rows["click_probability"].to_numpy() * position
    true = 1 / np.arange(1, 11)
    rate = np.bincount(position, clicked)[1:11] / np.bincount(position)[1:11]
    scored = estimate_examination(position, clicked, rows["item_id"], relevance)
    scored_error = np.abs(scored.at(np.arange(1, 11)) - true).max()
    assert scored_error < 0.04 < np.abs(rate / rate[0] - true).max()


def test_examination_is_not_forced_to_fall_and_positions_need_not_start_at_1():
    cells = [(4, "a", 1000, 200), (9, "a", 1000, 400), (4, "b", 1000, 100), (9, "b", 1000, 200)]
    found = estimate_examination(*table(cells))
    assert found.position.tolist() == [4, 9]
    np.testing.assert_allclose(found.examined, [1, 2], rtol=1e-4)


def test_neighbouring_positions_with_few_clicks_share_one_estimate():
    cells = [(1, "a", 500, 200), (2, "a", 500, 60), (3, "a", 500, 40), (4, "a", 500, 30)]
    found = estimate_examination(*table(cells))
    # positions 2 to 4: 130 clicks of 1500 against 200 of 500
    np.testing.assert_allclose(found.examined, [1, *[130 / 1500 / 0.4] * 3], rtol=1e-4)


def test_an_estimate_stays_in_its_bounds():
    cells = [(1, "a", 100_000, 150), (2, "a", 200, 200), (3, "a", 200_000, 200)]
    found = estimate_examination(*table(cells))
    assert found.examined.tolist() == [1.0, HIGHEST, pytest.approx(2 / 3, rel=1e-3)]
    turned = estimate_examination(*table([(1, "a", 200, 200), (2, "a", 200_000, 200)]))
    assert turned.examined.tolist() == [1.0, LOWEST]


@given(st.integers(2, 4), st.permutations([0, 1, 2]))
@settings(max_examples=20)
def test_how_often_everything_was_shown_and_what_items_are_called_changes_nothing(times, names):
    cells = [
        (place, "abc"[item], 100 * (1 + (place + item) % 3), 30 + 7 * place * item)
        for place in (1, 2, 3)
        for item in range(3)
    ]
    before = estimate_examination(*table([(p, i, 3 * n, 3 * c) for p, i, n, c in cells]))
    more = [(p, "xyz"[names["abc".index(i)]], 3 * times * n, 3 * times * c) for p, i, n, c in cells]
    after = estimate_examination(*table(more))
    np.testing.assert_allclose(after.examined, before.examined, rtol=1e-6)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([(3, "a", 900, 300)], "Every row stands at position 3"),
        ([(1, "a", 900, 150), (2, "a", 900, 99)], "249 clicks at 2 positions are too few"),
        (
            [(1, "a", 900, 150), (2, "b", 900, 150), (3, "b", 900, 150)],
            "Position 2 shares no clicked item with position 1",
        ),
    ],
)
def test_what_cannot_be_estimated_says_why_and_what_to_do(cells, message):
    with pytest.raises(ModelError, match=rf"{message}.*(Train on more days|Turn)"):
        estimate_examination(*table(cells))


def test_rows_without_a_position_are_left_out_and_a_log_without_any_is_refused():
    position, clicked, item = table([(1, "a", 500, 200), (2, "a", 500, 100), (3, "a", 500, 500)])
    known = pa.array(position, pa.int32(), mask=position == 3)
    assert estimate_examination(known, clicked, item).examined[1] == pytest.approx(0.5, rel=1e-4)
    with pytest.raises(ModelError, match="None of 3 rows has a position"):
        estimate_examination(pa.nulls(3, pa.int32()), [0, 1, 1], pa.array(["a", "b", "c"]))


def test_positions_hang_together_by_a_chain_of_items():
    cells = [(1, "a"), (2, "a"), (2, "b"), (3, "b"), (3, "c"), (4, "c")]
    log = table([(place, item, 1000, round(400 * 0.5**place)) for place, item in cells])
    np.testing.assert_allclose(estimate_examination(*log).examined, [1, 0.5, 0.25, 0.25], rtol=0.5)


def test_positions_between_and_beyond_the_logged_ones_are_read_off_their_neighbours():
    curve = Examination(np.array([1, 3]), np.array([1.0, 0.4]))
    asked = pa.array([1, 2, 3, 50, None], pa.int32())
    np.testing.assert_allclose(curve.at(asked), [1, 0.7, 0.4, 0.4, 0.7])


def test_weights_worked_by_hand():
    # clicks count 1, 4 and, capped, 3: of mean 8/3 after the cap
    position, clicked = np.array([1, 3, 3, 2, 1]), np.array([1, 1, 0, 1, 0])
    weight = inverse_propensity_weights(position, clicked, HALVES, cap=3)
    np.testing.assert_allclose(weight, np.array([1, 3, 0, 2, 0]) / 2 + [0, 0, 1, 0, 1])


@given(
    st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=30),
    st.floats(0.1, 10),
)
def test_weights_of_clicks_have_mean_1_and_do_not_hang_on_the_scale_of_examination(rows, scale):
    position, clicked = (np.array(column) for column in zip(*rows, strict=True))
    weight = inverse_propensity_weights(position, clicked, HALVES, cap=1e9)
    scaled = Examination(HALVES.position, scale * HALVES.examined)
    again = inverse_propensity_weights(position, clicked, scaled, cap=1e9)
    np.testing.assert_allclose(again, weight)
    assert (weight[~clicked] == 1).all()
    assert not clicked.any() or weight[clicked].mean() == pytest.approx(1)


def test_the_weighted_loss_has_the_gradient_of_clicks_that_were_seen_as_often_as_they_count():
    # one slate each: click at position 1, 2 or 3, which counts 1, 2 or 4 times
    clicked = torch.eye(3).ravel()
    weight = inverse_propensity_weights(np.tile([1, 2, 3], 3), clicked.numpy(), HALVES, cap=10)
    logits = torch.tensor([0.3, -1.0, 0.5], requires_grad=True)

    def gradient(slates, weights):
        total = sum(
            float(weights[n]) * listwise(logits, torch.eye(3)[at], torch.zeros(3, dtype=int), 1)
            for n, at in enumerate(slates)
        )
        return torch.autograd.grad(total, logits)[0]

    weighted = gradient([0, 1, 2], weight[clicked.numpy() > 0])
    replicated = gradient([0, 1, 1, 2, 2, 2, 2], np.ones(7))
    # the weights have mean 1 over three clicks, the copies are seven
    torch.testing.assert_close(weighted, replicated * 3 / 7)


def test_weighted_clicks_have_the_mean_of_relevance():
    # half of what is examined is clicked, wherever it stands
    rng = np.random.default_rng(0)
    position = rng.integers(1, 4, 200_000)
    clicked = rng.random(200_000) < 0.5 * HALVES.at(position)
    weight = inverse_propensity_weights(position, clicked, HALVES)
    counted = np.bincount(position, clicked * weight)[1:] / np.bincount(position)[1:]
    np.testing.assert_allclose(counted / counted[0], 1, atol=0.03)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.5, 0.9]), st.booleans(), st.integers(1, 3), st.integers(0, 2)
        ),
        min_size=1,
        max_size=15,
    )
)
def test_debiased_aucs_of_slates_are_those_of_every_pair_counted_one_by_one(rows):
    rows = [*rows, *((0.5, place == 0, 1, place) for place in range(3))]
    scores, clicked, position, slate = (np.array(column) for column in zip(*rows, strict=True))
    relevant = expected_relevance(position, clicked, HALVES, cap=3)
    won, pairs = np.zeros(3), np.zeros(3)
    for i, j in permutations(range(len(rows)), 2):
        if slate[i] == slate[j]:
            pair = relevant[i] * (1 - relevant[j])
            pairs[slate[i]] += pair
            won[slate[i]] += pair * (1 + np.sign(scores[i] - scores[j])) / 2
    found = debiased_slate_aucs(scores, relevant, slate)
    if pairs.sum() <= 0:
        assert not len(found)
    else:
        np.testing.assert_allclose(found, 0.5 + (won - pairs / 2) * 3 / pairs.sum(), atol=1e-9)
        assert found.mean() == pytest.approx(won.sum() / pairs.sum())


def test_an_expected_relevance_worked_by_hand():
    relevant = expected_relevance(np.array([1, 3, 3, 2]), np.array([1, 1, 0, 1]), HALVES, cap=3)
    assert relevant.tolist() == [1, 3, 0, 2]
