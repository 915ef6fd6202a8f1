from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tasks.errors import ModelError
from tasks.recommender.answers import (
    kept,
    ranks,
    threshold_for_precision,
    threshold_for_recall,
    threshold_for_volume,
)
from tasks.recommender.context import Context
from tasks.recommender.finetune import finetune
from tasks.recommender.recipe import Recipe
from tasks.recommender.score import score
from tasks.recommender.shots import split_by_time
from tasks.recommender.statistics import count_item_hours
from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.simulate import generate_day
from tests.unit.recommender.conftest import make_catalogue, make_rows

SCORES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=20
)


def test_ranks_worked_by_hand_with_slates_interleaved_and_ties_sharing_one():
    scores = np.array([0.2, 0.9, 0.9, 0.9, 0.1, 0.5])
    assert ranks(scores, ["a", "b", "a", "a", "b", "a"]).tolist() == [4, 1, 1, 1, 2, 3]


def test_nothing_has_no_ranks():
    assert ranks(np.empty(0), pa.array([], pa.string())).tolist() == []
    assert ranks(np.empty(0), pa.chunked_array([], pa.string())).tolist() == []


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.7]), st.sampled_from("abc")), min_size=1, max_size=20
    )
)
@settings(max_examples=25)
def test_ranks_are_those_of_sql(rows):
    score, slate = zip(*rows, strict=True)
    table = pa.table({"n": range(len(rows)), "score": score, "slate": slate})
    query = "SELECT rank() OVER (PARTITION BY slate ORDER BY score DESC) FROM rows_ ORDER BY n"
    with duckdb.connect() as connection:
        connection.register("rows_", table)
        expected = [rank for (rank,) in connection.sql(query).fetchall()]
    chunks = pa.chunked_array([slate[:1], slate[1:]], pa.string())
    assert ranks(np.array(score), chunks).tolist() == expected


def test_the_filter_keeps_what_is_exactly_at_the_threshold():
    probability = np.array([0.0, 0.1, np.nextafter(0.1, 0), 0.2, 1.0])
    assert kept(probability, 0.1).tolist() == [False, True, False, True, True]
    assert kept(probability, 0.0).all()
    assert kept(probability, 1.0).tolist() == [False, False, False, False, True]
    assert kept(np.empty(0), 0.5).tolist() == []


def test_precision_is_proved_by_wilsons_bound_and_not_by_a_lucky_row():
    # 100 rows at .8 with 60 clicks, one clicked row at .9, 100 at .3 with 5
    probability = np.repeat([0.9, 0.8, 0.3], [1, 100, 100])
    clicked = np.concatenate([[1], np.arange(100) < 60, np.arange(100) < 5])
    # the one row alone: Wilson's lower bound of 1 of 1 at 95 % one-sided is 0.27
    assert threshold_for_precision(probability[:1], clicked[:1], 0.3) is None
    assert threshold_for_precision(probability[:1], clicked[:1], 0.26) == 0.9
    # 61 of 101: the bound is 0.522; 66 of 201: it is 0.276
    bounds = [
        binomtest(k, n).proportion_ci(0.9, method="wilson").low for k, n in ((61, 101), (66, 201))
    ]
    assert threshold_for_precision(probability, clicked, bounds[0] - 1e-9) == 0.8
    assert threshold_for_precision(probability, clicked, bounds[0] + 1e-9) is None
    assert threshold_for_precision(probability, clicked, bounds[1] - 1e-9) == 0.3


@given(SCORES, st.floats(0, 1))
def test_recall_is_reached_and_no_larger_threshold_reaches_it(rows, target):
    probability, clicked = (np.array(column) for column in zip(*rows, strict=True))
    if not clicked.any():
        with pytest.raises(ModelError, match="was clicked, so no threshold has a recall"):
            threshold_for_recall(probability, clicked, target)
        return
    chosen = threshold_for_recall(probability, clicked, target)
    assert clicked[kept(probability, chosen)].sum() >= target * clicked.sum()
    above = probability[probability > chosen]
    assert not len(above) or clicked[probability > chosen].sum() < target * clicked.sum()


@given(SCORES, st.floats(0, 1))
def test_volume_is_kept_to_and_no_smaller_threshold_keeps_to_it(rows, share):
    probability = np.array([score for score, _ in rows])
    chosen = threshold_for_volume(probability, share)
    if chosen is None:
        assert kept(probability, probability.max()).sum() > share * len(rows)
        return
    assert kept(probability, chosen).sum() <= share * len(rows)
    below = probability[probability < chosen]
    assert not len(below) or kept(probability, below.max()).sum() > share * len(rows)


def test_a_threshold_needs_rows():
    for choose in (threshold_for_precision, threshold_for_recall):
        with pytest.raises(ModelError, match="no rows to choose a threshold on"):
            choose(np.empty(0), np.empty(0), 0.5)


@pytest.mark.parametrize("threshold", [0.05, 0.15, 0.3])
def test_what_the_filter_keeps_of_a_simulated_day_is_clicked_as_often_as_its_probabilities_say(
    threshold,
):
    portal = SimulatorSettings(impressions_per_day=4_000)
    rows = generate_day(portal, first_day=date(2026, 3, 2), number=1)
    probability, clicked = rows["click_probability"].to_numpy(), rows["label"].to_numpy()
    keep = kept(probability, threshold)
    error = np.sqrt((probability * (1 - probability))[keep].sum()) / keep.sum()
    assert abs(clicked[keep].mean() - probability[keep].mean()) < 3 * error
    assert clicked[keep].mean() > clicked.mean()


def test_a_threshold_chosen_on_one_day_has_its_precision_on_the_next():
    portal = SimulatorSettings(impressions_per_day=4_000)
    first, second = (
        generate_day(portal, first_day=date(2026, 3, 2), number=number) for number in (1, 2)
    )
    columns = [
        (day["click_probability"].to_numpy(), day["label"].to_numpy()) for day in (first, second)
    ]
    chosen = threshold_for_precision(*columns[0], 0.25)
    probability, clicked = columns[1]
    keep = kept(probability, chosen)
    assert clicked[keep].mean() == pytest.approx(0.25, abs=0.03) and keep.mean() > 0.02


def test_a_fine_tuned_rankers_filter_is_as_good_as_it_says(ranker, tmp_path):
    rows = make_rows(num_slates=500)
    context = Context(make_catalogue(), count_item_hours(rows), None, tmp_path / "embeddings")
    split = split_by_time(rows, validation_share=0.3, holdout_share=0.4)
    recipe = Recipe(head_epochs=4, adapter_epochs=0)
    tuned = finetune(ranker, split.shots, split.validation, context, recipe)
    probability = score(tuned.ranker, split.holdout, context)
    clicked = split.holdout["label"].to_numpy()
    for threshold in (0.0, 0.1, 0.2):
        keep = kept(probability, threshold)
        error = np.sqrt((probability * (1 - probability))[keep].sum()) / keep.sum()
        # the calibration's own validation of 150 slates errs as well
        assert abs(clicked[keep].mean() - probability[keep].mean()) < 4 * error
    assert 0 < keep.mean() < 0.7 and clicked[keep].mean() > 1.5 * clicked.mean()
