"""Which knobs of a recipe a sweep turns, and between what: those that matter with few labels.

What is trained stays within the operator's means: where the recipe leaves the network as it was
published, so does every trial. Knobs that choose the labels, their number or the base are not turned:
trials are compared on the same shots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, get_args

from tasks.errors import ModelError
from tasks.recommender.recipe import Recipe, Tuning
from tasks.recommender.recipe_check import trains_network

Value = float | int | str
METHODS = {member().method: member for member in get_args(get_args(Tuning)[0])}
"""The ways to tune, by the word that pipelines.yaml has for them."""


class Drawing(Protocol):
    """The part of an Optuna trial that draws values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number between `low` and `high`."""

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
        """One of `choices`."""


@dataclass(frozen=True)
class Rates:
    """A learning rate between two others, drawn by its logarithm, to two digits."""

    path: str
    low: float
    high: float

    def draw(self, trial: Drawing) -> Value:
        """A value for one trial."""
        return float(f"{trial.suggest_float(self.path, self.low, self.high, log=True):.2g}")

    def reaching(self, value: Any) -> "Rates":
        """The same, wide enough for `value`."""
        return replace(self, low=min(self.low, value), high=max(self.high, value))


@dataclass(frozen=True)
class Grid:
    """One of a few values."""

    path: str
    choices: tuple[Value, ...]

    def draw(self, trial: Drawing) -> Value:
        """A value for one trial."""
        return trial.suggest_categorical(self.path, self.choices)

    def reaching(self, value: Any) -> "Grid":
        """The same, with `value` among them."""
        return self if value in self.choices else replace(self, choices=(*self.choices, value))


Knob = Rates | Grid

METHOD = Grid("tuning.method", ("lora", "ia3", "top_layers", "bottleneck"))
ALWAYS: tuple[Knob, ...] = (
    Grid("objective.loss", ("listwise", "pointwise", "bpr")),
    Grid("objective.label_smoothing", (0.0, 0.05, 0.1, 0.2)),
    Grid("regularize.distill", (0.0, 0.1, 0.3, 1.0)),
)
OF_THE_HEAD: tuple[Knob, ...] = (Grid("head_epochs", (10, 20, 40, 80)),)
OF_STEPS: tuple[Knob, ...] = (
    Grid("regularize.l2_sp", (0.0, 0.02, 0.06, 0.2, 0.6, 2.0)),
    Grid("regularize.r_drop", (0.0, 0.1, 0.3, 1.0)),
)
"""Of the optimizer's; the head's convex fit takes none."""
OF_STEPS_OF_THE_HEAD: tuple[Knob, ...] = (
    Rates("optimization.learning_rate", 3e-4, 3e-2),
    Grid("optimization.dropout", (0.05, 0.1, 0.2, 0.4)),
    Grid("slates_per_step", (16, 64, 256)),
)
OF_THE_NETWORK: tuple[Knob, ...] = (
    Rates("optimization.encoder_learning_rate", 2e-5, 3e-3),
    Grid("adapter_epochs", (1, 2, 4)),
)
OF_A_METHOD: Mapping[str, tuple[Knob, ...]] = {
    "lora": (Grid("tuning.rank", (4, 8, 16, 32)), Grid("tuning.layers", (1, 2, 4))),
    "ia3": (Grid("tuning.layers", (1, 2, 4)),),
    "top_layers": (Grid("tuning.layers", (1, 2, 4)),),
    "bottleneck": (Grid("tuning.width", (16, 48)), Grid("tuning.layers", (1, 2, 4))),
}
"""Knobs of one way to tune; Optuna knows them by the method too, for each means another thing."""


@dataclass(frozen=True)
class Space:
    """The recipes that a sweep draws from."""

    configured: Recipe
    """What every knob that is not turned stands at."""
    keep_tuning: bool = False
    """Whether all trials tune as `configured` does: an adapter is only carried on by its own method."""

    def draw(self, trial: Drawing) -> Recipe:
        """A recipe for one trial, near nothing in particular: the sampler decides."""
        drawn = {knob.path: knob.draw(trial) for knob in self.knobs()}
        method = drawn.get(METHOD.path)
        if isinstance(method, str):
            scoped = _Scoped(trial, method)
            drawn |= {knob.path: knob.draw(scoped) for knob in self._knobs_of(method)}
        return with_values(self.configured, drawn)

    def standing(self) -> dict[str, Value]:
        """What would have been drawn for `configured` itself."""
        values: dict[str, Value] = {knob.path: self._at(knob.path) for knob in self.knobs()}
        method = values.get(METHOD.path)
        if isinstance(method, str):
            own = self._knobs_of(method)
            values |= {f"{method}:{knob.path}": self._at(knob.path) for knob in own}
        return values

    def knobs(self) -> list[Knob]:
        """The knobs that are turned, but for those that only one method has.

        Raises:
            ModelError: the recipe trains nothing.
        """
        kind, knobs = self.configured.ranker.kind, list(ALWAYS)
        stepped = self.configured.head_fit == "steps" or trains_network(self.configured)
        if kind == "hybrid":
            knobs += (*OF_THE_HEAD, *(OF_STEPS_OF_THE_HEAD if stepped else ()))
        if stepped:
            knobs += OF_STEPS
        if trains_network(self.configured):
            knobs += OF_THE_NETWORK if self.keep_tuning else (*OF_THE_NETWORK, METHOD)
        elif kind != "hybrid":
            raise ModelError(
                f"The recipe trains nothing of its ranker {kind}, so there is nothing to sweep. Set "
                "finetune.adapter_epochs to 1 or more, and ranker.mode, if it has one, to tuned."
            )
        return [knob.reaching(self._at(knob.path)) for knob in knobs]

    def __str__(self) -> str:
        """All that decides what may be drawn: studies over different spaces are different studies."""
        own = self._knobs_of(self.configured.tuning.method)
        return repr((self.knobs(), own, sorted(OF_A_METHOD.items())))

    def _knobs_of(self, method: str) -> list[Knob]:
        knobs = OF_A_METHOD.get(method, ())
        if method != self.configured.tuning.method:
            return list(knobs)
        return [knob.reaching(self._at(knob.path)) for knob in knobs]

    def _at(self, path: str) -> Any:
        return at(self.configured, path)


@dataclass(frozen=True)
class _Scoped:
    """Draws under names of one method's own: `lora:tuning.layers`."""

    trial: Drawing
    method: str

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        return self.trial.suggest_float(f"{self.method}:{name}", low, high, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
        return self.trial.suggest_categorical(f"{self.method}:{name}", choices)


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """`recipe` with knobs by their dotted paths set; another method begins from its defaults."""
    method = values.get(METHOD.path, recipe.tuning.method)
    if method != recipe.tuning.method:
        recipe = replace(recipe, tuning=METHODS[str(method)]())
    for path, value in values.items():
        block, _, name = path.rpartition(".")
        if path == METHOD.path:
            continue
        inner = replace(getattr(recipe, block), **{name: value}) if block else value
        changed: dict[str, Any] = {block or name: inner}
        recipe = replace(recipe, **changed)
    return recipe


def at(recipe: Recipe, path: str) -> Any:
    """The value of the knob at a dotted path."""
    block, _, name = path.rpartition(".")
    return getattr(getattr(recipe, block) if block else recipe, name)
