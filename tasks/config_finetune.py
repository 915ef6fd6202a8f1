"""The section `finetune` of pipelines.yaml: the recipe's knobs, and what the challenger learns from."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from tasks.knobs import Digits
from tasks.recommender.recipe import Count, Recipe
from tasks.recommender.recipe_check import check_recipe

Share = Annotated[float, Field(ge=0, lt=1), Digits]
START = re.compile(r"(?:(?P<pipeline>[^@]+)@)?(?:champion|v(?P<version>[1-9][0-9]*))")


class Complaints(ValueError):
    """Several faults of one block, each a line that begins with its own path below that block."""

    def __init__(self, told: Sequence[str]) -> None:
        super().__init__("; ".join(told))
        self.told = told


def _plain_name(name: str) -> str:
    # It names folders, tables, deployments and registered models, which all allow these.
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise ValueError(
            f"{name!r} cannot name a pipeline: use up to 63 lower-case letters, digits, - and _, "
            "beginning with a letter"
        )
    return name


PipelineName = Annotated[str, AfterValidator(_plain_name)]


@dataclass(frozen=True)
class Start:
    """A registered model that training begins with, instead of the zero-shot score."""

    pipeline: str | None
    """None is the pipeline itself."""
    version: str | None
    """None is the champion."""


def _names_a_model(text: str) -> str:
    if text and not START.fullmatch(text):
        raise ValueError(
            f"{text!r} names no model: write champion for the pipeline's own, PIPELINE@champion, or "
            "PIPELINE@v7 for a version"
        )
    return text


@dataclass(frozen=True, kw_only=True)
class Finetune(Recipe):
    """The few-shot recipe of the challenger: every knob of `Recipe`, and what it learns from."""

    base: str = "all-MiniLM-L6-v2"
    """Base encoder: a local path, the packaged default, or a Hugging Face name."""
    warm_start: Annotated[str, AfterValidator(_names_a_model)] = ""
    """Model that training starts from: champion, PIPELINE@champion or PIPELINE@v7; empty: zero-shot."""
    shots: Count
    """Labelled impressions in total."""
    window_days: Count = 14
    """Shots come from so many days up to and including the day."""
    replay_share: Share = 0.2
    """Share of the shots drawn from the days before the newest one."""
    validation_share: Share = 0.15
    """Share of the day for early stopping: later than every shot, earlier than the holdout."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Finetune":
        if complaints := check_recipe(self.recipe):
            raise Complaints(complaints)
        return self

    @property
    def recipe(self) -> Recipe:
        """How the shots are learned from; nothing of which shots."""
        return Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})

    @property
    def start(self) -> Start | None:
        """The model that `warm_start` names; None is the zero-shot score."""
        found = START.fullmatch(self.warm_start)
        return Start(found["pipeline"], found["version"]) if found else None

    def flat(self) -> dict[str, Any]:
        """Every knob by its dotted path, such as `tuning.rank`."""
        return dict(_flat(asdict(self)))


def _flat(block: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in block.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value
