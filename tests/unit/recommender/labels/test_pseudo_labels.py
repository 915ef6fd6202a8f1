import numpy as np
import pyarrow as pa
import pytest

from tasks.interactions.schema import UTC_TIME
from tasks.recommender.labels.pseudo import pseudo_label


def table(*sizes: int) -> pa.Table:
    slate = np.repeat(np.arange(len(sizes)), sizes)
    return pa.table(
        {
            "event_time": pa.array(slate.tolist(), pa.int64()).cast(UTC_TIME),
            "impression_id": [f"s{n}" for n in slate],
            "item_id": [f"i{place}" for place in range(len(slate))],
        }
    )


def test_single_candidates_are_labelled_at_the_confidence_and_not_below_it():
    p = np.array([0.9, 0.1, 0.8999, 0.1001, 0.5])
    labelled, kept = pseudo_label(table(1, 1, 1, 1, 1), p, 0.9)
    assert kept.tolist() == [True, True, False, False, False]
    assert labelled["label"].to_pylist() == [1, 0]
    assert labelled["weight"].to_pylist() == [0.9, 0.9]


def test_at_one_half_a_single_candidate_counts_as_clicked():
    labelled, kept = pseudo_label(table(1), np.array([0.5]), 0.5)
    assert kept.all()
    assert labelled["label"].to_pylist() == [1]


def test_a_slates_confidence_is_its_top_share_and_its_top_is_the_click():
    # Odds 1, 1/3 and 2/3, so shares 1/2, 1/6 and 1/3.
    p = np.array([0.5, 0.25, 0.4])
    labelled, kept = pseudo_label(table(3), p, 0.4999)
    assert kept.all()
    assert labelled["label"].to_pylist() == [1, 0, 0]
    assert labelled["weight"].to_pylist() == pytest.approx([0.5] * 3)
    assert not pseudo_label(table(3), p, 0.5001)[1].any()


def test_impressions_stay_whole_and_old_labels_are_not_looked_at():
    rows = table(2, 2).append_column("label", pa.array([0, 1, 0, 1], pa.int8()))
    p = np.array([0.9, 0.1, 0.5, 0.5])
    labelled, kept = pseudo_label(rows, p, 0.8)
    assert kept.tolist() == [True, True, False, False]
    assert labelled["label"].to_pylist() == [1, 0]


def test_no_confidence_keeps_nothing():
    assert not pseudo_label(table(1, 2), np.array([0.99, 0.9, 0.1]), 0.0)[1].any()


def test_equal_tops_give_one_click():
    labelled, _ = pseudo_label(table(2), np.array([0.3, 0.3]), 0.5)
    assert labelled["label"].to_pylist() == [1, 0]
