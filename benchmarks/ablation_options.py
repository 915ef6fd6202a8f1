"""What `ablation.py` turns on or off, each by itself, around the default recipe."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from tasks.recommender.recipe import (
    IA3,
    AdaLora,
    Adversarial,
    Augment,
    Bottleneck,
    Contrast,
    CrossEncoder,
    Full,
    HeadOnly,
    Lora,
    Objective,
    Optimization,
    Prefix,
    PromptTuning,
    PTuning,
    Recipe,
    Regularize,
    Selection,
    TopLayers,
    Unlabelled,
)

TASKS = ("tallrec", "mind")
HEAD, NETWORK = "default", "tuning: lora"
"""The two references: the head alone, and the network as well, with a validation that can judge it."""
TRAINED = Recipe(tuning=Lora(), adapter_max_items=512)
"""What the rows of the network differ from; so few items keep the table within the hour."""


@dataclass(frozen=True)
class Option:
    """One row: the default recipe but for what the name says."""

    name: str
    against: str
    """HEAD or NETWORK: the reference that differs in nothing else."""
    recipe: Recipe
    selection: Literal["", "policy", "herding"] = ""
    """How the shots are chosen of the pool, where not drawn at random."""
    tasks: tuple[str, ...] = TASKS


def options() -> list[Option]:
    """Every row, the references first."""
    return [
        Option(HEAD, HEAD, Recipe()),
        Option(NETWORK, NETWORK, TRAINED),
        *_head(),
        *_tuning(),
        *_optimization(),
        *_terms(),
        *_texts(),
        *_shots(),
    ]


def _head() -> list[Option]:
    """What acts on the head's fit."""
    changed: dict[str, dict[str, Any]] = {
        "head_fit: steps": {"head_fit": "steps"},
        "head_fit: steps, sgd": {
            "head_fit": "steps",
            "optimization": Optimization(optimizer="sgd", learning_rate=0.03),
        },
        "wave_precisions: [100]": {"wave_precisions": (100.0,)},
        "wave_precisions: [10]": {"wave_precisions": (10.0,)},
        "wave_precisions: [1]": {"wave_precisions": (1.0,)},
        "learn_validation: false": {"learn_validation": False},
        "head_epochs: 10": {"head_epochs": 10},
        "loss: pointwise": {"objective": Objective(loss="pointwise")},
        "loss: bpr": {"objective": Objective(loss="bpr")},
        "label_smoothing: 0.1": {"objective": Objective(label_smoothing=0.1)},
        "distill: 0.5": {"regularize": Regularize(distill=0.5)},
    }
    return [Option(name, HEAD, replace(Recipe(), **change)) for name, change in changed.items()]


def _tuning() -> list[Option]:
    """What is trained of the network."""
    methods: dict[str, Any] = {
        "head": HeadOnly(),
        "full": Full(),
        "top_layers": TopLayers(),
        "lora, rank 4": Lora(rank=4, alpha=8),
        "lora, 6 layers": Lora(layers=6),
        "lora, dropout 0.1": Lora(dropout=0.1),
        "adalora": AdaLora(),
        "ia3": IA3(),
        "prefix": Prefix(),
        "prompt_tuning": PromptTuning(),
        "p_tuning": PTuning(),
        "bottleneck": Bottleneck(),
    }
    # All of the weights move at a rate at which they do not forget.
    slow = Optimization(encoder_learning_rate=2e-5)
    found = []
    for name, tuning in methods.items():
        rates = slow if isinstance(tuning, Full | TopLayers) else Optimization()
        recipe = replace(TRAINED, tuning=tuning, optimization=rates)
        found.append(Option(f"tuning: {name}", NETWORK, recipe))
    cross = replace(TRAINED, ranker=CrossEncoder())
    return [*found, Option("ranker: cross_encoder", NETWORK, cross, tasks=("tallrec",))]


def _optimization() -> list[Option]:
    """How the network's steps are taken."""
    changed: dict[str, dict[str, Any]] = {
        "optimizer: sgd": {"optimizer": "sgd", "encoder_learning_rate": 0.05},
        "schedule: constant": {"schedule": "constant"},
        "schedule: cosine": {"schedule": "cosine"},
        "schedule: cyclical": {"schedule": "cyclical"},
        "no warm-up": {"warmup_share": 0.0},
        "encoder_learning_rate: 0.002": {"encoder_learning_rate": 2e-3},
        "weight_decay: 0.01": {"weight_decay": 0.01},
        "dropout: 0": {"dropout": 0.0},
        "dropout: 0.3": {"dropout": 0.3},
        "clip_norm: 1": {"clip_norm": 1.0},
        "accumulate: 2": {"accumulate": 2},
        "mixed_precision": {"mixed_precision": True},
    }
    found = [
        Option(name, NETWORK, replace(TRAINED, optimization=replace(Optimization(), **change)))
        for name, change in changed.items()
    ]
    return [*found, Option("adapter_epochs: 6", NETWORK, replace(TRAINED, adapter_epochs=6))]


def _terms() -> list[Option]:
    """Terms of the network's loss."""
    changed: dict[str, dict[str, Any]] = {
        "l2_sp: 0": {"regularize": Regularize(l2_sp=0.0)},
        "ewc: 1": {"regularize": Regularize(ewc=1.0)},
        "distill: 0.5, network": {"regularize": Regularize(distill=0.5)},
        "r_drop: 1": {"regularize": Regularize(r_drop=1.0)},
        "adversarial: fgm": {"adversarial": Adversarial(method="fgm")},
        "adversarial: pgd": {"adversarial": Adversarial(method="pgd")},
        "adversarial: freelb": {"adversarial": Adversarial(method="freelb")},
        "info_nce: 0.1": {"contrast": Contrast(info_nce=0.1)},
        "info_nce: 0.1, 8 hard negatives": {"contrast": Contrast(info_nce=0.1, hard_negatives=8)},
        "simcse: 0.1": {"contrast": Contrast(simcse=0.1)},
    }
    return [Option(name, NETWORK, replace(TRAINED, **change)) for name, change in changed.items()]


def _texts() -> list[Option]:
    """Altered texts, texts without labels, labels without people."""
    changed: dict[str, dict[str, Any]] = {
        "token_dropout: 0.15": {"augment": Augment(copies=1, token_dropout=0.15)},
        "synonyms: 0.15": {"augment": Augment(copies=1, synonyms=0.15)},
        "pretrain: contrastive": {"unlabelled": Unlabelled("contrastive", pretrain_items=1024)},
        "pseudo_labels: 0.8": {"unlabelled": Unlabelled(pseudo_labels=0.8)},
        "long_short": {"long_short": True},
    }
    return [Option(name, NETWORK, replace(TRAINED, **change)) for name, change in changed.items()]


def _shots() -> list[Option]:
    """Which impressions of a pool are labelled, and which of their skips are kept."""
    found = []
    for policy in ("recent", "balanced", "drift", "uncertain", "k_center"):
        recipe = Recipe(selection=Selection(policy=policy))
        tasks = ("mind",) if policy == "drift" else TASKS
        found.append(Option(f"policy: {policy}", HEAD, recipe, "policy", tasks))
    herding = Recipe(selection=Selection(replay="herding"))
    found.append(Option("replay: herding", HEAD, herding, "herding"))
    for hardness in (0.0, 0.5, 1.0):
        chosen = Selection(policy="random", negatives=4, hardness=hardness)
        name = f"negatives: 4, hardness: {hardness:g}"
        found.append(Option(name, HEAD, Recipe(selection=chosen), tasks=("mind",)))
    return found
