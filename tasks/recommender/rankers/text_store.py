"""A ranker of texts as what is stored of it: tensors, and words that JSON can hold."""

from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from tasks.recommender.base import Base
from tasks.recommender.rankers.cross_encoder import Classification
from tasks.recommender.rankers.prompt import Example, Questioning
from tasks.recommender.rankers.ranker import Task, TextRanker, Weights
from tasks.recommender.rankers.template import template_of
from tasks.recommender.recipe import CrossEncoder, Prompt, Tuning
from tasks.recommender.selection import State


def describe_texts(ranker: TextRanker) -> dict[str, Any]:
    """What JSON keeps of `ranker`: settings, wording, examples, and how its network was trained."""
    tuning = None if ranker.weights is None else asdict(ranker.weights.tuning)
    return {**ranker.task.described, "tuning": tuning}


def restore_texts(
    base: Base, kind: str, described: dict[str, Any], readout: State, network: State | None
) -> TextRanker:
    """The ranker that `describe_texts` described, with its tensors.

    Args:
        base: the one that it was trained on.
        kind: `cross_encoder` or `prompt`.
        described: as read from JSON.
        readout: of head and calibration.
        network: what was trained of the network; None for nothing.

    Raises:
        KeyError, TypeError, ValueError: the description is not one.
        RuntimeError: the tensors do not fit.
        ModelError: the base cannot answer the questions.
    """
    task = _task(base, kind, described)
    weights = None
    if network is not None:
        tuning: Tuning = TypeAdapter(Tuning).validate_python(described["tuning"])
        weights = Weights(tuning, network)
    own = task.new_readout(seed=0)
    own.load_state_dict(readout)
    return TextRanker(task, own, weights)


def _task(base: Base, kind: str, described: dict[str, Any]) -> Task:
    settings = described["settings"]
    if kind == "cross_encoder":
        return Classification(base, TypeAdapter(CrossEncoder).validate_python(settings))
    examples = tuple(Example(**example) for example in described["examples"])
    template = template_of(described["template"])
    return Questioning(base, TypeAdapter(Prompt).validate_python(settings), template, examples)
