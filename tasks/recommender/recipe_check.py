"""Which recipes contradict themselves: every complaint at once, each with value, rule and next step.

A knob that is merely unused (the temperature of a distillation that is off) is no contradiction. One that
was turned up and can do nothing is: whoever turned it up would believe that it did.
"""

from collections.abc import Iterator

from tasks.errors import ModelError
from tasks.recommender.recipe import (
    AdaLora,
    Full,
    HeadOnly,
    Hybrid,
    Lora,
    Prompt,
    Recipe,
    TopLayers,
)


def require_sense(recipe: Recipe) -> None:
    """Raise ModelError with every complaint of `check_recipe`, if there is any."""
    complaints = check_recipe(recipe)
    if complaints:
        raise ModelError("The recipe contradicts itself:\n  " + "\n  ".join(complaints))


def check_recipe(recipe: Recipe) -> list[str]:
    """What makes no sense in `recipe`: a line for each, which begins with the knob's path."""
    rules = (
        _ranker,
        _network_terms,
        _objective,
        _head_fit,
        _optimization,
        _augment,
        _selection,
        _tuning,
    )
    return [complaint for rule in rules for complaint in rule(recipe)]


def trains_network(recipe: Recipe) -> bool:
    """Whether any weight of the pretrained network, or added to it, is trained on the shots."""
    asked = not isinstance(recipe.ranker, Prompt) or recipe.ranker.mode == "tuned"
    return asked and recipe.adapter_epochs > 0 and not isinstance(recipe.tuning, HeadOnly)


def _frozen_because(recipe: Recipe) -> str:
    """Why no network is trained, and what would change that."""
    if isinstance(recipe.ranker, Prompt) and recipe.ranker.mode != "tuned":
        return f"ranker.mode {recipe.ranker.mode} trains nothing; set ranker.mode: tuned"
    if isinstance(recipe.tuning, HeadOnly):
        return "tuning.method head leaves it as it was published; choose another, such as lora"
    return "adapter_epochs 0 leaves it as it was published; set adapter_epochs to 1 or more"


def _yaml(value: object) -> str:
    """A value as pipelines.yaml has it."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ranker(recipe: Recipe) -> Iterator[str]:
    ranker = recipe.ranker
    if isinstance(ranker, Hybrid) and not recipe.head_epochs and trains_network(recipe):
        yield (
            f"head_epochs: 0 with adapter_epochs {recipe.adapter_epochs}: the network is trained "
            "under a head that has learned; set head_epochs to 1 or more, or adapter_epochs to 0"
        )
    if isinstance(ranker, Prompt) and ranker.mode == "tuned" and not trains_network(recipe):
        yield (
            "ranker.mode: tuned has nothing to tune, for a prompt has no head and "
            f"{_frozen_because(recipe)}, or ranker.mode: zero_shot"
        )
    if not isinstance(ranker, Hybrid):
        for path, value in _of_hybrid(recipe).items():
            yield (
                f"{path}: {_yaml(value)} is done for ranker.kind hybrid alone, and this is {ranker.kind}; "
                f"leave {path} out, or set ranker.kind: hybrid"
            )
    if isinstance(ranker, Prompt) and ranker.mode != "tuned":
        for path, value in _trained_on_labels(recipe):
            yield f"{path}: {_yaml(value)} changes training, but {_frozen_because(recipe)}"


def _of_hybrid(recipe: Recipe) -> dict[str, object]:
    """Knobs that were turned up and that only `hybrid` has, by path, with their values."""
    told: dict[str, object] = {
        "unlabelled.pretrain": recipe.unlabelled.pretrain.replace("none", ""),
        "unlabelled.pseudo_labels": recipe.unlabelled.pseudo_labels,
        "long_short": recipe.long_short,
    }
    return {path: value for path, value in told.items() if value}


def _trained_on_labels(recipe: Recipe) -> Iterator[tuple[str, object]]:
    """Knobs that were turned up and act on training alone, by path, with their values."""
    regularize = recipe.regularize
    told = {
        "objective.label_smoothing": recipe.objective.label_smoothing,
        "regularize.ewc": regularize.ewc,
        "regularize.distill": regularize.distill,
        "regularize.r_drop": regularize.r_drop,
        "augment.copies": recipe.augment.copies,
        "propensity": recipe.propensity,
    }
    yield from ((path, value) for path, value in told.items() if value)


def network_terms(recipe: Recipe) -> dict[str, object]:
    """Knobs that were turned up and need a network that is trained, by path, with their values."""
    contrast = recipe.contrast
    told: dict[str, object] = {
        "adversarial.method": recipe.adversarial.method.replace("none", ""),
        "contrast.info_nce": contrast.info_nce,
        "contrast.simcse": contrast.simcse,
        "unlabelled.pretrain": recipe.unlabelled.pretrain.replace("none", ""),
        "long_short": recipe.long_short,
    }
    return {path: value for path, value in told.items() if value}


def _network_terms(recipe: Recipe) -> Iterator[str]:
    """Terms that move vectors of the network, and so need one that is trained."""
    contrast, turned_up = recipe.contrast, network_terms(recipe)
    if not trains_network(recipe):
        elsewhere = {} if isinstance(recipe.ranker, Hybrid) else _of_hybrid(recipe)
        for path, value in ((p, v) for p, v in turned_up.items() if p not in elsewhere):
            yield f"{path}: {_yaml(value)} needs a network that is trained, but {_frozen_because(recipe)}"
    elif (
        recipe.long_short
        and isinstance(recipe.ranker, Hybrid)
        and isinstance(recipe.tuning, Full | TopLayers)
    ):
        yield (
            f"long_short: true merges two adapters, and tuning.method {recipe.tuning.method} has "
            "none; choose an adapter, such as lora, or set long_short: false"
        )
    if not isinstance(recipe.ranker, Hybrid):
        for path in (path for path in turned_up if path.startswith("contrast.")):
            yield (
                f"{path}: {turned_up[path]} compares vectors of users and items, and ranker.kind "
                f"{recipe.ranker.kind} reads both as one text; set {path} to 0, or ranker.kind: hybrid"
            )
    if contrast.hard_negatives and not contrast.info_nce:
        yield (
            f"contrast.hard_negatives: {contrast.hard_negatives} are negatives of info_nce, which is "
            "0; set contrast.info_nce above 0, or contrast.hard_negatives to 0"
        )


def _objective(recipe: Recipe) -> Iterator[str]:
    smoothing, dropout = recipe.objective.label_smoothing, recipe.optimization.dropout
    if smoothing == 1:
        yield "objective.label_smoothing: 1.0 leaves nothing of the labels; set it below 1"
    if isinstance(recipe.ranker, Hybrid) and recipe.regularize.r_drop and not dropout:
        yield (
            f"regularize.r_drop: {recipe.regularize.r_drop} compares two passes of different dropout, "
            "and optimization.dropout is 0; set optimization.dropout above 0, or regularize.r_drop to 0"
        )
    if dropout == 1:
        yield "optimization.dropout: 1.0 leaves no feature to learn from; set it below 1"
    if isinstance(recipe.tuning, Lora) and recipe.tuning.dropout == 1:
        yield "tuning.dropout: 1.0 leaves the adapter nothing to read; set it below 1"


def _head_fit(recipe: Recipe) -> Iterator[str]:
    at_once = isinstance(recipe.ranker, Hybrid) and recipe.head_fit == "map"
    if at_once and recipe.regularize.r_drop and not trains_network(recipe):
        yield (
            f"regularize.r_drop: {recipe.regularize.r_drop} compares two passes of different dropout, "
            "and head_fit map has none; set head_fit: steps, or regularize.r_drop to 0"
        )


def _optimization(recipe: Recipe) -> Iterator[str]:
    optimization = recipe.optimization
    falls = optimization.schedule != "constant"
    if falls and optimization.warmup_share == 1:
        yield (
            f"optimization.warmup_share: 1.0 leaves the {optimization.schedule} schedule no step; set "
            "it below 1, or optimization.schedule: constant"
        )
    if falls and optimization.floor_share == 1:
        yield (
            f"optimization.floor_share: 1.0 keeps the {optimization.schedule} schedule from falling; "
            "set it below 1, or optimization.schedule: constant"
        )
    rate = max(optimization.learning_rate, optimization.encoder_learning_rate)
    for path, decay in (
        ("regularize.l2_sp", recipe.regularize.l2_sp),
        ("optimization.weight_decay", optimization.weight_decay),
    ):
        if rate * decay >= 1:
            yield (
                f"{path}: {decay} at learning rate {rate} takes back all of a weight, or more, in one "
                f"step; set {path} below {1 / rate:g}"
            )


def _augment(recipe: Recipe) -> Iterator[str]:
    augment = recipe.augment
    told: dict[str, object] = {
        "augment.token_dropout": augment.token_dropout,
        "augment.synonyms": augment.synonyms,
        "augment.back_translation": augment.back_translation,
    }
    altered = {path: value for path, value in told.items() if value}
    if augment.copies and not altered:
        yield (
            f"augment.copies: {augment.copies} would repeat the shots unaltered; set token_dropout, "
            "synonyms or back_translation, or augment.copies to 0"
        )
    if not augment.copies:
        for path, value in altered.items():
            yield f"{path}: {_yaml(value)} alters copies, and augment.copies is 0; set it to 1 or more"
    if augment.token_dropout == 1:
        yield "augment.token_dropout: 1.0 leaves no word of a text; set it below 1"
    if augment.synonyms and augment.synonyms_from == "masked_lm" and not augment.masked_lm:
        yield (
            "augment.synonyms_from: masked_lm needs a model; name one in augment.masked_lm, or set "
            "augment.synonyms_from: neighbours"
        )
    if augment.masked_lm and not (augment.synonyms and augment.synonyms_from == "masked_lm"):
        yield (
            f"augment.masked_lm: {augment.masked_lm} fills in synonyms, and is not asked for any; set "
            "augment.synonyms above 0 and augment.synonyms_from: masked_lm, or remove it"
        )


def _selection(recipe: Recipe) -> Iterator[str]:
    selection = recipe.selection
    if selection.hardness and not selection.negatives:
        yield (
            f"selection.hardness: {selection.hardness} chooses among skips, and selection.negatives 0 "
            "keeps them all; set selection.negatives to 1 or more, or selection.hardness to 0"
        )


def _tuning(recipe: Recipe) -> Iterator[str]:
    tuning = recipe.tuning
    if isinstance(tuning, AdaLora) and tuning.rank >= tuning.start_rank:
        yield (
            f"tuning.rank: {tuning.rank} is what pruning leaves, so it has to be below tuning.start_rank "
            f"{tuning.start_rank}; raise start_rank, or lower rank"
        )
