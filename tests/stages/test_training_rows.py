"""Which rows of published days a challenger learns from, by the knobs that choose and weigh them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from portal import DAYS, write_config
from published import publish_days

from tasks.models import load
from tasks.recommender.recipe import Selection, Unlabelled
from tasks.recommender.shots import count_impressions
from tasks.references import Published
from tasks.training_rows import TrainingRows, training_rows
from tasks.workspace import Workspace, open_workspace

KEY = ("impression_id", "item_id")
FEW = {"shots": 60, "window_days": 2, "replay_share": 0.5, "adapter_epochs": 0}


@pytest.fixture(scope="module")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, portal_logs: Path, warm_home: Path
) -> Workspace:
    folder = tmp_path_factory.mktemp("rows")
    return open_workspace(write_config(folder, portal_logs, home=warm_home, finetune=FEW), "portal")


@pytest.fixture(scope="module")
def published(workspace: Workspace) -> Published:
    return publish_days(workspace, DAYS[:2])[-1]


@pytest.fixture
def rows_by(workspace: Workspace, published: Published):
    def found(**knobs: object) -> TrainingRows:
        settings = replace(workspace.config.finetune, **knobs)
        config = workspace.config.model_copy(update={"finetune": settings})
        return training_rows(replace(workspace, config=config), published, load(workspace, None))

    return found


def impressions(rows: TrainingRows) -> set[str]:
    return set(rows.shots["impression_id"].to_pylist())


@pytest.mark.parametrize(
    "selection",
    [
        Selection("random"),
        Selection("balanced"),
        Selection("drift"),
        Selection("uncertain"),
        Selection("k_center"),
        Selection(replay="herding"),
    ],
)
def test_every_choice_takes_as_many_other_shots_and_the_same_validation(rows_by, selection):
    newest, chosen = rows_by(), rows_by(selection=selection)
    assert count_impressions(chosen.shots) == count_impressions(newest.shots) == 60
    assert impressions(chosen) != impressions(newest)
    assert chosen.validation.equals(newest.validation)
    assert pc.max(chosen.shots["event_time"]).as_py() < chosen.holdout_from
    assert "weight" not in chosen.shots.column_names


def test_hard_skips_are_those_that_the_start_ranks_highest(rows_by, workspace):
    whole, kept = rows_by(), rows_by(selection=Selection(negatives=2, hardness=1.0))
    scores = load(workspace, None).probabilities(whole.shots, whole.context)
    candidates = list(zip(*(whole.shots[name].to_pylist() for name in KEY), strict=True))
    remained = set(zip(*(kept.shots[name].to_pylist() for name in KEY), strict=True))
    slates: dict[str, list[tuple[bool, float]]] = {}
    for key, label, score in zip(candidates, whole.shots["label"].to_pylist(), scores, strict=True):
        if not label:
            slates.setdefault(key[0], []).append((key in remained, score))
    assert len(slates) == 60
    for skips in slates.values():
        lowest = min(score for stayed, score in skips if stayed)
        assert all(score <= lowest + 1e-9 for stayed, score in skips if not stayed)
    assert len(kept.shots) < len(whole.shots)


def test_clicks_weigh_by_the_inverse_of_how_far_their_position_is_looked_at(rows_by):
    shots = rows_by(propensity=True).shots
    weight, position = shots["weight"].to_numpy(), shots["position"].to_numpy()
    clicked = shots["label"].to_numpy() > 0
    assert (weight[~clicked] == 1).all()
    assert weight[clicked].mean() == pytest.approx(1)
    far = clicked & (position > np.median(position))
    assert weight[far].mean() > weight[clicked & ~far].mean()


def test_the_validation_says_what_was_relevant_where_clicks_are_weighed(rows_by):
    rows = rows_by(propensity=True)
    for part in (rows.shots, rows.validation):
        relevance, clicked = part["relevance"].to_numpy(), part["label"].to_numpy() > 0
        assert (relevance[~clicked] == 0).all()
        assert (relevance[clicked] > 0).all()
        assert len(np.unique(relevance[clicked])) > 1


def test_impressions_that_were_not_drawn_are_there_where_pseudo_labels_ask(rows_by):
    assert not len(rows_by().unlabelled)
    rows = rows_by(unlabelled=Unlabelled(pseudo_labels=0.9))
    other = set(rows.unlabelled["impression_id"].to_pylist())
    assert other
    assert not other & impressions(rows)
    assert not other & set(rows.validation["impression_id"].to_pylist())
    assert (
        pc.max(rows.unlabelled["event_time"]).as_py()
        < pc.min(rows.validation["event_time"]).as_py()
    )
    assert rows.trained_from == pc.min(rows.unlabelled["event_time"]).as_py()
    named = rows.unlabelled["item_id"].combine_chunks().unique()
    assert pc.all(pc.is_in(named, rows.context.catalogue["item_id"].combine_chunks())).as_py()
